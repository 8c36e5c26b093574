"""The command `curve`: the request-accuracy curve as a table, as JSON and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from ...agents.supervision.arbitration import cross_validated, judged
from ...agents.supervision.curve import Curve, Point, oracle, request_accuracy
from ...agents.supervision.recording import Recording
from ...schemas.errors import BiSupervisedError
from ..console.output import writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: shares of remote calls that the table shows
_SHOWN = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
PICTURES = (".png", ".svg")


class PlotError(BiSupervisedError):
    """The picture cannot be drawn. The message says why."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a call costs, and how long an answer takes."""

    call: float = 0.0  #: price of one remote call, in a currency of the user's choice
    local_ms: float = 0.0  #: milliseconds of one local answer
    remote_ms: float = 0.0  #: milliseconds of one remote answer, on top of the local one

    def cost(self, requests: int) -> float:
        """The price of so many remote calls."""
        return requests * self.call

    def latency_ms(self, fraction: float) -> float:
        """Mean time to an answer when this share of the inputs is deferred."""
        return self.local_ms + fraction * self.remote_ms


@dataclass(frozen=True, slots=True)
class CurveReport:
    """A curve with what it is compared to."""

    curve: Curve
    oracle: NDArray[np.float64]  #: (grid,)
    prices: Prices
    arbitrated: Curve | None = None  #: the curve when the likelier of two answers is taken, cross-validated

    def as_json(self) -> dict[str, Any]:
        """The document of `--json`, with every point."""
        document = {
            "n": self.curve.n,
            "local_accuracy": self.curve.local_accuracy,
            "remote_accuracy": self.curve.remote_accuracy,
            "cost_remote_only": self.prices.cost(self.curve.n),
            **self._of(self.curve),
        }
        if self.arbitrated is not None:
            document["arbitration"] = self._of(self.arbitrated)
        return document

    def _of(self, curve: Curve) -> dict[str, Any]:
        return {
            "auc": curve.auc,
            "remote_even": self._point(curve.remote_even),
            "best": self._point(curve.best),
            "points": [self._point(curve.point(index)) for index in range(len(curve.fractions))],
        }

    def _point(self, point: Point) -> dict[str, float]:
        return {
            "fraction": point.fraction,
            "threshold": point.threshold,
            "requests": point.requests,
            "accuracy": point.accuracy,
            "cost": self.prices.cost(point.requests),
            "latency_ms": self.prices.latency_ms(point.requests / self.curve.n),
        }

    def as_table(self) -> Table:
        """A row for every tenth of the remote calls, and for the points remote-even and best."""
        table = Table(title=f"Request-accuracy curve of {self.curve.n:,} inputs", title_justify="left")
        table.add_column("point")
        asked = {"cost": self.prices.call > 0, "mean latency": self.prices.local_ms > 0 or self.prices.remote_ms > 0}
        for name in ("remote calls", "threshold", "accuracy", *(name for name, there in asked.items() if there)):
            table.add_column(name, justify="right", no_wrap=name != "mean latency")
        for fraction in _SHOWN:
            index = int(np.argmin(np.abs(self.curve.fractions - fraction)))
            self._add(table, f"{fraction:.0%}", self.curve.point(index))
        for name, curve in self._curves().items():
            table.add_section()
            self._add(table, f"{name}remote-even", curve.remote_even)
            self._add(table, f"{name}best", curve.best)
        return table

    def notes(self) -> list[str]:
        """The line below the table: either model alone, and the area under the curve."""
        ends = f"local only {self.curve.local_accuracy:.4f}, remote only {self.curve.remote_accuracy:.4f}"
        if self.curve.auc is None:
            return [f"{ends}; both ends are equally right: no area under the curve"]
        areas = [f"{name}AUC {curve.auc:.3f}" for name, curve in self._curves().items()]
        return [f"{ends}; {', '.join(areas)} (random routing gets 0.5)"]

    def _curves(self) -> dict[str, Curve]:
        return {"": self.curve} | ({"arbitration: ": self.arbitrated} if self.arbitrated is not None else {})

    def _add(self, table: Table, name: str, point: Point) -> None:
        share = point.requests / self.curve.n
        cells = [f"{point.requests:,} ({share:.1%})", f"{point.threshold:.6g}", f"{point.accuracy:.4f}"]
        if self.prices.call > 0:
            cells.append(f"{self.prices.cost(point.requests):,.2f}")
        if self.prices.local_ms > 0 or self.prices.remote_ms > 0:
            cells.append(f"{self.prices.latency_ms(share):,.1f} ms")
        table.add_row(name, *cells)


def make_report(recording: Recording, grid: int, prices: Prices, *, arbitration: bool = False) -> CurveReport:
    """The curve of a recording, beside what the best possible routing would get.

    Raises `ValueError` where arbitration is asked for and there is too little to fit it on.
    """
    curve = request_accuracy(recording, grid)
    arbitrated = None
    if arbitration:
        taken = judged(recording, cross_validated(recording), joint=True, arbitration=True)
        arbitrated = request_accuracy(taken, grid, curve.level)
    return CurveReport(curve, oracle(recording, curve.requests / curve.n), prices, arbitrated)


def draw(report: CurveReport, path: Path) -> None:
    """Write the picture, PNG or SVG by its name. Raises `PlotError`, and `OutputError` where it cannot be written."""
    if path.suffix not in PICTURES:
        raise PlotError(f"--plot: must end in {' or '.join(PICTURES)} (got {str(path)!r})")
    try:
        from matplotlib.figure import Figure  # here: it takes a second, and not every table needs a picture
    except ImportError as error:
        raise PlotError("a picture needs matplotlib: pip install 'bisupervised[plot]'") from error
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    _fill(figure.add_subplot(), report)
    with writing(path):
        figure.savefig(path, dpi=150)


def _fill(axes: Any, report: CurveReport) -> None:  # noqa: ANN401  # matplotlib is optional
    curve = report.curve
    shares = curve.requests / curve.n
    axes.plot(shares, report.oracle, color="0.75", linestyle="--", label="oracle: knows both answers")
    axes.plot(shares, curve.accuracies, color="tab:blue", linewidth=2, label="two models, local supervisor")
    if report.arbitrated is not None:
        axes.plot(shares, report.arbitrated.accuracies, color="tab:orange", linewidth=2, label="with arbitration")
    axes.plot([0, 1], [curve.local_accuracy, curve.remote_accuracy], color="0.6", linestyle=":", label="random routing")
    axes.axhline(curve.remote_accuracy, color="tab:red", linewidth=0.8, label="remote only")
    axes.axhline(curve.local_accuracy, color="tab:green", linewidth=0.8, label="local only")
    for name, point, below in (("as right as remote", curve.remote_even, True), ("best", curve.best, False)):
        at = (point.requests / curve.n, point.accuracy)
        axes.plot(*at, "o", color="tab:blue")
        axes.annotate(
            f"{name}\n{at[0]:.0%} remote, {at[1]:.3f}",
            at,
            xytext=(0, -30 if below else 10),
            textcoords="offset points",
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
        )
    axes.set_xlabel("share of inputs sent to the remote model")
    axes.set_ylabel("share of right answers")
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.margins(y=0.12)
    axes.figure.legend(loc="outside lower center", ncols=3, frameon=False)
