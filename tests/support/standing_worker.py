"""A worker whose event loop stands still at its second batch, as a library that waits in it would make it."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterable

from bisupervised.agents.agents import LocalAgent
from bisupervised.agents.batches import Batch
from bisupervised.streams.cli import run


async def stand_still(self: LocalAgent, batches: AsyncIterable[Batch]) -> None:
    """The agent's body, with a fault."""
    answered = 0
    async for batch in batches:
        with batch:
            if answered:
                time.sleep(3600.0)  # noqa: ASYNC251  # this is what the module is for
            batch.resolve(await self._decide(batch.records))
            answered += 1


if __name__ == "__main__":
    LocalAgent.run = stand_still  # type: ignore[method-assign]  # as above
    sys.exit(run(sys.argv[1:]))
