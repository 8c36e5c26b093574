"""What the log hears of the remote: each change once, and no flood of lines. No clock of its own."""

from __future__ import annotations

import logging

from ..limiting.breaker import BreakerPolicy
from ..protocol import brief

log = logging.getLogger(__name__)

#: seconds that pass at least between two lines about refused inputs that wait
_HELD_EVERY_S = 60.0
#: so many cool-downs without an answer are no outage that passes: a person is told
_LASTING_COOL_DOWNS = 2.0


class News:
    """Tells when calls stop, why, and when they go on. Knows the remote's last words, shortened."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._lasting_s = _LASTING_COOL_DOWNS * policy.cool_down_s
        self._words = ""
        self.down = ""  #: why calls are stopped, as it was told; '' while they are not
        self._down_since = 0.0
        self._critical = False  # told since calls last went on
        self._held_at: float | None = None  # when it was told last that refused inputs wait

    @property
    def said(self) -> str:
        """What the remote said last of a call that it did not answer, shortened; '' where all is well."""
        return brief(self._words)

    def heard(self, error: BaseException | None) -> None:
        """A call has ended so."""
        self._words = "" if error is None else str(error)

    def stopped(self, why: str, asked: str) -> None:
        """Every call is in vain, as `why` begins to say; a person has to act."""
        self.down = f"{why}: {self._words}"
        self._critical = True
        text = "%s, and calls stop until a probe is answered: %s (asked: %s)"
        log.critical(text, why, self._words, asked, extra={"action": "remote_stopped", "asked": asked})

    def opened(self, asked: str, now: float) -> None:
        """It does not answer, which may pass: a warning, and a critical line where it lasts."""
        if not self.down:
            self._down_since = now
        lasts_s = now - self._down_since
        if lasts_s >= self._lasting_s and not self._critical:
            self.stopped(f"the remote has answered no call for {lasts_s:.3g} s", asked)
            return
        self.down = f"the remote is down: {self._words}"
        log.warning("the remote is down, calls stop: %s", self._words, extra={"action": "breaker_opened"})

    def closed(self) -> None:
        """Calls go on."""
        if self.down:
            self.down, self._critical = "", False
            log.info("the remote is back", extra={"action": "breaker_closed"})

    def held(self, count: int, next_s: float, now: float) -> None:
        """So many refused inputs wait, and the next call about them comes in so many seconds."""
        if self.down or (self._held_at is not None and now - self._held_at < _HELD_EVERY_S):
            return
        self._held_at = now
        facts = {"action": "refused_held", "held": count, "next_s": round(next_s, 1)}
        text = (
            "refused inputs wait until it is known whether they or the remote are to blame: %d now, and the next call "
            "comes in %.3g s; the remote said: %s"
        )
        log.warning(text, count, next_s, self.said, extra=facts)
