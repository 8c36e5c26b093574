"""Whether the remote has the batch interface that the settings name: its batches are listed, which costs nothing."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

from ...agents.remote.bulk.provider import BulkOrder
from ...schemas.errors import RemoteFailure
from ..worker.batches import make_provider
from .findings import Finding, fault, ok

if TYPE_CHECKING:
    from ...agents.remote.protocol import RemoteProtocol
    from ..settings.tables import Settings


async def look_at_batches(settings: Settings, protocol: RemoteProtocol, patience_s: float) -> Finding:
    """Look there for a batch that nobody has created."""
    provider, interface = make_provider(settings, protocol), settings.batch.interface
    nobodys = BulkOrder(f"check/{uuid.uuid4().hex}", 1, 1, round(time.time() * 1000), "")
    try:
        async with asyncio.timeout(patience_s):
            await provider.find(nobodys, ())
    except TimeoutError:
        return fault("remote", f"does not list its batches within {patience_s:g} s ({interface})")
    except RemoteFailure as error:
        return fault("remote", f"does not list its batches: {error}; does it have {interface}, and may the key use it?")
    finally:
        await provider.close()
    return ok("remote", f"has the batch interface {interface}")
