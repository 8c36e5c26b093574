"""How many inputs the model gets at once: as many as it answers within a time.

A batch of 256 takes a small model a millisecond, and one of the size of MiniLM ten seconds on a CPU: so long nobody's
answer leaves, and a worker that is to give up its partitions cannot. Nobody should have to find out.
"""

from __future__ import annotations

from dataclasses import dataclass

#: inputs of the first batch, when nothing is known
_FIRST = 16
#: weight of the newest batch in what an input is thought to take
_NEWEST = 0.5


@dataclass(frozen=True, slots=True)
class AppetitePolicy:
    """The bounds of a batch."""

    most: int  #: inputs
    budget_s: float  #: seconds that a batch should take


class Appetite:
    """Learns from each batch what an input takes. A batch is at most twice as large as the largest one before it."""

    def __init__(self, policy: AppetitePolicy) -> None:
        self._policy = policy
        self._input_s: float | None = None
        self._tried = _FIRST // 2

    def __repr__(self) -> str:
        known = "nothing known yet" if self._input_s is None else f"{self._input_s * 1000:.3g} ms an input"
        return f"<Appetite {self.inputs} inputs, {known}>"

    @property
    def inputs(self) -> int:
        """Inputs of the next batch, at most; never fewer than one."""
        within = min(self._policy.most, 2 * self._tried)
        if self._input_s:
            within = min(within, int(self._policy.budget_s / self._input_s))
        return max(1, within)

    def took(self, inputs: int, seconds: float) -> None:
        """So many inputs were answered at once, in so many seconds."""
        newest = seconds / inputs
        before = newest if self._input_s is None else self._input_s
        self._input_s = _NEWEST * newest + (1 - _NEWEST) * before
        self._tried = max(self._tried, inputs)
