"""The commands `audit …` and `labels …`, as the command line has them. What they need is loaded when one is called."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from ...schemas.errors import ConfigurationError
from ..console.options import DONE, FAILED, Config
from ..console.output import counted, progress_console, tell, working
from ..console.signals import run_coroutine
from ..offline.recordings.options import RecordingOptions
from ..settings.file import load_settings

if TYPE_CHECKING:
    from ..settings.tables import Settings

Share = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))]
Json = Annotated[bool, Parameter(negative="", help="Print JSON instead of tables.")]


def audited(settings: Settings) -> Settings:
    """The same. Raises `ConfigurationError` where there is no audit."""
    if not settings.audit.on:
        raise ConfigurationError(["[audit] share: is 0, so no request is drawn: set it, as to 0.01 (docs/audit.md)"])
    return settings


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
        before = report.phase(recorded.read(), rule)
        after = None
        if then_local is not None and then_remote is not None:
            after = report.phase(report.then(recorded, then_local, then_remote), rule)
        status.update("  playing the streams")
        made = play(rule.made.target.value, before, after, plan)
    tell(report.as_json(made), [report.as_table(made, plan, rule.made, price)], report.notes(made, plan), as_json=json)
    return DONE


def report(*, config: Config = None, json: Json = False) -> int:
    """Say whether the promise is still true: estimates, intervals and the alarm, for each version of the thresholds.

    All of it is computed from the topics `audits` and `labels`, by the closings of the auditor in `trust`, and each of
    these is compared with what the topics give.
    """
    from . import live
    from .recomputing import recompute

    settings = audited(load_settings(config))
    with working("reading the topics"):
        made = run_coroutine(recompute(settings))
    tables, notes = [], [] if made.now.versions else ["no request that was drawn has ended yet"]
    for one in made.now.versions:
        tables.append(live.as_table(one))
        notes += [f"{one.version}: {line}" for line in live.notes(one)]
    if made.now.unjudged:
        notes.append(f"{counted(made.now.unjudged, 'drawn request')} failed before any thresholds judged them")
    if made.now.unknown_sources:
        text = "about requests of which no label is waited for: they are no evidence"
        notes.append(f"{counted(made.now.unknown_sources, 'vote')} {text}")
    if made.now.unknown_classes:
        notes.append(f"{counted(made.now.unknown_classes, 'vote')} for a label that there is not: they are no evidence")
    if made.unread:
        text = f"{settings.topics.labels} has {made.unread + 1} partitions, and only labels in partition 0 count"
        notes.append(f"{text}: write them there, or make the topic anew with one")
    terms = made.now.terms.ladder if made.now.terms is not None else None
    notes += live.notes_on_ladder(made.now.ladder, 0 if terms is None else len(terms.rungs))
    notes += live.notes_on_share(made.now.ladder, None if made.now.terms is None else made.now.terms.alarm_share)
    tell(live.as_json(made), tables, [*notes, *live.notes_on_closings(made)], as_json=json)
    return FAILED if made.differing else DONE


def wanted(
    *,
    config: Config = None,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 100,
    json: Json = False,
) -> int:
    """List the drawn requests whose label would still count, the oldest first, without what the models said.

    Parameters
    ----------
    limit
        Requests to list, at most.
    json
        Print a JSON object a line.
    """
    from ..auditor.rules import rules_of
    from ..events.documents import documents_of
    from ..events.making import request_format
    from . import live
    from .topics import read_topics
    from .topics import wanted as without_label

    settings = audited(load_settings(config))
    rules, reader = rules_of(settings, None), request_format(settings).reader
    with working("reading the topics"):
        since_ms = time.time() * 1000 - rules.terms.label_within_ms
        topics = run_coroutine(read_topics(settings, rules, since_ms))
        waiting = without_label(topics.in_order, topics.ballots, rules.matches, since_ms)
        shown = waiting[:limit]
        requests = run_coroutine(documents_of([record.value or b"" for record in shown], reader))
    for record, request in zip(shown, requests, strict=True):
        live.print_wanted(record, request, as_json=json)
    hours = settings.audit.label_within_hours
    told = f"{counted(len(waiting), 'request')} of the last {hours:g} hours without a label"
    progress_console().print(told, markup=False)
    return DONE


def labels_import(
    path: Path,
    /,
    *,
    by: str,
    config: Config = None,
    source_column: str = "source",
    truth_column: str | None = None,
    json: Json = False,
) -> int:
    """Write the labels of a file to the topic `labels`: .csv, .jsonl or .parquet, with the columns source and truth.

    All rows are checked before the first is written. The last label of a person about a request counts.

    Parameters
    ----------
    by
        Who says so: a name, the same for the same person.
    source_column
        Column with the request: topic-partition-offset, as `audit wanted` prints it.
    truth_column
        Column with the right answer.
    """
    from .importing import run_import

    settings = audited(load_settings(config))
    if not by.strip():
        raise ConfigurationError(["--by: must be a name"])
    return run_import(settings, path, (source_column, truth_column), by.strip(), as_json=json)
