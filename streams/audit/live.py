"""`audit report` and `audit wanted`: what the topics say about the promise, and which requests wait for a label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...agents.auditing.account import Account, Estimate, Promise, Terms, account
from ...agents.auditing.matching import matching
from ...agents.supervision.thresholds import Target, Thresholds
from ..settings.tables import Settings
from .topics import AuditRecord, AuditTopics

_MS_PER_HOUR = 3_600_000
#: characters of a request in one line
_SHOWN = 160
#: what a promise is about
_ABOUT = {"error": "wrong among the trusted answers", "false_positive_rate": "rejected among the right answers"}


def accounts(
    topics: AuditTopics, settings: Settings, thresholds: Thresholds | None, now_ms: float
) -> dict[str, Account]:
    """The account of each version of the thresholds. Promises are known of the one that the settings name.

    Raises `ConfigurationError` where what compares answers cannot be had.
    """
    matches = matching(settings.audit.matches)
    made = {}
    for version, records in topics.by_version().items():
        promises = promises_of(thresholds) if thresholds is not None and thresholds.version == version else ()
        terms = Terms(promises, settings.audit.label_within_hours * _MS_PER_HOUR, settings.audit.labels_to_false_alarm)
        made[version] = account([record.drawn for record in records], topics.ballots, now_ms, terms, matches)
    return made


def promises_of(thresholds: Thresholds) -> tuple[Promise, ...]:
    """What a thresholds file promises, and an alarm can watch."""
    targets: list[Target] = [thresholds.target, *([thresholds.also] if thresholds.also else [])]
    return tuple(Promise(target.kind, target.value) for target in targets if 0.0 < target.value < 1.0)


def as_json(topics: AuditTopics, made: Mapping[str, Account]) -> dict[str, Any]:
    """All figures by name."""
    return {
        "versions": [{"version": version, **_document(one)} for version, one in made.items()],
        "unjudged": topics.unjudged,
        "votes": topics.votes,
        "unknown_sources": topics.unknown,
        "unreadable": topics.unreadable,
        "other_pipelines": topics.foreign,
        "replaced": topics.replaced,
    }


def _document(one: Account) -> dict[str, Any]:
    document = asdict(one)
    for name, estimate in estimates_of(one).items():
        document[name]["value"] = estimate.value
    for alarm in document["alarms"]:
        alarm["level"] = max(alarm["level"], 0.0)  # -inf before any label, and JSON has none
    return document | {"labels_late": one.labels_late}


def estimates_of(one: Account) -> dict[str, Estimate]:
    """The estimates by name."""
    return {
        "error": one.error,
        "false_positive_rate": one.false_positive_rate,
        "local_error": one.local_error,
        "remote_error_where_asked": one.remote_error_where_asked,
    }


def as_table(version: str, one: Account) -> Table:
    """One version's figures in words."""
    table = Table(title=f"Thresholds {version}", title_justify="left")
    table.add_column("")
    for name in ("share", "95 % interval", "labels"):
        table.add_column(name, justify="right")
    names = {
        "Wrong among the trusted answers": one.error,
        "Rejected among the right answers": one.false_positive_rate,
        "Wrong, local model alone": one.local_error,
        "Wrong, remote, where it was asked": one.remote_error_where_asked,
    }
    for name, estimate in names.items():
        value = "-" if estimate.value is None else f"{estimate.value:.2%}"
        table.add_row(name, value, f"{estimate.lower:.2%} to {estimate.upper:.2%}", f"{estimate.labels:,}")
    return table


def notes(one: Account) -> list[str]:
    """What the figures rest on, and the alarm."""
    told = [
        f"{one.drawn:,} requests drawn, {one.labelled:,} labelled, {one.evidence:,} of them taken in, in the order of "
        f"the requests; {one.outstanding:,} wait for a label, {one.late:,} got none in time, {one.missing:,} were too "
        "large"
    ]
    if one.seen_once:
        told.append(f"{one.seen_once:,} labels speak against the promise, and wait for a second person to look")
    if one.disputed:
        told.append(f"{one.disputed:,} have as many votes for one answer as for another: one more vote decides")
    if one.labels_late:
        told.append("labels are late: what is labelled may not stand for all requests")
    for alarm in one.alarms:
        promised = f"at most {alarm.promise.value:.2%} {_ABOUT[alarm.promise.kind]}"
        if alarm.raised:
            told.append(f"ALARM: {promised} is promised, and the labels say otherwise: last at {alarm.raised[-1]}")
        else:
            told.append(f"promised: {promised}; no alarm ({max(alarm.level, 0.0):.0%} of the way)")
    if not one.alarms:
        told.append("no promise is known of these thresholds: [thresholds] file names others, or none")
    return told


def print_wanted(record: AuditRecord, *, as_json: bool) -> None:
    """A line to standard output."""
    document = wanted_document(record)
    console = Console(soft_wrap=True, highlight=False)
    if as_json:
        console.out(orjson.dumps(document).decode(), highlight=False)
        return
    identity = "" if document["id"] is None else f"  id {document['id']}"
    text = orjson.dumps(document["request"]).decode()
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    console.print(Text(f"{document['source']}{identity}  {shown}"))


def wanted_document(record: AuditRecord) -> dict[str, Any]:
    """A request that waits for a label, without what the models said: that would sway who labels it."""
    return {
        "source": record.drawn.source,
        "id": record.facts.id,
        "requested_ms": record.facts.requested_ms,
        "request": _request(record.value),
    }


def _request(value: bytes | None) -> Any:  # noqa: ANN401  # any JSON value
    try:
        return orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return (value or b"").decode("utf-8", errors="backslashreplace")
