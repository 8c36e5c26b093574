"""The circuit breaker: whether to call at all. No I/O, no clock of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to stop calling the remote model, and for how long."""

    failures: int = 5  #: consecutive failed calls that open the circuit
    cool_down_s: float = 10.0  #: seconds it stays open before one probe is let through
    terminal_cool_down_s: float = 600.0  #: the same after an error that only a person can mend


class Breaker:
    """Refuses calls that would very likely fail.

    There are three states and one question, `admits`:

    1. closed: everyone may call;
    2. open: nobody may call until the cool-down has passed;
    3. probing: exactly one call is out, and its outcome decides.

    `begin` gives a call its ticket, which its outcome shows. A ticket is good until the circuit next opens: what a
    call from before has to say by then is old, and must not be taken for the probe's word.
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._ticket = 0
        self._failures = 0  # consecutive, while closed
        self._until: float | None = None  # open until then; None while closed
        self._probing = False
        self._stopped = False  # open because of a terminal error
        self._answered = False  # since all calls were last refused
        self._strange = 0  # refusals in a row that stop all calls unless others are answered
        self.opened = 0  #: times the circuit opened
        self.probes = 0  #: probes let through

    def __repr__(self) -> str:
        return f"<Breaker {self.state} failures={self._failures} opened={self.opened} probes={self.probes}>"

    @property
    def state(self) -> Literal["closed", "open", "stopped", "probing"]:
        """`stopped` is open after a terminal error."""
        if self._until is None:
            return "closed"
        if self._probing:
            return "probing"
        return "stopped" if self._stopped else "open"

    @property
    def closed(self) -> bool:
        """The remote is believed to be up."""
        return self._until is None

    def admits(self, now: float) -> bool:
        """Whether a call may begin."""
        return self.wait_s(now) == 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until a call may begin; infinite while a probe is out, whose outcome comes first."""
        if self._until is None:
            return 0.0
        return math.inf if self._probing else max(0.0, self._until - now)

    def begin(self, now: float) -> int:
        """A call that was admitted begins; while open it is the probe. Returns its ticket."""
        if self._until is not None:
            self._probing = True
            self._ticket += 1
            self.probes += 1
        return self._ticket

    def succeeded(self, ticket: int) -> None:
        """The remote answered, be it with a refusal."""
        if ticket == self._ticket:
            self._close()
            self._answered, self._strange = True, 0

    def failed(self, ticket: int, now: float) -> None:
        """The remote did not answer, or said that it is broken."""
        if ticket != self._ticket:
            return
        self._failures += 1
        if self._probing or self._failures >= self._policy.failures:
            self._open(now + (self._policy.terminal_cool_down_s if self._stopped else self._policy.cool_down_s))

    def stop(self, now: float) -> None:
        """The remote refuses us for good (no key, no money): whichever call has learned it, all calls stop."""
        self._stopped, self._answered, self._strange = True, False, 0
        self._open(now + self._policy.terminal_cool_down_s)

    def strange(self, ticket: int, now: float) -> None:
        """The remote refuses a call as if it refused them all. So it does, unless it has answered others: then the
        call's input is at fault, until there are as many in a row as failures would open the circuit.
        """
        self._strange += 1
        if not self._answered or self._strange >= self._policy.failures:
            self.stop(now)
        elif ticket == self._ticket:
            self._close()

    def abandoned(self, ticket: int) -> None:
        """The call was cancelled and tells nothing. A probe frees its place: the next call may be one."""
        if ticket == self._ticket and self._probing:
            self._probing = False

    def try_now(self, now: float) -> None:
        """What the remote refused us for has changed here: the next call may probe at once."""
        if self._until is not None and self._stopped and not self._probing:
            self._until = now

    def _open(self, until: float) -> None:
        self.opened += 1
        self._ticket += 1  # the outcomes of all calls under way are old now
        self._until, self._probing, self._failures = until, False, 0

    def _close(self) -> None:
        self._until, self._probing, self._stopped, self._failures = None, False, False, 0

    def statistics(self) -> dict[str, Any]:
        """A snapshot, in the words of `__repr__`."""
        return {"state": self.state, "failures": self._failures, "opened": self.opened, "probes": self.probes}
