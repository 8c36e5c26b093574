"""What a consumer has no call for: how long its next fetch waits, and whether it still fetches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer


def wait_at_broker(consumer: AIOKafkaConsumer, milliseconds: int) -> None:
    """From its next fetch on, a broker that has no records answers after so long; one under way is not changed."""
    consumer._fetcher._fetch_max_wait_ms = milliseconds  # noqa: SLF001  # an option of its making only


def check_client(consumer: AIOKafkaConsumer) -> None:
    """Raises `KafkaError` where a task has ended that fetching needs: the client itself says that nothing comes."""
    for task in (consumer._fetcher.error_future, consumer._client._sync_task):  # noqa: SLF001  # nothing public tells
        if task.done():
            raise KafkaError("the client has stopped fetching") from (None if task.cancelled() else task.exception())
