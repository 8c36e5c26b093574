"""Connections that are kept for further calls, without those on which something came that nobody had asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

#: how the versions of aiohttp begin whose parts are known; `tests/contract/test_transport.py` looks at the present one
KNOWN_VERSION = "3.14."


def parts_are_known() -> bool:
    return aiohttp.__version__.startswith(KNOWN_VERSION)


class Connector(aiohttp.TCPConnector):
    """aiohttp's own would hand out such a connection, and what came on it would be read as the next call's answer.

    For versions of aiohttp whose parts are known.
    """

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (kept := await super()._get(key, traces)) is not None:
            if kept.protocol is not None and not kept.protocol.should_close:
                return kept
            kept.close()
        return None
