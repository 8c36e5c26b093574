"""What a call costs: what it has cost, and what it can cost at most. Pure functions over whole numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ....schemas.budget import NANO
from ..protocol import Usage

_MILLION = 1_000_000


@runtime_checkable
class Bounded(Protocol):
    """A protocol that knows how long an answer can be."""

    def most_answer_tokens(self, asked: int) -> int:
        """Tokens that the answers to so many inputs in one call can have, at most."""
        ...


@dataclass(frozen=True, slots=True)
class Price:
    """In the currency of the settings."""

    per_input: float = 0.0  #: of one input in one call
    per_million_prompt_tokens: float = 0.0
    per_million_completion_tokens: float = 0.0
    per_million_cached_tokens: float | None = None  #: of those read; None: as any other
    per_million_cache_write_tokens: float | None = None  #: likewise

    @property
    def by_token(self) -> bool:
        """True where usage makes a difference."""
        return bool(self.per_million_prompt_tokens or self.per_million_completion_tokens)

    def of(self, inputs: int, usage: Usage | None, most: int) -> int:
        """Nano-units of an answered call. Where the remote does not tell its usage, the most it can have been.

        No call has no tokens, so a count of none is one that was not told.
        """
        if not self.by_token:
            return _nano(self.per_input * inputs)
        if usage is None or not self._told(usage):
            return most
        return self._of(inputs, self._read(usage), usage.completion_tokens)

    def _told(self, usage: Usage) -> bool:
        read = usage.prompt_tokens > 0 or not self.per_million_prompt_tokens
        return read and (usage.completion_tokens > 0 or not self.per_million_completion_tokens)

    def most(self, inputs: int, body_bytes: int, answer_tokens: int) -> int:
        """Nano-units that a call can cost: a token is a byte at least, and so bound by the body's size."""
        return self._of(inputs, body_bytes * max(self._of_each()), answer_tokens)

    def _of_each(self) -> tuple[float, float, float]:
        """The prices of tokens that are read: the usual one, of cached ones, of those that are kept for later."""
        usual, cached, kept = (
            self.per_million_prompt_tokens,
            self.per_million_cached_tokens,
            self.per_million_cache_write_tokens,
        )
        return usual, usual if cached is None else cached, usual if kept is None else kept

    def _read(self, usage: Usage) -> float:
        """What the tokens that were read cost, times a million."""
        usual, cached, kept = self._of_each()
        others = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
        return others * usual + usage.cached_tokens * cached + usage.cache_write_tokens * kept

    def _of(self, inputs: int, read: float, completion_tokens: int) -> int:
        written = completion_tokens * self.per_million_completion_tokens
        return _nano(self.per_input * inputs + (read + written) / _MILLION)


def _nano(money: float) -> int:
    """Rounded up, but for what only the representation of a decimal number adds."""
    return math.ceil(round(money * NANO, 3)) if money else 0
