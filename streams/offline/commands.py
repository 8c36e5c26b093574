"""The commands over recorded predictions, as the command line has them. What they need is loaded when one is called."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from ...agents.supervision.thresholds import write_thresholds
from ...schemas.errors import ConfigurationError
from ..console.options import DONE, FAILED, Finite, NotNegative, Switch
from ..console.output import check_outputs, tell, working, writing
from ..settings.file import load_settings
from .recordings.options import RecordingOptions
from .recordings.pairs import Recorded
from .target_options import TargetOptions

if TYPE_CHECKING:
    from .rules import Rule


Json = Annotated[bool, Parameter(negative="", help="Print JSON instead of tables.")]
_USUAL = TargetOptions()


def curve(
    recorded: RecordingOptions,
    *,
    grid: Literal[101, 1001] = 1001,
    price: NotNegative = 0.0,
    local_ms: NotNegative = 0.0,
    remote_ms: NotNegative = 0.0,
    arbitration: Switch = False,
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
    arbitration
        Also with the likelier of the two answers taken once the remote has answered, cross-validated.
    plot
        File for a picture of the curve, .png or .svg.
    """
    from .curve import Prices, draw, make_report

    check_outputs({"--plot": plot}, recorded.files)
    with working("reading") as status:
        read = recorded.read()
        status.update("  fitting and drawing the curve")
        try:
            report = make_report(read.recording, grid, Prices(price, local_ms, remote_ms), arbitration=arbitration)
        except ValueError as error:
            raise ConfigurationError([f"--arbitration: {error}"]) from error
        if plot is not None:
            draw(report, plot)
    document = report.as_json() | {"taken": str(read.taken)}
    tell(document, [report.as_table()], [*report.notes(), *_from(read)], as_json=json)
    return DONE


def calibrate(
    recorded: RecordingOptions,
    *,
    targets: TargetOptions = _USUAL,
    price: NotNegative = 0.0,
    out: Path | None = None,
    local_score: str = "max_softmax",
    remote_score: str = "max_softmax",
    local_model: str = "",
    remote_model: str = "",
    json: Json = False,
) -> int:
    """Find both thresholds from labelled predictions, the second one with a guarantee.

    Choose one option for the first threshold (--remote-fraction, --cost, --remote-even or --local-threshold), and one
    for the second (--false-positive-rate or --max-error) or both. Exit status 1 where the target is infeasible.

    Parameters
    ----------
    price
        What one remote call costs.
    out
        File for the thresholds, which `[thresholds] file` of a worker's configuration names.
    local_score
        Name of the local score, as the worker's configuration has it.
    remote_score
        Name of the remote score.
    local_model
        Name and version of the local model, as records name it: the worker refuses another.
    remote_model
        Name and version of the remote model.
    """
    from . import calibrate as thresholds_for
    from .fitting import fit_recording

    options = targets.at(price)
    check_outputs({"--out": out}, recorded.files)
    names = thresholds_for.Names(local_score, remote_score, local_model, remote_model, targets.version)
    with working("reading") as status:
        read = recorded.read()
        status.update("  calibrating")
        made = fit_recording(read, options, names, targets.seed, datetime.now(UTC).isoformat(timespec="seconds"))
    thresholds = made.thresholds
    tables = [] if thresholds is None else [thresholds_for.as_table(made.made, options)]
    notes = [*thresholds_for.notes(made.made, options), *made.notes(), *_from(read)]
    if thresholds is not None and out is not None:
        with writing(out):
            write_thresholds(out, thresholds)
        notes.append(f"written to {out}, version {thresholds.version}")
    elif out is not None:
        notes.append(f"nothing is written to {out}")
    tell(made.as_json() | {"taken": str(read.taken)}, tables, notes, as_json=json)
    return DONE if thresholds is not None else FAILED


def plan(
    *,
    target_error: float | None = None,
    false_positive_rate: float | None = None,
    expected_error: float | None = None,
    acceptance: float = 1.0,
    accuracy: float = 0.9,
    delta: float = 0.1,
    power: float = 0.9,
    json: Json = False,
) -> int:
    """Say how many labels a promise takes, before anybody labels. Exit status 1 where it is out of reach.

    Parameters
    ----------
    target_error
        Share of the trusted answers that may be wrong at most, 0..1.
    false_positive_rate
        Share of the right answers that may be rejected at most, 0..1.
    expected_error
        Share of the trusted answers that will be wrong; without it, some shares of the target are shown.
    acceptance
        Share of the inputs that will get a trusted answer.
    accuracy
        Share of the inputs that the system will have right before it rejects any.
    delta
        Probability that the promise fails.
    power
        Share of all samples of that size that are to be enough.
    """
    from .plan import PlanOptions, make_plan

    made = make_plan(PlanOptions(target_error, false_positive_rate, expected_error, acceptance, accuracy, delta, power))
    tell(made.as_json(), [made.as_table()], made.notes(), as_json=json)
    return FAILED if made.labels is None else DONE


