"""Connections that the broker has just cut, on uvloop.

A write to one is swallowed by asyncio's own transport; the read beside it says what happened. uvloop's raises
`RuntimeError`, which the client takes for a fault of its own (aiokafka issue 1038): the task that wrote ends for good,
be it the one that fetches or, without a word, the one that looks up who leads a partition.
"""

from __future__ import annotations

from typing import Any

from aiokafka import conn
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no types
    def send(self, request: Any, expect_response: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002  # as the client's
        try:
            return super().send(request, expect_response)
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error


def notice_severed() -> None:
    """From now on, every client of this process takes such a write for what it is: a connection that has ended."""
    conn.AIOKafkaConnection = _Connection
