"""What of a remote's token counts is believed. Pure functions.

A count decides how long later calls wait and how much of the budget is gone, so it is bounded by what the call can
have used: as many tokens read as its body has bytes, and as many written as the answers may have. The bound stands in
for a count beyond it, and for one that is no count at all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .protocol import Usage


class Bounds(NamedTuple):
    """The most tokens that a call can have used."""

    prompt_tokens: int
    completion_tokens: int


class Believed(NamedTuple):
    """A usage that can be reckoned with, and what in the remote's own was not believed."""

    usage: Usage | None  #: None where the remote tells nothing
    doubts: tuple[str, ...] = ()  #: such as `prompt_tokens: 1000000000000`


def believed(told: Usage | None, bounds: Bounds) -> Believed:
    """The usage within its bounds. The parts, cached and reasoning tokens, are part of what they are counted in."""
    if told is None:
        return Believed(None)
    if _plausible(told, bounds):  # as nearly all are
        return Believed(told)
    counts = [_count(value, most) for value, most in zip(told[:2], bounds, strict=True)]
    doubts = tuple(
        f"{name}: {str(value)[:40]}"
        for name, value, count in zip(Usage._fields, told, counts, strict=False)
        if count is None
    )
    prompt, completion = (most if count is None else count for count, most in zip(counts, bounds, strict=True))
    cached, reasoning = _count(told.cached_tokens, prompt), _count(told.reasoning_tokens, completion)
    kept = _count(told.cache_write_tokens, prompt - (cached or 0))
    return Believed(Usage(prompt, completion, cached or 0, reasoning or 0, kept or 0), doubts)


def _plausible(told: Usage, bounds: Bounds) -> bool:
    """Whether all of it can be believed as it is told."""
    if not all(type(count) is int and count >= 0 for count in told):
        return False
    return (
        told.prompt_tokens <= bounds.prompt_tokens
        and told.completion_tokens <= bounds.completion_tokens
        and told.cached_tokens + told.cache_write_tokens <= told.prompt_tokens
        and told.reasoning_tokens <= told.completion_tokens
    )


def _count(value: Any, most: int) -> int | None:  # noqa: ANN401  # whatever a remote, or a user's protocol, says
    """The value as a count; nothing told is 0, and what cannot be is None."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= most and value == int(value) else None
