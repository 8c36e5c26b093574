"""A recording as a phase of the simulation, and what is printed about what was simulated."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ...agents.auditing.losses import losses
from ...agents.supervision.thresholds import Thresholds
from ...schemas.errors import ConfigurationError
from ..offline.recordings.options import RecordingOptions
from ..offline.recordings.pairs import Recorded
from ..offline.rules import FromFile
from .simulation import Phase, Plan, Simulated, Spread

#: what a promise is about, in words
WORDS = {"error": "wrong among the trusted answers", "false_positive_rate": "rejected among the right answers"}


def judged_by(path: Path) -> FromFile:
    """The thresholds. Raises `ConfigurationError`, also where nothing is promised that can be watched."""
    rule = FromFile.read(path)
    if not 0.0 < rule.made.target.value < 1.0:
        raise ConfigurationError(
            [f"{path}: its target is {rule.made.target.value:g}; a rate between 0 and 1 is needed"]
        )
    return rule


def then(recorded: RecordingOptions, local: Path, remote: Path) -> Recorded:
    """The recording of what comes after the change, read like the first one. Raises `RecordingError`."""
    return replace(recorded, local=local, remote=remote).read()


def phase(given: Recorded, rule: FromFile) -> Phase:
    """What requests like those of the recording say about the promise.

    Raises `ConfigurationError` where they say nothing.
    """
    rule, scored = rule.scored(given)
    recording = scored.recording
    made = rule.decide(recording)
    of_local = made.by_local | made.local_after_all
    right = np.where(of_local, recording.local.correct, recording.remote.correct)
    found = losses(rule.made.target.kind, ~made.rejected, right)
    if found.rate is None:
        raise ConfigurationError(["the recording holds no evidence about the promise: no answer is trusted, or right"])
    return Phase(found.wrong[found.counts], float(found.counts.mean()), float(made.by_local.mean()))


def as_json(made: Simulated) -> dict[str, Any]:
    """The figures by name."""
    return asdict(made)


def as_table(made: Simulated, plan: Plan, thresholds: Thresholds, price: float) -> Table:
    """The figures in words."""
    table = Table(title=f"An audit of {plan.share:.3g} of the requests, {plan.runs:,} streams", show_header=False)
    table.title_justify = "left"
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_row(f"Promised at most, {WORDS[thresholds.target.kind]}", f"{made.promise:.2%}")
    table.add_row("True at first", f"{made.error_before:.2%}")
    table.add_row("False alarms per 10,000 labels", f"{made.false_alarms_per_10000_labels:.2f}")
    if made.error_after is not None and made.noticed_share is not None:
        table.add_row("True after the change", f"{made.error_after:.2%}")
        table.add_row("Streams that notice it", f"{made.noticed_share:.1%}")
        table.add_row("Labels until then, median (90 of 100 streams)", _spread(made.labels_to_notice))
        table.add_row("Requests until then, median (90 of 100 streams)", _spread(made.requests_to_notice))
    table.add_row("Streams in which the interval ever misses", f"{made.interval_missed_share:.1%}")
    table.add_row("Labels for 100,000 requests", f"{made.labels_share * 100_000:,.0f}")
    table.add_row("Further remote calls for 100,000 requests", f"{made.shadow_calls_share * 100_000:,.0f}")
    if price:
        table.add_row("They cost", f"{made.shadow_calls_share * 100_000 * price:,.2f}")
    return table


def notes(made: Simulated, plan: Plan) -> list[str]:
    """What the figures mean where it is not plain."""
    told = []
    if made.error_before > made.promise:
        told.append("the promise is broken from the first: what is counted as false alarms are true ones")
    if made.error_after is not None and made.error_after <= made.promise:
        told.append("the promise still holds after the change: an alarm would be a false one")
    elif made.noticed_share is not None and made.noticed_share < 1.0:
        missed = 1.0 - made.noticed_share
        told.append(
            f"{missed:.1%} of the streams saw no alarm within {plan.labels_after:,} labels: raise --labels-after"
        )
    return told


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    median, p90 = ("never" if figure is None else f"{figure:,.0f}" for figure in (spread.median, spread.p90))
    return f"{median} ({p90})"
