"""How records are told to people: a line each, and no character of a record reaches the terminal as a command."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
from rich.console import Console
from rich.text import Text

from ...schemas.codec import decode_result, facts_of, header
from ...schemas.records import FACTS_HEADER, REASON_HEADER, REPLAY_HEADER, Verdict
from ..console.output import counted

#: characters of a value or detail in one line
_SHORT = 80


def plain(text: str) -> str:
    """The text with everything that is not printable written out as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def told_bytes(value: bytes | None, most: int | None = None) -> str:
    """Bytes for people; None and bytes that are no text are told as such."""
    if value is None:
        return "(none)"
    text = plain(value.decode("utf-8", errors="backslashreplace"))
    return text if most is None or len(text) <= most else f"{text[: most - 1]}…"


def told_time(milliseconds: int) -> str:
    """A record's time, UTC; what no calendar holds stays a number."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)


def reason_of(record: Any) -> str:  # noqa: ANN401  # aiokafka has no types
    """Why a record fell back, or '?'."""
    return (header(record.headers, REASON_HEADER) or b"?").decode(errors="replace")


def fallback_line(record: Any) -> Text:  # noqa: ANN401  # aiokafka has no types
    """A record of `fallback`: source, time of the request, reason, key, detail."""
    facts = facts_of(record)
    line = Text()
    line.append(plain(str(facts.source)), style="bold")
    line.append(f"  {told_time(record.timestamp)}  ", style="dim")
    line.append(plain(reason_of(record)), style="yellow")
    line.append(f"  key {told_bytes(record.key, _SHORT)}  {_short(facts.detail or '')}")
    return line


def result_line(record: Any) -> Text:  # noqa: ANN401  # aiokafka has no types
    """A record of `results`: source, time of the request, who answered, the answer, score and threshold."""
    line = Text()
    try:
        result = decode_result(record.value or b"")
    except msgspec.DecodeError:
        line.append(f"{plain(record.topic)}-{record.partition}-{record.offset}", style="bold")
        line.append("  no result: ", style="red")
        line.append(told_bytes(record.value, _SHORT))
        return line
    line.append(plain(str(result.source)), style="bold")
    line.append(f"  {told_time(record.timestamp)}  ", style="dim")
    line.append(result.answered_by, style="green" if result.answered_by == "local" else "cyan")
    line.append(f"  {_short(orjson.dumps(result.prediction).decode())}")
    line.append(f"  score {result.score:.4g} >= {result.threshold:.4g}  key {told_bytes(record.key, _SHORT)}")
    return line


def _short(text: str) -> str:
    text = plain(text)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def as_document(record: Any) -> dict[str, Any]:  # noqa: ANN401  # aiokafka has no types
    """The same for scripts. Bytes that are no text are escaped; headers keep their order."""
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


def told_fallback(record: Any) -> list[str]:  # noqa: ANN401  # aiokafka has no types
    """Everything about one fallback record, a line each."""
    facts = facts_of(record)
    omitted = f"({facts.value_omitted:,} bytes, left at the source)" if facts.value_omitted is not None else None
    lines = [
        f"source    {plain(str(facts.source))}",
        f"fallback  {plain(record.topic)}-{record.partition}-{record.offset}",
        f"time      {told_time(record.timestamp)} UTC",
        f"reason    {plain(reason_of(record))}",
        f"detail    {plain(facts.detail or '')}",
        f"agent     {plain(facts.agent)}",
        f"local     {_verdict(facts.local)}",
        f"remote    {_verdict(facts.remote)}",
        f"key       {told_bytes(record.key)}",
    ]
    others = [pair for pair in record.headers if pair[0] not in (FACTS_HEADER, REASON_HEADER, REPLAY_HEADER)]
    lines += [f"header    {plain(name)}: {told_bytes(value)}" for name, value in others]
    replay = header(record.headers, REPLAY_HEADER)
    lines += [f"replay    {told_bytes(replay)}"] if replay is not None else []
    return [*lines, f"value     {omitted or told_bytes(record.value)}"]


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not asked"
    prediction = plain(orjson.dumps(verdict.prediction).decode())
    judged = "" if verdict.threshold is None else f", threshold {verdict.threshold:.6g}"
    score = "none" if verdict.score is None else f"{verdict.score:.6g}"
    calls = f", {counted(verdict.calls, 'call')}" if verdict.calls else ""
    return f"{prediction}, score {score}{judged}, by {plain(verdict.model) or '?'}{calls}"


def lines_console() -> Console:
    """Where records are told: colours on a terminal only, no line broken."""
    return Console(highlight=False, soft_wrap=True)
