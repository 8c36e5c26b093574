"""How an input that kills the process is found and put aside.

The owner of a partition writes its phase into every commit. A worker that ends well writes `c`; one that dies
leaves the phase it died in, and the next owner is one step more careful:

    c        closed well                          ─▶ n
    n        normal: many batches in flight       ─▶ b
    b        one batch at a time, each committed  ─▶ a1   so the batch at the watermark killed it
    a<k>     one record at a time, tried k times  ─▶ a<k+1>, or the record is given up when k reaches the limit

The phase is committed *before* a batch is tried, so the count survives any death. Phases `b` and `a` last as long
as a record the former owner may have held can still come; then the partition is normal again.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CautionPolicy:
    """How careful to be after an unclean death."""

    tries: int  #: times a record is tried alone before it is given up
    batch: int  #: most records in one batch
    suspects: int  #: most records an owner can hold: as many are tried batch by batch
    enabled: bool = True  #: False where no user's code can kill the process


class Caution:
    """The phase of one partition's owner. State only; the window asks, the partition commits `phase`."""

    def __init__(self, policy: CautionPolicy, inherited: str = "c") -> None:
        self._policy = policy
        self._phase = "n"
        self._tries = 0
        self._left = 0
        self.give_up = False  #: the record at the watermark has had all its tries
        if policy.enabled:
            self._inherit(inherited)

    def _inherit(self, phase: str) -> None:
        if phase == "n":
            self._phase, self._left = "b", self._policy.suspects
        elif phase == "b":
            self._alone(1)
        elif phase.startswith("a"):
            tries = int(phase[1:])
            self.give_up = tries >= self._policy.tries
            self._alone(1 if self.give_up else tries + 1)

    def _alone(self, tries: int) -> None:
        self._phase, self._tries, self._left = "a", tries, self._policy.batch

    @property
    def phase(self) -> str:
        """What to write into the next commit."""
        return f"a{self._tries}" if self._phase == "a" else self._phase

    def phase_after(self, records: int) -> str:
        """What to write into a commit of so many records.

        It is read beside the offset it is committed with, so tries of the record before do not count for the next.
        """
        if not self.careful or not records:
            return self.phase
        if self._left <= records:
            return self._next_phase()
        return "a1" if self._phase == "a" else self._phase

    @property
    def careful(self) -> bool:
        """One batch at a time, and nothing new before the last one is committed."""
        return self._phase != "n"

    @property
    def batch(self) -> int:
        """Most records to hand out at once."""
        return 1 if self._phase == "a" else self._policy.batch

    def committed(self, records: int) -> None:
        """So many records have got their outcome and are committed: they were not the ones."""
        if not self.careful or not records:
            return
        self._left -= records
        self._tries = 1
        self.give_up = False
        if self._left <= 0:
            self._phase, self._left = self._next_phase(), self._policy.suspects

    def _next_phase(self) -> str:
        return "b" if self._phase == "a" else "n"
