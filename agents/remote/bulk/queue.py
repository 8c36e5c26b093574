"""How many tokens may wait at the provider at once: learned from what it refuses. No I/O, no clock of its own.

A provider that limits what waits in its queue says so only when a batch is too much. What was refused was too much, and
a little less is tried next. Limits grow, so from time to time a little more is.
"""

from __future__ import annotations

#: share of what was refused that is tried next
_LESS = 0.9
#: share of the limit by which a batch that was taken at the limit raises it
_MORE = 0.02


class TokenQueue:
    """What this worker has in the provider's queue, and how much that may be."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit  #: tokens; 0: not known
        self._waiting: dict[str, int] = {}  # tokens of each batch that the provider has, by its id

    def __repr__(self) -> str:
        return f"<TokenQueue {self.waiting} of {self.limit or 'any'}>"

    @property
    def waiting(self) -> int:
        """Tokens of the batches that the provider has."""
        return sum(self._waiting.values())

    def fits(self, tokens: int) -> bool:
        """Whether a batch of so many may be sent. One alone may always: that is how a limit below it is known."""
        return not self.limit or not self._waiting or self.waiting + tokens <= self.limit

    def taken(self, batch: str, tokens: int) -> None:
        """The provider has this batch."""
        self._waiting[batch] = tokens
        if self.limit and self.waiting > self.limit * (1 - _MORE):
            self.limit += max(1, round(self.limit * _MORE))

    def left(self, batch: str) -> None:
        """It has ended, or does not exist."""
        self._waiting.pop(batch, None)

    def refused(self, batch: str, tokens: int) -> None:
        """The provider takes no batch of so many beside the others."""
        self.left(batch)
        tried = self.waiting + tokens
        self.limit = max(1, min(self.limit or tried, round(tried * _LESS)))

    def learned_before(self, limit: int) -> None:
        """What a former owner has learned; the least is believed."""
        if limit:
            self.limit = min(self.limit or limit, limit)