def replicate(*, data: Path, json: Json = False) -> int:
    """Recompute the paper's figures from its recorded predictions. Exit status 1 where one differs.

    Parameters
    ----------
    data
        Folder with `rq2_table.csv` and the recorded predictions of one case study or more.
    """
    from .replicate import recomputed
    from .replicate_report import as_json, notes, tables

    with working("recomputing") as status:
        made = recomputed(data, lambda case: status.update(f"  recomputing {case}"))
    tell(as_json(made), tables(made), notes(made), as_json=json)
    return FAILED if made.different else DONE


def rehearse(
    recorded: RecordingOptions,
    *,
    local_threshold: Finite | None = None,
    remote_threshold: Finite | None = None,
    thresholds: Path | None = None,
    latency_ms: NotNegative = 0.0,
    limit: Annotated[float, Parameter(validator=validators.Number(gt=0), show_default=False)] = math.inf,
    price: NotNegative = 0.0,
    bootstrap_servers: str | None = None,
    first: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    json: Json = False,
    out: Path | None = None,
) -> int:
    """Run recorded predictions through the real pipeline, and compare every decision with the offline one.

    Exits 1 where a decision differs, or an input is lost or answered twice.

    Parameters
    ----------
    local_threshold
        A local score below this is doubtful, and the remote is asked.
    remote_threshold
        A remote score below this is rejected.
    thresholds
        File of `calibrate`, in place of both.
    latency_ms
        Median of a remote call, milliseconds.
    limit
        Remote calls per second before they are refused; without it all are let through.
    price
        Price of a remote call.
    bootstrap_servers
        Broker to run on; the embedded one is started without it.
    first
        Only so many inputs, from the first on.
    out
        File to write the same JSON to.
    """
    from .rehearsal import Conditions, run_rehearsal
    from .rules import FromFile

    check_outputs({"--out": out}, {**recorded.files, "--thresholds": thresholds})
    rule = _rule(local_threshold, remote_threshold, thresholds)
    conditions = Conditions(latency_ms, limit, price, bootstrap_servers)
    given = recorded.read().first(first)
    with TemporaryDirectory(prefix="bisupervised-thresholds-") as folder:
        if isinstance(rule, FromFile):
            rule, given = rule.scored(given)
            rule = rule.kept_in(Path(folder))  # the recorded model gives the score as one of its own
        return run_rehearsal(given, rule, conditions, as_document=json, out=out)


def _rule(local: float | None, remote: float | None, thresholds: Path | None) -> Rule:
    from .rules import FromFile, TwoThresholds

    if thresholds is not None and local is None and remote is None:
        return FromFile.read(thresholds)
    if thresholds is None and local is not None and remote is not None:
        return TwoThresholds(local, remote)
    raise ConfigurationError(["say both --local-threshold and --remote-threshold, or --thresholds alone"])


def recording(
    *,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    labels: Path,
    out: Path,
    id_column: str | None = None,
    source_column: str | None = None,
    truth_column: str | None = None,
    json: Json = False,
) -> int:
    """Make a recording from the topics of a running system: what both models answered, joined with labels.

    The file is read by the commands over recordings: --local FILE --remote FILE --where pair=true

    Parameters
    ----------
    config
        TOML file with the settings.
    labels
        The right answers: .csv, .jsonl or .parquet, by source (topic-partition-offset) or id.
    out
        File to write, ending in .jsonl.
    id_column
        Column of the labels with the request's id.
    source_column
        Column of the labels with the request's topic-partition-offset.
    truth_column
        Column of the labels with the right answer.
    """
    if out.suffix != ".jsonl":
        raise ConfigurationError([f"--out: must end in .jsonl (got {str(out)!r})"])
    check_outputs({"--out": out}, {"--labels": labels, "--config": config})
    settings = load_settings(config)
    from .recordings.from_topics import run_recording

    return run_recording(settings, labels, out, (id_column, source_column, truth_column), as_document=json)


def rejudge(
    *,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    thresholds: Path,
    results: str | None = None,
    fallback: str | None = None,
    examples: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 3,
    json: Json = False,
) -> int:
    """Judge the remote answers of a running system again under new thresholds, without a paid call.

    Inputs that the local model answered have no remote answer: they are only counted. Without --results and --fallback
    the command only reports what would change. With both, each answer also gets exactly one record in these topics. If
    the run is killed, the same command goes on from there.

    Parameters
    ----------
    config
        TOML file with the settings of the system.
    thresholds
        File of `calibrate` to judge by.
    results
        Topic for what is trusted now, none of the system's own.
    fallback
        Topic for what is rejected now, none of the system's own.
    examples
        Inputs to name for each change.
    """
    settings = load_settings(config)
    from .rejudge import output_topics, run_rejudge

    outputs = output_topics(settings, results, fallback)
    return run_rejudge(settings, thresholds, outputs, examples, as_document=json)


def _from(read: Recorded) -> list[str]:
    return [f"{len(read.recording):,} inputs; {read.taken}"]
