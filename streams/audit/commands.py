"""The command `audit simulate`, as the command line has it. What it needs is loaded when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from ...schemas.errors import ConfigurationError
from ..console.options import DONE
from ..console.output import tell, working
from ..offline.recordings.options import RecordingOptions

Share = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))]
Json = Annotated[bool, Parameter(negative="", help="Print JSON instead of tables.")]


def simulate(
    recorded: RecordingOptions,
    *,
    thresholds: Path,
    share: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=1))] = 0.01,
    shadow_share: Share = 0.0,
    runs: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=100_000))] = 200,
    then_local: Path | None = None,
    then_remote: Path | None = None,
    labels_before: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 5_000,
    labels_after: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 20_000,
    labels_to_false_alarm: Annotated[float, Parameter(validator=validators.Number(gte=2))] = 10_000.0,
    price: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 0.0,
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    json: Json = False,
) -> int:
    """Say how soon an audit would notice that the promise is broken, and how often it would cry wolf.

    A recording is played as a stream, many times over. A second one, --then-local and --then-remote, is what comes
    after the change. Nothing is asked, and nothing is paid.

    Parameters
    ----------
    thresholds
        File of `calibrate`, which holds the promise.
    share
        Share of the requests that is audited, that is, labelled by people.
    shadow_share
        Share of the requests for which the remote is asked although the local answer is trusted.
    runs
        Streams that are played.
    then_local
        Predictions of the local model after the change.
    then_remote
        Predictions of the remote model after the change.
    labels_before
        Labels of each stream before the change.
    labels_after
        Most labels of each stream after the change.
    labels_to_false_alarm
        Labels until a false alarm, on average, at least.
    price
        What one remote call costs.
    seed
        Seed of the streams.
    """
    from . import report
    from .simulation import Plan
    from .simulation import simulate as play

    if (then_local is None) != (then_remote is None):
        raise ConfigurationError(["say both --then-local and --then-remote, or neither"])
    if shadow_share and shadow_share < share:
        raise ConfigurationError([f"--shadow-share: must be 0, or at least --share, {share:g} (got {shadow_share:g})"])
    rule = report.judged_by(thresholds)
    plan = Plan(share, shadow_share, labels_to_false_alarm, 0.05, runs, labels_before, labels_after, seed)
    with working("reading") as status:
        before = report.phase(recorded.read().recording, rule)
        after = None
        if then_local is not None and then_remote is not None:
            after = report.phase(report.then(recorded, then_local, then_remote).recording, rule)
        status.update("  playing the streams")
        made = play(rule.made.target.value, before, after, plan)
    tell(report.as_json(made), [report.as_table(made, plan, rule.made, price)], report.notes(made, plan), as_json=json)
    return DONE
