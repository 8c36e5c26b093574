"""How an input that kills the process is found and put aside.

The owner of a partition writes its phase into every commit. A worker that ends well leaves its partition calm; one
that dies leaves the phase it died in, and the next owner begins from there:

    left      means                                             the next owner begins with
    c         closed well                                       n    normal: many batches in flight
    n         died with many batches in flight                  b    batch by batch
    b         died while none of these was being tried          b
    B         died while one batch was tried, and nothing else  a0   record by record, then in batches that grow
    a<k>      a record was tried alone k times, and it died     a<k>, or the record is given up at the limit

A batch is **armed** before it is tried: the phase that will be blamed is committed first, so the count survives any
death. Only one batch of a whole plane is armed at a time and nothing else is in flight with it, so nobody is blamed
for a neighbour. Phases `b` and `a` last as long as a record the former owner may have held can still come.

An owner that could not close its partition and lives says so, and the next one begins from its word (`acquittal.py`).

Most suspects are innocent: a lost session or a broker's trouble leaves the same phase as a death. So when some records
have passed alone, two are tried together, then four, and so on. A death in such a batch is a death in a batch (`B`):
the next owner begins with single records where that batch began, so a guilty one is reached by halving.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CautionPolicy:
    """How careful to be after an unclean death."""

    tries: int  #: times a record is tried alone before it is given up
    batch: int  #: most records in one batch
    suspects: int  #: most records an owner can hold: as many are tried batch by batch
    alone: int = 32  #: records that pass alone before several are tried together
    enabled: bool = True  #: False where no user's code can kill the process


class Caution:
    """The phase of one partition's owner. State only: the window asks, the partition commits, the plane takes turns."""

    def __init__(self, policy: CautionPolicy, inherited: str = "c", *, acquitted: bool = False) -> None:
        """`acquitted`: what was stored means a death, and the former owner's word says `c` (`acquittal.py`)."""
        self._policy = policy
        self._acquitted = acquitted
        self._phase = "n"
        self._tries = 0
        self._left = 0
        self._alone = policy.alone  # records still to be tried alone
        self._together = 1  # most records that are tried together after that
        self.armed = False  #: the next batch is tried under a phase that is committed
        if policy.enabled:
            self._inherit(inherited)

    def _inherit(self, phase: str) -> None:
        if self._acquitted:
            self._phase, self._left = "b", 1  # one batch: what is stored becomes calm by records only
        elif phase in ("n", "b"):
            self._phase, self._left = "b", self._policy.suspects
        elif phase != "c":
            self._phase, self._left = "a", self._policy.batch
            self._tries = 0 if phase == "B" else int(phase[1:])

    @property
    def careful(self) -> bool:
        """One batch at a time, armed before it is tried and committed before the next."""
        return self._phase != "n"

    @property
    def exhausted(self) -> bool:
        """The record at the watermark was tried alone as often as it may be: it is given up without another try."""
        return self._phase == "a" and not self.armed and self._tries >= self._policy.tries

    @property
    def batch(self) -> int:
        """Most records to hand out at once."""
        return min(self._together, self._left) if self._phase == "a" else self._policy.batch

    @property
    def phase(self) -> str:
        """What to write into a commit that sends nothing."""
        return self._armed_named(self._tries) if self.armed else self._named(self._phase, self._tries)

    @property
    def armed_phase(self) -> str:
        """What to commit before the next batch is tried."""
        return self._armed_named(self._tries + 1)

    @property
    def closing_phase(self) -> str:
        """What to leave when nothing is being tried any more: the process survived, so nothing is to blame."""
        tries = self._tries - 1 if self.armed else self._tries
        return self._named(self._phase, tries) if self.careful else "c"

    @property
    def deserved_phase(self) -> str:
        """What a word says that could not be left, or may not yet."""
        return "c" if self._acquitted and not self.armed else self.closing_phase

    def phase_after(self, records: int) -> str:
        """What to write into a commit of so many outcomes.

        It is read beside the offset it is committed with, so tries of the record before do not count for the next.
        """
        if not self.careful or not records:
            return self.phase
        return self._named(self._next_phase() if records >= self._left else self._phase, 0)

    def arm(self) -> None:
        """`armed_phase` is committed: the next batch may be tried."""
        self.armed = True
        self._tries += 1

    def committed(self, records: int) -> None:
        """So many outcomes are committed: their records were not the ones."""
        if not self.careful or not records:
            return
        self.armed = self._acquitted = False
        self._tries = 0
        self._left -= records
        self._alone -= records
        if self._alone <= 0:
            self._together = min(2 * self._together, self._policy.batch)
        if self._left <= 0:
            self._phase, self._left = self._next_phase(), self._policy.suspects

    def _next_phase(self) -> str:
        return "b" if self._phase == "a" else "n"

    def _armed_named(self, tries: int) -> str:
        return f"a{tries}" if self._phase == "a" and self.batch == 1 else "B"

    @staticmethod
    def _named(phase: str, tries: int) -> str:
        return f"a{tries}" if phase == "a" else phase
