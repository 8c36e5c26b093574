"""How many tokens may wait at the provider, and be in one batch: learned from what it refuses. No I/O, no clock.

A provider that limits what waits in its queue says so only when a batch is too much. What was refused was too much, and
a little less is tried next. Limits grow, so from time to time a little more is. A batch that is refused though nothing
else waits is larger than the whole queue: so is every batch of its size, and batches are smaller from then on.
"""

from __future__ import annotations

#: share of what was refused that is tried next
_LESS = 0.9
#: share of a limit by which a batch that was taken at the limit raises it
_MORE = 0.02


class TokenQueue:
    """What this worker has in the provider's queue, how much that may be, and how much of it one batch."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit  #: tokens of all batches; 0: not known
        self.most = 0  #: tokens of one batch; 0: not known
        self._proven = 0  # tokens of the largest batch that was answered
        self._waiting: dict[str, int] = {}  # tokens of each batch that the provider has, by its id

    def __repr__(self) -> str:
        return f"<TokenQueue {self.waiting} of {self.limit or 'any'}, {self.most or 'any'} in one>"

    @property
    def waiting(self) -> int:
        """Tokens of the batches that the provider has."""
        return sum(self._waiting.values())

    def fits(self, tokens: int) -> bool:
        """Whether a batch of so many may be sent. One alone may always: that is how a limit below it is known."""
        return not self.limit or not self._waiting or self.waiting + tokens <= self.limit

    def too_large(self, tokens: int) -> bool:
        """Whether a batch of so many is larger than the whole queue, as far as it is known."""
        return 0 < self.most < tokens

    def taken(self, batch: str, tokens: int) -> None:
        """The provider has this batch."""
        self._waiting[batch] = tokens
        if self.limit and self.waiting > self.limit * (1 - _MORE):
            self.limit = _raised(self.limit)

    def answered(self, batch: str) -> None:
        """It has ended, so there was room for it."""
        tokens = self._waiting.pop(batch, 0)
        self._proven = max(self._proven, tokens)
        if self.most and tokens > self.most * (1 - _MORE):
            self.most = _raised(self.most)

    def left(self, batch: str) -> None:
        """It does not exist, or is somebody else's."""
        self._waiting.pop(batch, None)

    def refused(self, batch: str, tokens: int, *, alone: bool = False) -> None:
        """The provider takes no batch of so many beside the others; `alone`: though nothing else waited there."""
        self.left(batch)
        tried = self.waiting + tokens
        self.limit = max(1, min(self.limit or tried, round(tried * _LESS)))
        if not alone:
            return
        if self._proven >= tokens:  # the queue is smaller than it was
            self._proven = 0
        less = max(tokens // 2, min(self._proven, round(tokens * _LESS)))  # nobody knows how much too much it was
        self.most = max(1, min(self.most or less, less))

    def learned_before(self, limit: int, most: int = 0) -> None:
        """What a former owner has learned; the least is believed."""
        if limit:
            self.limit = min(self.limit or limit, limit)
        if most:
            self.most = min(self.most or most, most)


def _raised(limit: int) -> int:
    return limit + max(1, round(limit * _MORE))
