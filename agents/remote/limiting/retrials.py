"""Whether an input that was refused, though others are answered, is asked once more. No I/O, no clock of its own."""

from __future__ import annotations

#: calls that a refused input has where nothing speaks for it: one server of several may have refused it, or a moment
_TRIES = 2


class Retrials:
    """Each input is asked twice before it falls back: a refusal is rarely billed, a lost record costs a person's time.

    An input that was refused and then answered shows that the refusals here tell little. So each gives one more try to
    those that come after it, up to `most` calls in all; each that is refused to the end takes one away. A bad server
    among good ones is soon known, and a bad input on a good remote costs one call more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._more = 0

    def __repr__(self) -> str:
        return f"<Retrials tries={self.tries}>"

    @property
    def tries(self) -> int:
        """Calls that an input has."""
        return min(_TRIES + self._more, self._most)

    def acquitted(self) -> None:
        """An input was answered that had been refused while others were answered."""
        self._more = min(self._more + 1, max(0, self._most - _TRIES))

    def convicted(self) -> None:
        """An input was refused as often as it was asked."""
        self._more = max(0, self._more - 1)


class Trial:
    """What became of one input so far.

    Refusals count since all calls were last stopped: what was refused before is no evidence.
    """

    __slots__ = ("failures", "opened", "refusals")

    def __init__(self) -> None:
        self.failures = 0  #: tries that failed, where that is held against it
        self.refusals = 0
        self.opened = 0  #: times that all calls had been stopped by the last refusal

    def refused(self, opened: int) -> None:
        """Once more; all calls had been stopped so many times by then."""
        self.refusals = self.refusals + 1 if opened == self.opened else 1
        self.opened = opened

    @property
    def tries(self) -> int:
        """All that count."""
        return self.failures + self.refusals
