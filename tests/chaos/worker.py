"""A worker that can be hit inside an open transaction: when the records are sent and the commit is not.

`worker.py CONFIG TRAPS` runs `bisupervised worker`. A file `TRAPS/<pid>` holding the number of a signal is a trap:
the next transaction that has sent records removes it and sends the signal to its own process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bisupervised.schemas.records import Outgoing
from bisupervised.streams.app import run_worker
from bisupervised.streams.outbox import Outbox
from bisupervised.streams.settings import load_settings

_deliver = Outbox._deliver


def lay_traps(folder: Path) -> None:
    """Make every transaction look for a trap of this process."""
    trap = folder / str(os.getpid())

    async def deliver(self: Outbox, producer: Any, outcomes: Sequence[Outgoing]) -> None:
        await _deliver(self, producer, outcomes)
        if outcomes and trap.exists():
            signum = int(trap.read_text())
            trap.unlink()
            os.kill(os.getpid(), signum)

    Outbox._deliver = deliver  # type: ignore[method-assign]  # the one place between sending and committing


if __name__ == "__main__":
    lay_traps(Path(sys.argv[2]))
    sys.exit(run_worker(load_settings(Path(sys.argv[1]))))
