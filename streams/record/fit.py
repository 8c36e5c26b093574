"""From labels to thresholds: take a recording, choose the score, calibrate, and write what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ...agents.answers import scores_for
from ...agents.auditing.drawn import Matches
from ...agents.auditing.matching import exact, matching
from ...agents.supervision.thresholds import Thresholds, write_thresholds
from ...schemas.errors import ConfigurationError
from ..console.output import working, writing
from ..offline.calibrate import CalibrationOptions, Names, as_table, notes
from ..offline.fitting import Fit, fit_recording
from ..offline.recordings.files import RecordingError, column_names, read_table
from ..offline.recordings.pairs import Recorded, read_recording
from ..report.from_fit import Background, recorded_background
from ..report.material import Inputs, Usage
from ..report.writing import write_report
from ..settings.file import Configuration, load_configuration
from ..settings.tables import Settings
from .labelled import Labelled
from .pairs import inputs_of
from .run import PAIRS


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be promised, and where what is made goes."""

    options: CalibrationOptions
    seed: int
    version: str
    out: Path  #: the thresholds
    report: Path


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was made."""

    fit: Fit
    wanted: Wanted
    notes: tuple[str, ...]  #: about the configuration, and what the recording lacks

    @property
    def toml(self) -> str:
        """The lines to paste."""
        return _toml(self.wanted.out)

    def as_json(self) -> dict[str, Any]:
        """What it adds to the document of `--json`."""
        written = self.fit.thresholds is not None
        return {
            **self.fit.as_json(),
            "out": str(self.wanted.out) if written else None,
            "report": str(self.wanted.report),
            "toml": self.toml if written else None,
        }

    def tables(self) -> list[Any]:
        """The rates on each part, where there are thresholds."""
        fit = self.fit
        return [] if fit.thresholds is None else [as_table(fit.made, fit.options)]

    def lines(self, config: Path | None) -> list[str]:
        """The lines for people, the ones to paste at the end."""
        fit, wanted = self.fit, self.wanted
        lines = [*notes(fit.made, fit.options), *fit.notes()]
        lines.append(f"report: {wanted.report}")
        if fit.thresholds is None:
            return [*lines, *self.notes, f"nothing is written to {wanted.out}"]
        lines += [f"thresholds: {wanted.out}, version {fit.thresholds.version}", *self.notes]
        where = "your configuration" if config is None else str(config)
        if _named_in(config, wanted.out):
            return [*lines, f"{where} names the file: a worker takes it as it is"]
        return [*lines, "", f"Put this into {where}, in place of both `threshold` keys:", "", *self.toml.splitlines()]


def make_fit(configuration: Configuration, path: Path, labelled: Labelled | None, wanted: Wanted) -> Fitted:
    """Everything from a recording. `labelled`: where the inputs are, for the report; None where they are not known.

    Raises `ConfigurationError`, `RecordingError` and `OutputError`.
    """
    settings = configuration.settings
    with working("reading") as status:
        read, lacking = recorded(path, matching(settings.audit.matches)), tuple(_lacking(path))
        status.update("  choosing the score, calibrating")
        at = datetime.now(UTC).isoformat(timespec="seconds")
        names = _names(settings, path, wanted.version)
        fit = fit_recording(_computable(read, settings), wanted.options, names, wanted.seed, at)
        background = _background(names.remote_score, path, labelled, wanted, fit.labels_to_halve)
        if fit.thresholds is not None:
            with writing(wanted.out):
                write_thresholds(wanted.out, fit.thresholds)
        status.update("  writing the report")
        write_report(fit, background, wanted.report)
    return Fitted(fit, wanted, (*left_out(settings, fit.thresholds), *lacking))


def recorded(path: Path, matches: Matches = exact) -> Recorded:
    """The pairs of a recording; all of its rows where it does not say which they are."""
    marks = _marks(path)
    if marks and not any(marks):
        text = "no row is a pair of answers with scores: the rows say why; with --local-only there is none"
        raise RecordingError(f"{path}: {text}")
    return read_recording(path, path, where=PAIRS if marks else None, matches=matches)


def _marks(path: Path) -> list[bool]:
    """Which rows are pairs; empty where the recording does not say."""
    if PAIRS.column not in column_names(path):
        return []
    return [str(mark).lower() == PAIRS.value for mark in read_table(path, [PAIRS.column]).columns[PAIRS.column]]


def _lacking(path: Path) -> Iterator[str]:
    """What a recording lacks: nothing can be said about inputs like these."""
    marks = _marks(path)
    if gaps := marks.count(False):
        verb = "is no pair" if gaps == 1 else "are no pairs"
        yield f"left out: {gaps:,} of {len(marks):,} rows {verb} of answers with scores; the rows say why"
    wanted = inputs_of(path)
    if wanted is not None and len(marks) < wanted:
        held = f"{len(marks):,} of {wanted:,} inputs"
        yield f"{path} is unfinished: it holds {held}; `bisupervised record` goes on with it"


def _names(settings: Settings, path: Path, version: str) -> Names:
    local, remote = (_only_model(path, f"{side}_model") for side in ("local", "remote"))
    remote_score = _remote_score(path, settings.remote.own_score)
    return Names(settings.local.own_score, remote_score, local, remote, version)


def _computable(read: Recorded, settings: Settings) -> Recorded:
    """Without local scores that a worker of these settings cannot compute."""
    known = scores_for(settings.local.output)
    scores = {name: values for name, values in read.evidence.scores.items() if name in known}
    return replace(read, evidence=replace(read.evidence, scores=scores))


def _remote_score(path: Path, given: str) -> str:
    """The name of the score that is recorded as the remote one: the given one, unless the recording knows better."""
    columns = ("remote_score", "remote_scores")
    if not set(columns) <= set(column_names(path)):
        return given
    table = read_table(path, columns).columns
    cells = zip(*(table[name] for name in columns), strict=True)
    rows = [(own, scores) for own, scores in cells if own is not None and isinstance(scores, Mapping)]
    names = [given, *sorted({name for _, scores in rows for name in scores})]
    same = (name for name in names if rows and all(scores.get(name) == own for own, scores in rows))
    return next(same, given)


def _only_model(path: Path, column: str) -> str:
    """The model that all rows name; '' where they name none, or several."""
    if column not in column_names(path):
        return ""
    named = {str(name) for name in read_table(path, [column]).columns[column] if name}
    return named.pop() if len(named) == 1 else ""


def _background(
    remote_score: str, path: Path, labelled: Labelled | None, wanted: Wanted, more: int | None
) -> Background:
    truths, (local_s, remote_s) = recorded_background(path)
    price = wanted.options.price or _mean_cost(path)  # where the price is one of tokens
    return Background(
        name=path.name if labelled is None else labelled.path.name,
        truths=truths,
        inputs=None if labelled is None else _inputs_of(labelled),
        usage=Usage(price, local_s=local_s, remote_s=remote_s),
        remote_score=remote_score,
        toml=_toml(wanted.out),
        more_labels=more,
    )


def _mean_cost(path: Path) -> float:
    """Of the remote's answers; 0 where the recording does not tell."""
    if "cost" not in column_names(path):
        return 0.0
    costs = [cost for cost in read_table(path, ["cost"]).columns["cost"] if isinstance(cost, int | float)]
    return sum(costs) / len(costs) if costs else 0.0


def _inputs_of(labelled: Labelled) -> Inputs:
    def inputs(ids: Collection[str]) -> Mapping[str, object]:
        return {each.row.id: each.input for each in labelled.records() if each.row.id in ids}

    return inputs


def left_out(settings: Settings, made: Thresholds | None) -> tuple[str, ...]:
    """Keys of the configuration that contradict the file."""
    if made is None:
        return ()
    local, remote = settings.local, settings.remote
    given = {
        ("local", made.local.score): "supervisor" in local.model_fields_set and local.supervisor,
        ("remote", made.remote.score): "supervisor" in remote.model_fields_set and remote.supervisor,
    }
    return tuple(
        f"leave [{side}] supervisor out of the configuration: the file names {score}"
        for (side, score), written in given.items()
        if written and written != score
    )


def _named_in(config: Path | None, out: Path) -> bool:
    """Whether the configuration takes its thresholds from this file, and is without a fault."""
    try:
        named = load_configuration(config).settings.thresholds.file
    except ConfigurationError:
        return False
    return bool(named) and Path(named).resolve() == out.resolve()


def _toml(out: Path) -> str:
    return f"[thresholds]\nfile = {orjson.dumps(str(out)).decode()}\n"
