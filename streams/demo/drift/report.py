"""The figures of the drift example: three ways to set thresholds beside each other, as a table and a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

#: requests that a point of the picture is the mean of
WINDOW = 300


@dataclass(frozen=True, slots=True)
class Way:
    """One way to set thresholds, and what became of all requests under it, in their order."""

    name: str
    trusted: NDArray[np.bool_]  #: (n,), there was an answer
    wrong: NDArray[np.bool_]  #: (n,), and it was wrong
    called: NDArray[np.bool_]  #: (n,), the remote was asked before
    rung: NDArray[np.intp]  #: (n,), which one judged it first, counted from 1
    alarms: tuple[int, ...] = ()  #: the last request that was sent when it said that the promise is broken
    labels: int = 0  #: that people gave
    shadows: int = 0  #: calls of the remote for audited requests that were trusted
    cost: float = 0.0  #: of all remote calls, shadows among them

    def error_over_time(self) -> NDArray[np.float64]:
        """(n,), of the trusted ones among the last requests."""
        trusted, wrong = (np.cumsum(np.concatenate([[0], marks])) for marks in (self.trusted, self.wrong))
        begin = np.maximum(np.arange(1, len(trusted)) - WINDOW, 0)
        counted = np.maximum(trusted[1:] - trusted[begin], 1)
        return np.asarray((wrong[1:] - wrong[begin]) / counted)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a way is measured by."""

    phase: NDArray[np.intp]  #: (n,), of each request
    names: tuple[str, ...]  #: of the phases
    promise: float  #: error among the trusted answers, 0..1
    true_error: NDArray[np.float64]  #: (phases, rungs), of each rung in each phase, from many more pictures

    def until(self, count: int) -> Reference:
        """The same of the first requests."""
        return replace(self, phase=self.phase[:count])

    def too_hard(self) -> list[str]:
        """The phases in which no rung keeps the promise."""
        lowest = self.true_error.min(axis=1)
        return [name for name, error in zip(self.names, lowest, strict=True) if error > self.promise]


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """What a way did in one phase."""

    phase: str
    error: float | None  #: share of wrong ones among the trusted answers
    above: float | None  #: share of the requests that a rung judged whose true error is above the promise
    calls: float  #: share of the requests that the remote was asked about, shadows apart
    rejected: float  #: share of the requests without an answer


@dataclass(frozen=True, slots=True)
class WayFigures:
    """What a way did, for the table and for `drift.json`."""

    name: str
    phases: tuple[PhaseFigures, ...]
    noticed_after: int | None  #: requests of the drift until the alarm; None where it never came
    alarms: int
    labels: int
    shadows: int
    cost: float  #: of all remote calls, shadows among them


def figures(way: Way, reference: Reference) -> WayFigures:
    """The figures of a way, of the phases that have begun. The drift is every phase between the first and the last."""
    phase, last = reference.phase, len(reference.names) - 1
    begin = int(np.searchsorted(phase, 1))
    noticed = [alarm - begin for alarm in way.alarms if begin <= alarm < len(phase) and phase[alarm] < last]
    return WayFigures(
        way.name,
        tuple(_of_phase(way, reference, number) for number in np.unique(phase).tolist()),
        noticed_after=noticed[0] if noticed else None,
        alarms=len(way.alarms),
        labels=way.labels,
        shadows=way.shadows,
        cost=round(way.cost, 2),
    )


def _of_phase(way: Way, reference: Reference, number: int) -> PhaseFigures:
    which = reference.phase == number
    trusted, judged = int(way.trusted[which].sum()), way.rung[which & (way.rung > 0)]
    above = reference.true_error[number, judged - 1] > reference.promise
    return PhaseFigures(
        reference.names[number],
        error=int(way.wrong[which].sum()) / trusted if trusted else None,
        above=float(above.mean()) if len(judged) else None,
        calls=float(way.called[which].mean()),
        rejected=float((~way.trusted[which]).mean()),
    )


def as_table(found: Sequence[WayFigures], promise: float) -> Table:
    """The figures for people. What is above the promise is red."""
    table = Table(title=f"Promised: at most {promise:.0%} of the trusted answers are wrong", title_justify="left")
    table.add_column("thresholds")
    for one in found:
        table.add_column(one.name, justify="right")
    tells: dict[str, Callable[[PhaseFigures], str]] = {
        "wrong": lambda phase: _share(phase.error, promise),
        "time above it": lambda phase: "-" if phase.above is None else f"{phase.above:.0%}",
        "asked the remote": lambda phase: f"{phase.calls:.0%}",
        "rejected": lambda phase: f"{phase.rejected:.0%}",
    }
    for words, tell in tells.items():
        for number, phase in enumerate(found[0].phases):
            table.add_row(f"{words}, {phase.phase}", *(tell(one.phases[number]) for one in found))
        table.add_section()
    noticed = ("-" if one.noticed_after is None else f"{one.noticed_after:,} requests" for one in found)
    table.add_row("noticed the drift after", *noticed)
    for name in ("alarms", "labels", "shadows"):
        table.add_row(name, *(f"{getattr(one, name):,}" for one in found))
    table.add_row("cost, shadows among it", *(f"{one.cost:,.2f}" for one in found))
    return table


def _share(error: float | None, promise: float) -> str:
    if error is None:
        return "-"
    return f"[red]{error:.1%}[/red]" if error > promise else f"{error:.1%}"


def draw(path: Path, ways: Sequence[Way], phase: NDArray[np.intp], names: Sequence[str], promise: float) -> None:
    """The picture over time: the error of each way, and which rung judged. Needs matplotlib."""
    from matplotlib.figure import Figure  # here: it takes a second, and comes with an extra

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    # the first two err alike, and one is told so: a broad line below a narrow one
    for way, colour, width in zip(ways, ("silver", "tab:orange", "tab:blue"), (5.0, 1.4, 1.6), strict=True):
        over_time = way.error_over_time()
        upper.plot(over_time[::10], color=colour, label=way.name, linewidth=width)
        rungs = way.rung[::10]
        lower.step(np.arange(len(rungs)), rungs, color=colour, where="post", linewidth=width)
        for alarm in way.alarms:
            upper.plot(alarm / 10, over_time[alarm], marker="v", color=colour, markersize=8, markeredgecolor="black")
    upper.axhline(promise, color="black", linestyle="--", linewidth=1, label=f"promise, {promise:.0%}")
    _labelled(upper, lower, phase, names)
    figure.savefig(path, dpi=130)


def _labelled(upper: Any, lower: Any, phase: NDArray[np.intp], names: Sequence[str]) -> None:  # noqa: ANN401  # matplotlib is optional
    edges = np.searchsorted(phase, np.arange(len(names) + 1)) / 10
    for number, name in enumerate(names):
        if 0 < number < len(names) - 1:
            for axes in (upper, lower):
                axes.axvspan(edges[number], edges[number + 1], color="tab:red", alpha=0.05 * number, linewidth=0)
        upper.text(
            (edges[number] + edges[number + 1]) / 2, 1.01, name, ha="center", transform=upper.get_xaxis_transform()
        )
    upper.set_ylabel("wrong among the trusted")
    upper.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    upper.set_ylim(bottom=0)
    upper.legend(loc="upper left", fontsize="small")
    lower.set_ylabel("rung\n(1 is laxest)")
    lower.set_xlabel("requests")
    lower.xaxis.set_major_formatter(lambda tens, _: f"{10 * tens:,.0f}")
