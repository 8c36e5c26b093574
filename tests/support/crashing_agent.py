"""A worker whose local agent crashes on every third batch, as a fault of our own would make it. Takes its arguments."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable
from itertools import count

from bisupervised.agents.agents import LocalAgent
from bisupervised.agents.batches import Batch
from bisupervised.streams.cli import run

_batches = count(1)


async def crash(self: LocalAgent, batches: AsyncIterable[Batch]) -> None:
    """The agent's body, with a fault."""
    async for batch in batches:
        with batch:
            if next(_batches) % 3 == 0:
                raise LookupError("a fault in the agent")
            batch.resolve(await self._decide(batch.records))


if __name__ == "__main__":
    LocalAgent.run = crash  # type: ignore[method-assign]  # this is what the module is for
    sys.exit(run(sys.argv[1:]))
