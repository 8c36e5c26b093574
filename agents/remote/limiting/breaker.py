"""The circuit breaker: whether to call at all. No I/O, no clock of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

#: share of the cool-down after which a remote that asks to slow down is asked for the first time
_LIMITED_SHARE = 0.125
#: the next distance between two probes is so many times the last one, where the remote refuses or limits them all
_GROWTH = 2.0


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to stop calling the remote model, and for how long."""

    failures: int = 5  #: calls in a row that failed, were refused or limited, which open the circuit
    cool_down_s: float = 10.0  #: seconds it stays open before one probe is let through
    terminal_cool_down_s: float = 600.0  #: most of them: they grow while every call is refused or limited


class Breaker:
    """Refuses calls that would very likely fail.

    There are four states and one question, `admits`:

    1. closed: everyone may call;
    2. doubted: every call was refused of late, so nobody may call until those under way have ended, and `decide`;
    3. open: nobody may call until the cool-down has passed; `stopped`, where every call is refused;
    4. probing: exactly one call is out, and its outcome decides.

    A refusal may be about the input alone. So `refused` names what was asked about: as many refusals in a row as open
    the circuit, without one answer, and not explained by one record that was part of all of them, are the remote's
    fault. Where an input is known that was answered before, `decide` has it asked first: it answers who is to blame.

    `begin` gives a call its ticket, which its outcome shows. A ticket is good until the circuit next opens: what a
    call from before has to say by then is old, and must not be taken for the probe's word.
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self._ticket = 0
        self._failures = 0  # consecutive, while closed
        self._limited = 0  # likewise
        self._limited_since = 0.0  # when the first of these came
        self._refused = 0  # likewise
        self._common: frozenset[str] = frozenset()  # records that all of these were about
        self._doubted = False
        self._checking = False  # open only so that one call may tell who is to blame
        self._until: float | None = None  # open until then; None while closed
        self._probing = False
        self._stopped = False  # open because every call is refused
        self._distance_s = 0.0  # the last one that grows
        self.well = False  #: it has answered since all calls were last stopped
        self.successes = 0  #: answers
        self.opened = 0  #: times the circuit opened
        self.probes = 0  #: probes let through

    def __repr__(self) -> str:
        return f"<Breaker {self.state} failures={self._failures} opened={self.opened} probes={self.probes}>"

    @property
    def state(self) -> Literal["closed", "open", "stopped", "probing"]:
        """`stopped` is open because every call is refused; what is only doubted counts as probing."""
        if self._probing or self._doubted or self._checking:
            return "probing"
        if self._until is None:
            return "closed"
        return "stopped" if self._stopped else "open"

    @property
    def closed(self) -> bool:
        """The remote is believed to be up."""
        return self._until is None and not self._doubted

    @property
    def stopped(self) -> bool:
        """Every call was refused, and no probe has been answered since."""
        return self._stopped

    @property
    def accused(self) -> bool:
        """Every call was refused, or a refusal is looked into: the next probe is to tell whose fault it is."""
        return self._stopped or self._checking

    @property
    def doubted(self) -> bool:
        """Calls wait for `decide`."""
        return self._doubted

    def admits(self, now: float) -> bool:
        """Whether a call may begin."""
        return self.wait_s(now) == 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until a call may begin; infinite while an outcome comes first: a probe's, or one that is doubted."""
        if self._doubted or self._probing:
            return math.inf
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def begin(self, now: float) -> int:
        """A call that was admitted begins; while open it is the probe. Returns its ticket."""
        if self._until is not None:
            self._probing = True
            self._ticket += 1
            self.probes += 1
        return self._ticket

    def succeeded(self, ticket: int) -> None:
        """The remote answered."""
        self.successes += 1
        if ticket == self._ticket:
            self._close()
            self.well = True

    def failed(self, ticket: int, now: float) -> None:
        """The remote did not answer, or said that it is broken."""
        if ticket != self._ticket:
            return
        self._failures += 1
        if self._probing or self._failures >= self.policy.failures:
            self._open(now + (self._grown(self.policy.cool_down_s) if self._stopped else self.policy.cool_down_s))

    def limited(self, ticket: int, now: float, *, waits: bool = True) -> None:
        """The remote asks to slow down: it is up. `waits`: without one answer it is asked at growing distances; one
        that has answered, as soon as it did not for as long as the first of them.
        """
        if ticket != self._ticket:
            return
        if not waits:
            self._close()
            return
        first_s = self.policy.cool_down_s * _LIMITED_SHARE
        if not self._limited:
            self._limited_since = now
        self._failures = 0
        self._limited += 1
        # one that answers limits many calls in a row where many are under way, but not for long
        lasting = not self.well or now - self._limited_since >= first_s
        if self._probing or (self._limited >= self.policy.failures and lasting):
            self._open(now + self._grown(first_s))

    def refused(self, ticket: int, now: float, records: frozenset[str], *, every: bool) -> None:
        """The remote refused a call about these records. `every`: by its own word it would refuse any call, which is
        believed at once of a remote that has answered nothing.
        """
        if ticket != self._ticket or self._doubted:
            return
        if self._probing and self._stopped:
            self._stop(now)
            return
        self._common = self._common & records if self._refused else records
        self._refused += 1
        several = self._refused >= self.policy.failures and not self._common
        self._probing = self._checking = False
        self._until, self._failures, self._limited = None, 0, 0  # it is up
        self._doubted = several or (every and not self.well)

    def decide(self, now: float, *, known: bool) -> None:
        """Every call that was under way has ended, and none was answered. `known`: there is an input that was answered
        before: one call asks it at once, and tells whether the remote is to blame. Otherwise it is.
        """
        if not known:
            self._stop(now)
            return
        self._doubted = False
        self._check(now)

    def check(self, now: float) -> None:
        """The next call is a probe, though nothing is wrong but a refusal that nobody was answered after."""
        if self.closed:
            self._check(now)

    def _check(self, now: float) -> None:
        self._ticket += 1
        self._until, self._checking = now, True

    def disproved(self, ticket: int, now: float) -> None:
        """A probe with an input that was answered before was refused: as many refusals as open the circuit say that the
        remote refuses every call, and fewer that the next one may tell.
        """
        if ticket != self._ticket:
            return
        self._refused, self._common = self._refused + 1, frozenset()
        if self._stopped or self._refused >= self.policy.failures:
            self._stop(now)
        else:
            self._probing = False
            self._check(now)

    def blames(self, records: frozenset[str]) -> bool:
        """One record alone explains as many refusals as would stop all calls, and these records hold it."""
        return self._refused >= self.policy.failures and bool(self._common & records)

    def abandoned(self, ticket: int) -> None:
        """The call was cancelled and tells nothing. A probe frees its place: the next call may be one."""
        if ticket == self._ticket and self._probing:
            self._probing = False

    def try_now(self, now: float) -> None:
        """What the remote refused us for has changed here: the next call may probe at once."""
        if self._until is not None and self._stopped and not self._probing:
            self._until = now

    def _stop(self, now: float) -> None:
        self._stopped = True
        self._open(now + self._grown(self.policy.cool_down_s))

    def _grown(self, first_s: float) -> float:
        self._distance_s = min(max(first_s, self._distance_s * _GROWTH), self.policy.terminal_cool_down_s)
        return self._distance_s

    def _open(self, until: float) -> None:
        self.opened += 1
        self._ticket += 1  # the outcomes of all calls under way are old now
        self._until, self._probing, self._doubted, self._checking, self.well = until, False, False, False, False
        self._forget()

    def _close(self) -> None:
        self._until, self._distance_s = None, 0.0
        self._probing = self._doubted = self._checking = self._stopped = False
        self._forget()

    def _forget(self) -> None:
        self._failures = self._limited = self._refused = 0
        self._common = frozenset()

    def statistics(self) -> dict[str, Any]:
        """A snapshot, in the words of `__repr__`."""
        return {"state": self.state, "failures": self._failures, "opened": self.opened, "probes": self.probes}
