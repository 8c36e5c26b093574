"""Records as text for the terminal: one line each, or everything about one of them.

A record may hold anything. Characters that are not printable are escaped, so that none of them controls the terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
from rich.console import Console
from rich.text import Text

from ...schemas.codec import decode_result, facts_of, header, requested_ms
from ...schemas.records import FACTS_HEADER, REASON_HEADER, REPLAY_HEADER, Verdict
from ..console.output import counted

#: characters of a value or detail in one line
_SHORT = 80


def printable(text: str) -> str:
    """The text with every character that is not printable escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def bytes_text(value: bytes | None) -> str:
    """Bytes as text; bytes that are not UTF-8 are escaped, and None is `(none)`."""
    return "(none)" if value is None else printable(value.decode("utf-8", errors="backslashreplace"))


def time_text(milliseconds: int) -> str:
    """A record's time, UTC; a number that is no date stays a number."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)


def reason_of(record: Any) -> str:  # noqa: ANN401  # aiokafka has no types
    """Why a record fell back, or '?'."""
    return (header(record.headers, REASON_HEADER) or b"?").decode(errors="replace")


def fallback_line(record: Any) -> Text:  # noqa: ANN401  # aiokafka has no types
    """A record of `fallback`: source, time of the request, reason, the user's id, key, detail."""
    facts = facts_of(record)
    line = Text()
    line.append(printable(str(facts.source)), style="bold")
    line.append(f"  {time_text(requested_ms(record, facts))}  ", style="dim")
    line.append(printable(reason_of(record)), style="yellow")
    line.append(f"  {_identity(facts.id, record.key)}  {_short(printable(facts.detail or ''))}")
    return line


def result_line(record: Any) -> Text:  # noqa: ANN401  # aiokafka has no types
    """A record of `results`: source, time of the request, who answered, the answer, score, threshold, id, key."""
    line = Text()
    try:
        result = decode_result(record.value or b"")
    except msgspec.DecodeError:
        line.append(f"{printable(record.topic)}-{record.partition}-{record.offset}", style="bold")
        line.append("  no result: ", style="red")
        line.append(_short(bytes_text(record.value)))
        return line
    line.append(printable(str(result.source)), style="bold")
    line.append(f"  {time_text(result.requested_ms or record.timestamp)}  ", style="dim")
    line.append(result.answered_by, style="green" if result.answered_by == "local" else "cyan")
    line.append(f"  {_short(printable(orjson.dumps(result.prediction).decode()))}")
    line.append(f"  score {result.score:.4g} >= {result.threshold:.4g}  {_identity(result.id, record.key)}")
    return line


def _identity(identity: str | int | None, key: bytes | None) -> str:
    """The user's own id, where a request has one, and the record's key."""
    known = f"id {_short(printable(str(identity)))}  " if identity is not None else ""
    return f"{known}key {_short(bytes_text(key))}"


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def record_document(record: Any) -> dict[str, Any]:  # noqa: ANN401  # aiokafka has no types
    """A record as JSON, for scripts. Bytes that are not UTF-8 are escaped; headers keep their order."""
    named = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": [[name, _text(value)] for name, value in record.headers],
    }
    if header(record.headers, FACTS_HEADER) is None:
        return named
    facts = facts_of(record)
    return {"id": str(facts.source), "reason": reason_of(record), "facts": msgspec.to_builtins(facts), **named}


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", errors="backslashreplace")


def fallback_details(record: Any) -> list[str]:  # noqa: ANN401  # aiokafka has no types
    """Everything about one fallback record, a line each."""
    facts = facts_of(record)
    omitted = f"({facts.value_omitted:,} bytes, left at the source)" if facts.value_omitted is not None else None
    lines = [
        f"source    {printable(str(facts.source))}",
        f"id        {'(none)' if facts.id is None else printable(str(facts.id))}",
        f"fallback  {printable(record.topic)}-{record.partition}-{record.offset}",
        f"time      {time_text(requested_ms(record, facts))} UTC",
        f"reason    {printable(reason_of(record))}",
        f"detail    {printable(facts.detail or '')}",
        f"agent     {printable(facts.agent)}",
        f"local     {_verdict(facts.local)}",
        f"remote    {_verdict(facts.remote)}",
        f"key       {bytes_text(record.key)}",
    ]
    others = [pair for pair in record.headers if pair[0] not in (FACTS_HEADER, REASON_HEADER, REPLAY_HEADER)]
    lines += [f"header    {printable(name)}: {bytes_text(value)}" for name, value in others]
    replay = header(record.headers, REPLAY_HEADER)
    lines += [f"replay    {bytes_text(replay)}"] if replay is not None else []
    return [*lines, f"value     {omitted or bytes_text(record.value)}"]


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not asked"
    prediction = printable(orjson.dumps(verdict.prediction).decode())
    judged = "" if verdict.threshold is None else f", threshold {verdict.threshold:.6g}"
    score = "none" if verdict.score is None else f"{verdict.score:.6g}"
    calls = f", {counted(verdict.calls, 'call')}" if verdict.calls else ""
    return f"{prediction}, score {score}{judged}, by {printable(verdict.model) or '?'}{calls}"


def print_record(console: Console, record: Any, line: Callable[[Any], Text], *, as_json: bool) -> None:  # noqa: ANN401  # aiokafka has no types
    """Print a record as JSON, or as its `line`."""
    if as_json:
        console.out(orjson.dumps(record_document(record)).decode(), highlight=False)
    else:
        console.print(line(record))


def lines_console() -> Console:
    """The console that records are printed to: colours only on a terminal, and no line is broken."""
    return Console(highlight=False, soft_wrap=True)
