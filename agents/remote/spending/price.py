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
        return self._of(inputs, usage.prompt_tokens, usage.completion_tokens)

    def _told(self, usage: Usage) -> bool:
        read = usage.prompt_tokens > 0 or not self.per_million_prompt_tokens
        return read and (usage.completion_tokens > 0 or not self.per_million_completion_tokens)

    def most(self, inputs: int, body_bytes: int, answer_tokens: int) -> int:
        """Nano-units that a call can cost: a token is a byte at least, and so bound by the body's size."""
        return self._of(inputs, body_bytes, answer_tokens)

    def _of(self, inputs: int, prompt_tokens: int, completion_tokens: int) -> int:
        read = prompt_tokens * self.per_million_prompt_tokens
        written = completion_tokens * self.per_million_completion_tokens
        return _nano(self.per_input * inputs + (read + written) / _MILLION)


def _nano(money: float) -> int:
    """Rounded up, but for what only the representation of a decimal number adds."""
    return math.ceil(round(money * NANO, 3))
