"""How far records may have been handed out, committed before they are: so it is known who is asked again.

A call costs money, and a crash between answer and commit makes it a second time. So an owner commits how far it will
hand out *before* it does. After an unclean end, the next owner knows: what is unfinished below may have been asked
before, and nothing above was. That is an upper bound, because a record may be handed out and not asked yet. It is
never too low. The metadata holds it where planes that run the user's code keep their phase (`caution.py`):

    a<k>      k offsets from the committed one on may have been handed out
    c         closed well: nothing unfinished was asked
    others    left by a version that did not say: as far as a window reaches

Versions that do not know of it read all of these, and ignore them on the planes in question.

How far ahead? Far enough that nobody waits for a commit: twice what was handed out between the last two commits, or
the least that is allowed where that is more.
"""

from __future__ import annotations

from .marks import SPAN, Progress


class WriteAhead:
    """One partition's. Offsets only: the window asks, the partition commits."""

    def __init__(self, ahead: int, start: Progress) -> None:
        """`ahead`: offsets that a commit allows at least beyond the last record handed out; 0 where nobody needs to
        know.
        """
        self._least = self._ahead = ahead
        self.inherited = _allowed_until(start) if ahead else start.offset  #: below, a former owner may have handed out
        self._handed = self._handed_before = start.offset  # now, and when the last commit went through
        self._limit = start.offset

    @property
    def told(self) -> bool:
        """Commits say it."""
        return self._ahead > 0

    def allows(self, offset: int) -> bool:
        """A commit says already that this may be handed out."""
        return not self._ahead or offset < self._limit

    def handed_out(self, offset: int) -> None:
        """It is."""
        self._handed = max(self._handed, offset + 1)

    def wants(self, position: int, following: int | None) -> bool:
        """A commit is needed, or soon will be. `position`: end of what is fetched; `following`: next to hand out."""
        if not self._ahead or following is None or self._target(position, following) <= self._limit:
            return False
        return following >= self._limit or (self._limit - self._handed) * 2 <= self._ahead

    def phase(self, offset: int, position: int, following: int | None) -> str:
        """What a commit at `offset` says."""
        return _named(self._target(position, following) - offset)

    def closing_phase(self, offset: int, position: int, asked: int) -> str:
        """What the last commit says: records are unfinished that may have been asked, the last one before `asked`."""
        until = max(asked, self.inherited) if position < self.inherited else asked
        return _named(until - offset) if until > offset else "c"

    def committed(self, progress: Progress) -> None:
        """It is known beyond this process now."""
        if self.told:
            self._limit = max(self._limit, _allowed_until(progress))
            self._ahead = max(self._least, 2 * (self._handed - self._handed_before))
            self._handed_before = self._handed

    def _target(self, position: int, following: int | None) -> int:
        first = max(self._handed, following or 0)  # offsets have holes: what follows may be far ahead
        # never less than what was allowed before, for that may be handed out by now
        return max(self.inherited, self._limit, min(position, first + self._ahead))


def _named(offsets: int) -> str:
    return f"a{max(0, offsets)}"


def _allowed_until(progress: Progress) -> int:
    if progress.phase == "c":
        return progress.offset
    return progress.offset + (int(progress.phase[1:]) if progress.phase.startswith("a") else SPAN)
