"""A worker that can be hit inside an open transaction: when the records are sent and the commit is not.

`worker.py CONFIG TRAPS` runs `bisupervised worker`. A file `TRAPS/<pid>` is a trap. It holds the number of a signal and
the id of the process to send it to, the worker itself or the broker: the next transaction that has sent records removes
the file and sends the signal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bisupervised.streams.kafka.batches import Place, Sendable
from bisupervised.streams.kafka.sender import Sender
from bisupervised.streams.settings.file import load_configuration
from bisupervised.streams.worker.app import run_worker

_deliver = Sender.deliver


def lay_traps(folder: Path) -> None:
    """Make every transaction look for a trap of this process."""
    trap = folder / str(os.getpid())

    async def deliver(
        self: Sender, records: Sequence[Sendable], places: Iterable[Place], *, alone: bool = False
    ) -> None:
        await _deliver(self, records, places, alone=alone)
        if records and trap.exists():
            signum, victim = map(int, trap.read_text().split())
            trap.unlink()
            os.kill(victim, signum)

    Sender.deliver = deliver  # type: ignore[method-assign]  # the one place between sending and committing


if __name__ == "__main__":
    lay_traps(Path(sys.argv[2]))
    sys.exit(run_worker(load_configuration(Path(sys.argv[1]))))
