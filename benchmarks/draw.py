"""`python -m benchmarks.draw`: what an audit costs the local path, an event: the draw itself, and the records it makes.

Transactions of trusted local answers pass through the companions of the agent `local`, as a worker makes them. The
event's whole path is what `make bench` measured; with `--path-us` it is another. No broker is needed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
from bisupervised.agents.auditing.draw import Draw
from bisupervised.schemas.codec import publish
from bisupervised.schemas.records import Facts, Headers, Incoming, Outgoing, Result, Source
from bisupervised.streams.flow import request_facts
from bisupervised.streams.plane.sending.companions import Accompanying
from bisupervised.streams.plane.window.slots import Slot
from bisupervised.streams.worker.auditing import Auditing

#: µs of CPU time that an event takes on its way through the local agent, at best (docs/performance-notes.md)
PATH_US = 8.8
EVENTS, TRANSACTION, WINDOW = 200_000, 1_000, 10_000
SECRET = b"a benchmark's"


@dataclass(frozen=True)
class Event:
    """A consumed record."""

    offset: int
    value: bytes | None = b'{"id": 1, "input": "%s"}' % (b"x" * 280)
    topic: str = "requests"
    partition: int = 0
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"key"
    headers: Headers = ()


def slots() -> list[Slot]:
    """Trusted answers that are ready to leave."""
    made = []
    for offset in range(EVENTS):
        event = Event(offset)
        result = Result(Source("requests", 0, offset), 1, "local", 0.9, 0.8, thresholds="v1", model="small@1")
        made.append(Slot(event, offset, 300, called=False, leads=True, outcome=publish(event, result)))
    return made


def known(record: Incoming) -> Facts:
    """What the worker knows of a request."""
    return msgspec.structs.replace(request_facts(record), topic_id="Xn2d0pPQTqyqZ5lO9p8b2w")


class NoRecords(Auditing):
    """Draws, and makes no record."""

    def of(self, record: Incoming, outcome: Outgoing) -> Outgoing | None:
        return None


#: what is measured: the draw alone, and with its records
KINDS = (NoRecords, Auditing)


def companions(kind: type[Auditing], share: float, shadow_share: float) -> Accompanying:
    """Those of the agent `local`."""
    draw = Draw(share, SECRET, "bench", shadow_share)
    return Accompanying(kind(draw, SECRET, "bench", known, reads_requests=True))


def passing(accompanying: Accompanying, given: Sequence[Slot]) -> float:
    """Seconds of CPU time until all have passed, in transactions."""
    began = time.process_time()
    for first in range(0, EVENTS, TRANSACTION):
        accompanying.of(given[first : first + TRANSACTION], first, min(first + WINDOW, EVENTS))
    return time.process_time() - began


def measured(make: Callable[[], Accompanying], given: Sequence[Slot], runs: int) -> float:
    """ns of an event beyond those without an audit, the median of so many runs."""
    nothing = Accompanying(None)
    found = [passing(make(), given) - passing(nothing, given) for _ in range(runs)]
    return statistics.median(found) / EVENTS * 1e9


def main() -> None:
    """Print a row for each share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path-us", type=float, default=PATH_US, help="µs of an event's whole path")
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    given = slots()
    print(f"an event of the local path: {arguments.path_us:g} µs")
    for shares in ((0.01, 0.0), (0.01, 0.05), (0.05, 0.05)):
        draw, both = (measured(partial(companions, kind, *shares), given, arguments.runs) for kind in KINDS)
        told = [f"{ns:5.0f} ns, {ns / arguments.path_us / 10:.2f} %" for ns in (draw, both - draw)]
        print(f"share {shares[0]:g}, shadow_share {shares[1]:g}: the draw {told[0]}; its records {told[1]}")


if __name__ == "__main__":
    main()
