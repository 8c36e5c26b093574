"""Refused inputs of which nobody knows yet whether they are to blame, or the remote. No I/O, no clock of its own.

    refused ─┬─ others are answered before and afterwards ────▶ "own": it is the input's own, and falls back
             ├─ others are answered afterwards, not before ───▶ "again": the remote may have been mended meanwhile
             └─ nobody is answered ─▶ the remote is asked ────▶ "again", then "probe", one at a time

What was answered in vain is refused as well, but is never asked again while others are answered: it is paid for.

*Afterwards* is strict: an answer counts if its call began after the refusal was heard. So of the calls that were under
way together when the money ran out, none is blamed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

#: what becomes of a refused input: it falls back, is asked again, sees to it that the remote is probed, or falls back
#: because nobody waits for the verdict
Verdict = Literal["own", "again", "probe", "unknown"]
#: seconds after a refusal until an idle remote is asked what was answered before, to see who is to blame
CHECK_S = 1.0


@dataclass(eq=False, slots=True)
class Suspect:
    """One refused call, whose input waits for a verdict."""

    since: int  #: the number of the last call that had begun when the refusal was heard
    refused_at: float
    times: int  #: that it was refused
    well: bool  #: others had been answered before
    itself: bool  #: an idle remote is asked it once more before anything else
    paid: bool  #: there is an answer, of no use and paid for: it stays so where nothing speaks against the remote
    tell: Callable[[Verdict | BaseException], None]  #: called once; an error ends the wait without a verdict


class Suspects:
    """All that wait, those first whose refusal is the oldest."""

    def __init__(self, first_s: float, most_s: float) -> None:
        """`first_s`, `most_s`: seconds until one is asked again where no other input is known: they grow twofold."""
        self._first_s = first_s
        self._most_s = most_s
        self._waiting: list[Suspect] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __repr__(self) -> str:
        return f"<Suspects {len(self)}>"

    def add(self, suspect: Suspect) -> None:
        """It waits."""
        self._waiting.append(suspect)

    def remove(self, suspect: Suspect) -> None:
        """It waits no more: it has its verdict, no time, or no owner."""
        if suspect in self._waiting:
            self._waiting.remove(suspect)

    def clear(self) -> list[Suspect]:
        """None waits any more. Returns those that did."""
        gone, self._waiting = self._waiting, []
        return gone

    def answered(self, order: int) -> None:
        """The call of this number was answered: whoever was refused before it began has a verdict."""
        if not self._waiting:
            return
        told = [suspect for suspect in self._waiting if suspect.since < order]
        self._waiting = [suspect for suspect in self._waiting if suspect.since >= order]
        for suspect in told:
            suspect.tell("own" if suspect.well or suspect.paid else "again")

    def acquit(self) -> None:
        """Every call is refused: that was no evidence against any of them."""
        for suspect in self._waiting:
            suspect.well = suspect.paid = False

    def due_at(self, *, known: bool) -> float:
        """When the next one may ask, where nobody else does. `known`: an input is, that was answered before."""
        return self._due_at(self.first(known=known), known=known)

    def first(self, *, known: bool) -> Suspect:
        """The one that is due first."""
        return min(self._waiting, key=lambda waiting: self._due_at(waiting, known=known))

    def _due_at(self, suspect: Suspect, *, known: bool) -> float:
        if known or suspect.paid:
            return suspect.refused_at + CHECK_S
        return suspect.refused_at + min(self._first_s * 2.0 ** min(suspect.times - 1, 60), self._most_s)
