"""What a server says about its limits in response headers. Pure functions; headers have names in lower case.

    x-ratelimit-{limit,remaining,reset}-{requests,tokens}       OpenAI and what follows it; reset as `12ms`, `6m0s`
    anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}   reset as RFC 3339

A gateway that does not know writes -1 or 0: a limit must be at least 1, for with less nobody would ever call again
and learn of another; a reset must be more than 0 for the rest to mean anything; `remaining` may be 0 beside a reset.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

#: seconds
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")


class Quota(NamedTuple):
    """What is told of one limit. None is what is not told, or not known."""

    limit: float | None = None  #: units a minute
    remaining: float | None = None  #: units left until the reset
    reset_s: float | None = None  #: seconds until the limit is whole again


class Quotas(NamedTuple):
    """What one response tells."""

    requests: Quota = Quota()
    tokens: Quota = Quota()


def read_quotas(headers: Mapping[str, str]) -> Quotas:
    """The quotas in these headers. Dates count from the response's own `date`, so that no clock of ours comes in."""
    at = _date(headers.get("date"))
    return Quotas(_read(headers, "requests", at), _tokens(headers, at))


def _tokens(headers: Mapping[str, str], at: datetime | None) -> Quota:
    """The limit of all tokens; where only input and output have one, their sum, which none may pass."""
    whole = _read(headers, "tokens", at)
    if whole.limit is not None:
        return whole
    parts = _read(headers, "input-tokens", at), _read(headers, "output-tokens", at)
    known = [part for part in parts if part.limit is not None]
    if not known:
        return whole
    left = [part.remaining for part in known if part.remaining is not None]
    resets = [part.reset_s for part in known if part.reset_s is not None]
    limit = min(sum(part.limit or 0.0 for part in known), sys.float_info.max)
    return Quota(limit, sum(left) if left else None, max(resets, default=None))


def _read(headers: Mapping[str, str], what: str, at: datetime | None) -> Quota:
    def named(field: str) -> str | None:
        theirs = headers.get(f"x-ratelimit-{field}-{what}")
        return theirs if theirs is not None else headers.get(f"anthropic-ratelimit-{what}-{field}")

    limit, remaining = _number(named("limit")), _number(named("remaining"))
    reset_s = _reset_s(named("reset"), at)
    if reset_s is None or reset_s <= 0 or remaining is None or remaining < 0:
        remaining, reset_s = None, None  # one without the other says nothing
    return Quota(limit if limit is not None and limit >= 1 else None, remaining, reset_s)


def _reset_s(text: str | None, at: datetime | None) -> float | None:
    if text is None:
        return None
    seconds = duration_s(text)
    return seconds if seconds is not None else _until_s(text, at)


def duration_s(text: str) -> float | None:
    """Seconds of `12ms`, `1.5s`, `6m0s`, `1h2m3s` or a plain number; None of anything else."""
    text = text.strip()
    if _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        return seconds if math.isfinite(seconds) else None
    return _number(text)


def _until_s(text: str, at: datetime | None) -> float | None:
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if at is None or date.tzinfo is None:
        return None
    return (date - at).total_seconds()


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, OverflowError):  # OverflowError: a time zone of too many digits
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
