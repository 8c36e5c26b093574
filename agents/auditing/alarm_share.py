"""More requests are audited for a while after an alarm, so that evidence comes sooner: for how long, and how many.

The share is part of a version of the thresholds, so all requests that one version judged were drawn with the same
probability. Its rates are plain proportions, and its interval and its alarm are what they would be without this. The
ladder's evidence is of all versions: whichever share drew a request, it was drawn without a look at its answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlarmShare:
    """A raise begins with the version that an alarm chose. Raises `ValueError` for limits that cannot be."""

    within_ms: int  #: it lasts so long at most; in that time no other one begins
    labels: int  #: so many labels are wanted for it in that time, at most

    def __post_init__(self) -> None:
        if self.within_ms < 1 or self.labels < 1:
            raise ValueError("a raised share lasts a millisecond and a label at least")

    def begun_ms(self, raising_ms: Iterable[int]) -> int:
        """When the last raise began; 0 for never. `raising_ms`: of each version that raises, when it was chosen."""
        begun_ms = 0
        for at_ms in raising_ms:
            if not begun_ms or at_ms >= begun_ms + self.within_ms:
                begun_ms = at_ms
        return begun_ms

    def is_over(self, begun_ms: int, spent: int, at_ms: float) -> bool:
        """Its time has passed, or its labels are spent. `spent`: labels that were wanted for it since it began."""
        return at_ms >= begun_ms + self.within_ms or spent >= self.labels

    def may_rise(self, begun_ms: int, spent: int, at_ms: int) -> bool:
        """An alarm raises the share now: no raise has begun within its time, or its labels are not spent."""
        return not begun_ms or at_ms >= begun_ms + self.within_ms or spent < self.labels
