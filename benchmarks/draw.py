"""`python -m benchmarks.draw`: what an audit costs the local path, an event: the draw itself, and the records of it.

Transactions of trusted local answers pass through the companions of the agent `local`, as a worker makes them. There is
no broker. What an event costs without an audit, the contest says.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from bisupervised.agents.auditing.draw import Draw
from bisupervised.schemas.codec import publish
from bisupervised.schemas.records import Facts, Headers, Incoming, Outgoing, Result, Source
from bisupervised.streams.flow import request_facts
from bisupervised.streams.plane.sending.companions import Accompanying
from bisupervised.streams.plane.window.slots import Slot
from bisupervised.streams.worker.auditing import Auditing
from rich.console import Console
from rich.table import Table

from .command import command_without_broker
from .spread import Spread, spread

TRANSACTION, WINDOW = 1_000, 10_000
SECRET = b"a benchmark's"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    shares: tuple[tuple[float, float], ...] = ((0.01, 0.0), (0.01, 0.05), (0.05, 0.05))  #: `share` and `shadow_share`
    events: int = 200_000
    runs: int = 9


SMOKE = Sizes(((0.01, 0.0),), 10_000, 1)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an audit adds to the CPU time of an event."""

    share: float
    shadow_share: float
    draw_ns: Spread
    records_ns: Spread  #: made for those that are drawn


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/draw.json`."""

    audit_costs: tuple[Cost, ...]


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


def slots(events: int) -> list[Slot]:
    """Trusted answers that are ready to leave."""
    made = []
    for offset in range(events):
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


def companions(kind: type[Auditing], share: float, shadow_share: float) -> Accompanying:
    """Those of the agent `local`."""
    draw = Draw(share, SECRET, "bench", shadow_share)
    return Accompanying(kind(draw, SECRET, "bench", known, reads_requests=True))


def passing(accompanying: Accompanying, given: Sequence[Slot]) -> float:
    """Seconds of CPU time until all have passed, in transactions."""
    began = time.process_time()
    for first in range(0, len(given), TRANSACTION):
        part, end = given[first : first + TRANSACTION], min(first + WINDOW, len(given))
        accompanying.of(part, first, end, in_order=True)
    return time.process_time() - began


def measured(make: Callable[[], Accompanying], given: Sequence[Slot], runs: int) -> list[float]:
    """ns of an event beyond those without an audit, run by run."""
    nothing = Accompanying(None)
    return [(passing(make(), given) - passing(nothing, given)) / len(given) * 1e9 for _ in range(runs)]


def cost(shares: tuple[float, float], given: Sequence[Slot], runs: int) -> Cost:
    """The cost of these shares."""
    drawn, both = (measured(partial(companions, kind, *shares), given, runs) for kind in (NoRecords, Auditing))
    return Cost(*shares, spread(drawn), spread([whole - draw for whole, draw in zip(both, drawn, strict=True)]))


def measure(_servers: str, sizes: Sizes, _folder: Path, say: Console) -> Report:
    """Measure one pair of shares after the other."""
    say.print(f"{sizes.events:,} answers, {sizes.runs} times …")
    given = slots(sizes.events)
    return Report(tuple(cost(shares, given, sizes.runs) for shares in sizes.shares))


def as_table(report: Report) -> Table:
    """The report as a table."""
    table = Table("share", "shadow_share", "the draw, ns", "its records, ns", title="An audit, CPU time an event")
    for each in report.audit_costs:
        table.add_row(f"{each.share:g}", f"{each.shadow_share:g}", str(each.draw_ns), str(each.records_ns))
    return table


def faults(_report: Report) -> list[str]:
    """None: the goal compares these figures with those of the contest."""
    return []


def main() -> int:
    """Returns 0: there is no target."""

    def alone(sizes: Sizes, say: Console) -> Report:
        return measure("", sizes, Path(), say)

    return command_without_broker("draw", __doc__, (Sizes(), SMOKE), alone, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
