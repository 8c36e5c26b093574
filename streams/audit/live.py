"""`audit report` and `audit wanted`: what the topics say about the promise, and which requests wait for a label."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...schemas.closings import AlarmShareTold, LadderTold, Share, VersionTold
from .recomputing import Recomputed
from .topics import AuditRecord

#: characters of a request in one line
_SHOWN = 160
#: what a promise is about
_ABOUT = {"error": "wrong among the trusted answers", "false_positive_rate": "rejected among the right answers"}


def as_json(made: Recomputed) -> dict[str, Any]:
    """All figures by name."""
    now = made.now
    return {
        "versions": [_document(one) for one in now.versions],
        "closings": {
            "recomputed": made.closings,
            "first": None if made.first is None else made.first.number,
            "last": None if made.last is None else made.last.number,
            "digest": None if made.last is None else made.last.digest,
            "agree": not made.differing,
            "differing": list(made.differing),
        },
        "ladder": None if now.ladder is None else msgspec.to_builtins(msgspec.structs.replace(now.ladder, state=None)),
        "unjudged": now.unjudged,
        "votes": now.votes,
        "unknown_sources": now.unknown_sources,
        "unknown_classes": now.unknown_classes,
        "unreadable": now.unreadable,
        "other_pipelines": now.foreign,
        "replaced": now.replaced,
    }


def _document(one: VersionTold) -> dict[str, Any]:
    document: dict[str, Any] = {**msgspec.to_builtins(VersionTold("")), **msgspec.structs.asdict(one)}
    for name, share in shares_of(one).items():
        document[name] = {**msgspec.to_builtins(share), "value": share.value}
    document["alarms"] = [
        {**msgspec.to_builtins(alarm), "level": alarm.level, "raised": alarm.raised, "last": alarm.last}
        for alarm in one.alarms
    ]
    del document["open_from"]
    return document


def shares_of(one: VersionTold) -> dict[str, Share]:
    """The shares by name."""
    return {
        "error": one.error,
        "false_positive_rate": one.false_positive_rate,
        "local_error": one.local_error,
        "remote_error": one.remote_error,
        "doubtful": one.doubtful,
        "disagreement": one.disagreement,
    }


def as_table(one: VersionTold) -> Table:
    """One version's figures in words."""
    table = Table(title=f"Thresholds {one.version}", title_justify="left")
    table.add_column("")
    for name in ("share", "95 % interval", "requests"):
        table.add_column(name, justify="right")
    names = {
        "Wrong among the trusted answers": one.error,
        "Rejected among the right answers": one.false_positive_rate,
        "Wrong, local model alone": one.local_error,
        "Wrong, remote alone" if _is_about_all(one) else "Wrong, remote, where it was asked": one.remote_error,
        "Early word: doubtful": one.doubtful,
        "Early word: both models differ": one.disagreement,
    }
    for name, share in names.items():
        value = "-" if share.value is None else f"{share.value:.2%}"
        table.add_row(name, value, f"{share.lower:.2%} to {share.upper:.2%}", f"{share.labels:,}")
    return table


def _is_about_all(one: VersionTold) -> bool:
    """Every labelled request has an answer of the remote, so that its errors are those among all requests."""
    return one.evidence > 0 and one.remote_unasked == 0


def notes(one: VersionTold) -> list[str]:
    """What the figures rest on, and the alarm."""
    told = [
        f"{one.drawn:,} requests drawn, {one.labelled:,} labelled, {one.evidence:,} of them taken in, in the order of "
        f"the requests; {one.outstanding:,} wait for a label, {one.late:,} got none in time, {one.missing:,} were too "
        "large"
    ]
    if one.unshadowed:
        told.append(f"{one.unshadowed:,} trusted answers were drawn for the remote, too, and it said nothing")
    if one.disputed:
        told.append(f"{one.disputed:,} have votes that decide nothing yet: one more vote may")
    if one.labels_late:
        told.append("labels are late: what is labelled may not stand for all requests")
    for alarm in one.alarms:
        promised = f"at most {alarm.promise.value:.2%} {_ABOUT[alarm.promise.kind]}"
        if alarm.raised:
            told.append(f"ALARM: {promised} is promised, and the labels say otherwise: last at {alarm.last}")
        else:
            told.append(f"promised: {promised}; no alarm ({alarm.level:.0%} of the way)")
    if not one.alarms:
        told.append("no promise is known of these thresholds: [thresholds] file names others, or none")
    return told


def notes_on_ladder(told: LadderTold | None, rungs: int) -> list[str]:
    """Which rung judges, and what the labels say of others; nothing where there is no ladder."""
    if told is None:
        return []
    pinned = ", pinned" if told.pinned else ""
    said = [
        f"ladder: version {told.version} is in force, rung {told.rung} of {rungs}{pinned}; "
        f"{told.requests:,} audited requests tell about every rung"
    ]
    if told.cheaper and told.calls is not None and told.cheaper_calls is not None:
        said.append(
            f"the labels certify rung {told.cheaper} at the same promise: it asks the remote about "
            f"{told.cheaper_calls:.1%} of the requests, and rung {told.rung} about {told.calls:.1%}"
        )
    return said


def notes_on_share(told: LadderTold | None, share: AlarmShareTold | None) -> list[str]:
    """How many more requests are drawn since an alarm; nothing where none are."""
    if told is None or share is None or not told.raised:
        return []
    spent = f"{told.raised_labels:,} of {share.labels:,} labels were wanted for that"
    until = _date(told.raised_ms + share.within_ms)
    return [f"since an alarm {share.share:.2%} of the requests are drawn, until {until} at the latest; {spent}"]


def notes_on_closings(made: Recomputed) -> list[str]:
    """Whether the auditor says the same."""
    if made.last is None or made.first is None:
        return ["no worker has closed yet: all is reckoned from the records, as of now"]
    first, last = made.first, made.last
    since = "from the first on"
    if not made.from_the_beginning:
        since = f"from number {first.number:,} on, of {_date(first.at_ms)}, which is believed: older records are gone"
    told = [f"the last closing of the auditor is number {last.number:,}, of {_date(last.at_ms)}, by {last.by}"]
    if made.differing:
        told += [f"DIFFERENT: {line}" for line in made.differing]
    else:
        told.append(
            f"{made.closings:,} closings reckoned again, {since}: every digest is the same, to the bit ({last.digest})"
        )
    return told


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def print_wanted(record: AuditRecord, request: Any, *, as_json: bool) -> None:  # noqa: ANN401  # it may hold anything
    """A line to standard output. `request`: the document, or the bytes that are none."""
    document = wanted_document(record, request)
    console = Console(soft_wrap=True, highlight=False)
    if as_json:
        console.out(_as_json(document), highlight=False)
        return
    identity = "" if document["id"] is None else f"  id {document['id']}"
    text = _as_json(document["request"])
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    console.print(Text(f"{document['source']}{identity}  {shown}"))


def wanted_document(record: AuditRecord, request: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
    """A request that waits for a label, without what the models said: that would sway who labels it."""
    return {
        "source": record.drawn.source,
        "id": record.facts.id,
        "requested_ms": record.facts.requested_ms,
        "request": request,
    }


def _as_json(value: Any) -> str:  # noqa: ANN401  # as above
    return orjson.dumps(value, default=_as_text, option=orjson.OPT_NON_STR_KEYS).decode()


def _as_text(value: Any) -> str:  # noqa: ANN401  # what is no JSON
    return value.decode("utf-8", errors="backslashreplace") if isinstance(value, bytes) else str(value)
