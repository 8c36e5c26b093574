"""The commands over recorded predictions, as the command line has them. Each is loaded when it is called."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter, validators
from rich.console import Console, RenderableType

from ...agents.supervision.thresholds import write_thresholds
from .options import RecordingOptions
from .recordings import Recorded

DONE, FAILED = 0, 1

Json = Annotated[bool, Parameter(negative="", help="Print JSON instead of tables.")]
NotNegative = Annotated[float, Parameter(validator=validators.Number(gte=0))]


def curve(
    recorded: RecordingOptions,
    *,
    grid: Literal[101, 1001] = 1001,
    price: NotNegative = 0.0,
    local_ms: NotNegative = 0.0,
    remote_ms: NotNegative = 0.0,
    plot: Path | None = None,
    json: Json = False,
) -> int:
    """Show how right the system is for every share of remote calls, before anything is rejected.

    Parameters
    ----------
    grid
        Cutoffs from 0 to 1.
    price
        What one remote call costs.
    local_ms
        Milliseconds of one local answer.
    remote_ms
        Milliseconds of one remote answer.
    plot
        File for a picture of the curve, .png or .svg.
    """
    from .curve import Prices, draw, report_on

    read = recorded.read()
    report = report_on(read.recording, grid, Prices(price, local_ms, remote_ms))
    if plot is not None:
        draw(report, plot)
    _tell(json, report.as_json(), report.as_table(), _from(read))
    return DONE


def calibrate(
    recorded: RecordingOptions,
    *,
    remote_fraction: float | None = None,
    cost: float | None = None,
    remote_even: Annotated[bool, Parameter(negative="")] = False,
    local_threshold: float | None = None,
    false_positive_rate: float | None = None,
    max_error: float | None = None,
    method: Literal["paper", "clopper-pearson", "ltt"] | None = None,
    delta: float = 0.1,
    price: NotNegative = 0.0,
    seed: int = 0,
    out: Path | None = None,
    version: str = "",
    local_score: str = "max_softmax",
    remote_score: str = "max_softmax",
    local_model: str = "",
    remote_model: str = "",
    json: Json = False,
) -> int:
    """Find both thresholds from labelled predictions, the second one with a guarantee.

    Say one thing of the first threshold (--remote-fraction, --cost, --remote-even or --local-threshold) and one
    of the second (--false-positive-rate or --max-error). Exit status 1 where the target is infeasible.

    Parameters
    ----------
    remote_fraction
        Share of the inputs that should go to the remote model, 0..1.
    cost
        What 1,000 inputs should cost, with --price.
    remote_even
        As few remote calls as make the system as right as the remote model alone.
    local_threshold
        The first threshold itself.
    false_positive_rate
        Share of the right answers that may be rejected at most, 0..1.
    max_error
        Share of the trusted answers that may be wrong at most, 0..1.
    method
        Rule of the second threshold: clopper-pearson by default, ltt with --max-error; paper promises nothing.
    delta
        Probability that the promise fails.
    price
        What one remote call costs.
    seed
        Seed of the split in three parts.
    out
        File for the thresholds, which `[thresholds] file` of a worker's configuration names.
    version
        Name that every record carries; made of date and digest by default.
    local_score
        Name of the local score, as the worker's configuration has it.
    remote_score
        Name of the remote score.
    local_model
        Name and version of the local model, as records name it: the worker refuses another.
    remote_model
        Name and version of the remote model.
    """
    from .calibrate import Names, Wish, as_json, as_table, calibrated, thresholds_of

    wish = Wish(
        remote_fraction=remote_fraction,
        cost=cost,
        remote_even=remote_even,
        local_threshold=local_threshold,
        false_positive_rate=false_positive_rate,
        max_error=max_error,
        method=method,
        delta=delta,
        price=price,
    )
    wish.settled()  # its faults come before minutes of reading
    read = recorded.read()
    made = calibrated(read.recording, wish, seed)
    names = Names(local_score, remote_score, local_model, remote_model, version)
    thresholds = thresholds_of(made, wish, names, seed, datetime.now(UTC).isoformat(timespec="seconds"))
    if thresholds is not None and out is not None:
        write_thresholds(out, thresholds)
    notes = [*_from(read), *([f"written to {out}, version {thresholds.version}"] if thresholds and out else [])]
    _tell(json, as_json(made, wish, thresholds), as_table(made, wish), notes)
    return DONE if thresholds is not None else FAILED


def replicate(*, data: Path, json: Json = False) -> int:
    """Recompute the paper's figures from its recorded predictions. Exit status 1 where one differs.

    Parameters
    ----------
    data
        Folder with `rq2_table.csv` and the recorded predictions of one case study or more.
    """
    from . import replicate as paper

    cases, reference = paper.present(data), paper.read_reference(data)
    figures = [figure for case in cases for figure in paper.figures_of(case, paper.load(case, data), reference)]
    absent = sorted({name for name, _, _ in reference} - {case.name for case in cases})
    first, second = ([figure for figure in figures if figure.what.startswith(question)] for question in ("RQ1", "RQ2"))
    different = sum(not figure.same for figure in figures)
    notes = [
        f"{len(figures)} figures, {different} differ by more than {paper.TOLERANCE:g} (RQ1: as the paper rounds them)",
        *([f"not recomputed, for their predictions are not there: {', '.join(absent)}"] if absent else []),
    ]
    _tell(json, paper.as_json(figures, absent), [paper.first_table(first), paper.second_table(second)], notes)
    return FAILED if different else DONE


def _from(read: Recorded) -> list[str]:
    return [f"{len(read.recording):,} inputs; {read.taken}"]


def _tell(
    as_json: bool,  # noqa: FBT001  # the flag of the command line
    document: dict[str, Any],
    tables: RenderableType | list[RenderableType],
    notes: list[str],
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.out(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), highlight=False)
        return
    for table in tables if isinstance(tables, list) else [tables]:
        console.print(table, soft_wrap=False)
    for note in notes:
        console.print(note, markup=False)
