"""What `replicate` prints: the recomputed tables beside the paper's. They fit into 80 columns."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from .replicate import DEFERRED, REJECTED, TOLERANCE, VALUES, Beyond, Figure, Replication

_HERE_AND_PAPER = "here\npaper"


def as_json(made: Replication) -> dict[str, Any]:
    """The document of `--json`."""
    return {
        "beyond": [asdict(case) for case in made.more],
        "figures": len(made.figures),
        "different": made.different,
        "cases": list(dict.fromkeys(figure.case for figure in made.figures)),
        "cases_without_data": made.absent,
        "cases_without_joint_model": made.too_little,
        "rows": [
            {"case": f.case, "figure": f.what, "ours": f.ours, "paper": f.paper, "same": f.same} for f in made.figures
        ],
    }


def notes(made: Replication) -> list[str]:
    """The lines below the tables: how many figures differ, and what was left out."""
    figures = f"{len(made.figures)} figures, {made.different} differ"
    return [
        f"{figures} by more than {TOLERANCE:g} (RQ1: as the paper rounds them)",
        *([f"not recomputed, for their predictions are not there: {', '.join(made.absent)}"] if made.absent else []),
        *(f"no joint supervisor for {why}" for why in made.too_little),
        f"accepted: accuracy with {DEFERRED:.0%} of the inputs deferred, {REJECTED:.0%} of these rejected",
    ]


def tables(made: Replication) -> list[Table]:
    """Both research questions, and what goes beyond them."""
    first, second = ([f for f in made.figures if f.what.startswith(question)] for question in ("RQ1", "RQ2"))
    return [_first_table(first), *_second_tables(second), _beyond_table(made.more)]


def _first_table(figures: list[Figure]) -> Table:
    """RQ1, a row for each figure."""
    table = Table(title="RQ1: the request-accuracy curve", title_justify="left")
    for name in ("case study", "figure", "here", "paper", ""):
        table.add_column(name, justify="right" if name in ("here", "paper") else "left")
    for figure in figures:
        table.add_row(
            figure.case, figure.what.removeprefix("RQ1 "), _shown(figure.ours), _shown(figure.paper), _mark(figure.same)
        )
    return table


def _second_tables(figures: list[Figure]) -> list[Table]:
    """RQ2, a table for each case study: every row of the paper's table, with our figures above the paper's."""
    return [
        _second_table(case, [figure for figure in figures if figure.case == case])
        for case in dict.fromkeys(figure.case for figure in figures)
    ]


def _second_table(case: str, figures: list[Figure]) -> Table:
    table = _narrow(f"RQ2: both supervisors, {case}", "FPR", "remote calls", "")
    for name in ("remote Δ", "Δ", "obj", "S0.5", "S1", "S2"):
        table.add_column(name, justify="right", min_width=6)
    table.add_column("differs", justify="right", min_width=7)
    for place in range(0, len(figures), len(VALUES)):
        row = figures[place : place + len(VALUES)]
        rate, point, _ = row[0].what.removeprefix("RQ2 FPR ").split(", ")
        pairs = (f"{_shown(figure.ours)}\n{_shown(figure.paper)}" for figure in row)
        table.add_row(rate, point.replace(" (", "\n").rstrip(")"), _HERE_AND_PAPER, *pairs, _difference(row))
    return table


def _beyond_table(more: list[Beyond]) -> Table:
    table = _narrow("Beyond the paper, five-fold cross-validated", "case study", "")
    for name in ("AUC, arbitration", "remote-even at", "best accuracy", "accepted, joint"):
        table.add_column(name, justify="right", max_width=12)
    for case in more:
        pairs = (case.auc, case.even, case.best, case.accepted)
        table.add_row(case.case, _HERE_AND_PAPER, *(f"{_shown(new)}\n{_shown(old)}" for old, new in pairs))
    return table


def _narrow(title: str, *names: str) -> Table:
    """A table of rows of two lines."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _difference(row: list[Figure]) -> str:
    gaps = [abs(f.ours - f.paper) for f in row if isinstance(f.ours, float) and isinstance(f.paper, float)]
    return f"{max(gaps, default=0.0):.0e}\n{_mark(all(figure.same for figure in row))}"


def _shown(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.4f}"


def _mark(same: bool) -> str:  # noqa: FBT001  # reads as `_mark(figure.same)`
    return "=" if same else "DIFFERS"
