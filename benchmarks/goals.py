"""What the figures of all benchmarks say about our goals: a row for each, from what one `make bench` measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any

from rich.table import Table

from .contest import OURS

#: calls in flight at which the whole pipeline is judged
IN_FLIGHT = 64
#: one event in so many needs a call
_ONE_IN = 5
#: connections and megabytes of a worker with so many partitions, and how many more it may come to
_PARTITIONS, _MORE = 128, 20
_CONNECTIONS, _MEMORY_MB = 260, 155

#: figures of all benchmarks, by their names
Told = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure, and where it should lie: on one side of a bound, which still counts."""

    name: str
    text: str
    read: Callable[[Told], float]  #: raises `LookupError` where it was not measured
    most: float = inf
    least: float = -inf
    digits: int = 2

    def held(self, value: float) -> bool:
        """The figure lies where it should."""
        return self.least <= value <= self.most

    @property
    def bound(self) -> str:
        """Where it should lie, as people read it."""
        sign, bound = ("≤", self.most) if self.most < inf else ("≥", self.least)
        return f"{sign} {bound:g}"


def _middle(benchmark: str, name: str) -> Callable[[Told], float]:
    return lambda told: float(_known(told[benchmark][name])["median"])


def _known(figure: Any) -> Any:  # noqa: ANN401  # of any benchmark
    if figure is None:
        raise LookupError("a library is not installed")
    return figure


def _latency(name: str) -> Callable[[Told], float]:
    return lambda told: float(told["latency"]["latency_ms"]["exactly_once"][name]["median"])


def _efficiency(told: Told) -> float:
    return float(median([run["efficiency"] for run in _busy_runs(told)]))


def _call_cpu_ms(told: Told) -> float:
    """The worker's CPU time for each call, with the events around it."""
    return float(median([run["busy"]["worker"] / (run["reached_per_s"] / _ONE_IN) * 1000 for run in _busy_runs(told)]))


def _busy_runs(told: Told) -> list[Any]:
    found = [run for run in told["whole"]["runs"] if run["in_flight"] == IN_FLIGHT]
    if not found:
        raise LookupError("no run with so many calls")
    return found


def _audit_percent(told: Told) -> float:
    """What the draw and its records add to the CPU time of an event in the contest."""
    [ours] = [each for each in told["contest"]["standings"] if each["candidate"] == OURS]
    [cost] = [each for each in told["draw"]["audit_costs"] if (each["share"], each["shadow_share"]) == (0.01, 0.0)]
    added_ns = cost["draw_ns"]["median"] + cost["records_ns"]["median"]
    return float(added_ns / ours["cpu_us"]["median"] / 10)


def _many(name: str) -> Callable[[Told], float]:
    def read(told: Told) -> float:
        rows = told["partitions"]["partition_costs"]
        return float({row["partitions"]: row[name] for row in rows}[_PARTITIONS])

    return read


GOALS = (
    Goal("call_cpu_ms", f"CPU time a remote call, {IN_FLIGHT} in flight, ms", _call_cpu_ms, most=0.6),
    Goal(
        "whole_efficiency",
        f"events/s with {IN_FLIGHT} calls of 50 ms in flight, of what they allow",
        _efficiency,
        least=0.95,
    ),
    Goal("vs_bare", "local path ÷ bare aiokafka loop", _middle("contest", "local_path_vs_bare"), least=0.45),
    Goal("vs_quixstreams", "local path ÷ quixstreams", _middle("contest", "local_path_vs_quixstreams"), least=3.0),
    Goal("vs_confluent", "local path ÷ confluent-kafka", _middle("contest", "local_path_vs_confluent"), least=0.65),
    Goal("added_p50", "added latency exactly once at 500/s, p50, ms", _latency("added_p50_ms"), most=20.0, digits=0),
    Goal("added_p99", "added latency exactly once at 500/s, p99, ms", _latency("added_p99_ms"), most=80.0, digits=0),
    Goal("start_file", "start to first result, a file of torch.export, s", _middle("idle", "first_result_s"), most=4.0),
    Goal(
        "start_callable",
        "start to first result, a callable with weights, s",
        _middle("idle", "own_first_result_s"),
        most=4.0,
    ),
    Goal("audit_cost", "CPU time an event with an audit of 1 %: more by, %", _audit_percent, most=1.0),
    Goal(
        "connections",
        f"connections of a worker with {_PARTITIONS} partitions",
        _many("connections"),
        most=_CONNECTIONS + _MORE,
        digits=0,
    ),
    Goal(
        "memory_mb",
        f"memory of a worker with {_PARTITIONS} partitions, MB",
        _many("memory_mb"),
        most=_MEMORY_MB + _MORE,
        digits=0,
    ),
)


@dataclass(frozen=True, slots=True)
class Reached:
    """A goal, and the figure."""

    goal: Goal
    value: float

    @property
    def held(self) -> bool:
        """The goal is reached."""
        return self.goal.held(self.value)


def reached(told: Told) -> list[Reached]:
    """Every goal whose figure was measured."""
    found = []
    for goal in GOALS:
        with suppress(LookupError):
            found.append(Reached(goal, goal.read(told)))
    return found


def as_table(rows: Sequence[Reached]) -> Table:
    """A row for each."""
    table = Table("", "this run", "goal", "reached", title="Goals")
    for row in rows:
        table.add_row(row.goal.text, f"{row.value:.{row.goal.digits}f}", row.goal.bound, "yes" if row.held else "no")
    return table
