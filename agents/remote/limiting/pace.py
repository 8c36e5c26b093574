"""How a worker spends its share of one limit: evenly. No I/O, no clock of its own.

A bucket that holds very little, for servers count in different ways:

- a token bucket refuses what comes faster than it refills, once its store is used up;
- a fixed window refuses what exceeds its count, and two of our own bursts may fall into one of its windows.

Evenly paced calls are the only ones both accept, whenever their windows begin. For a limit of `N` units in a window of
`W` seconds and a share `s`, the allowance and the pace are

    A = N · s · (1 − JITTER)        pace = (A − largest call) / W

and a log of the last `W` seconds sees to it that **any** `W` seconds hold at most `A` units, whatever happened before.
Who was held up catches up, `CATCH_UP_S` seconds at most; the jitter is for calls that the network brings closer
together than they were sent. A new worker and whoever gains partitions start empty, so that the sum over the fleet
holds while partitions move, too.

Calls that nobody waits for live on three quarters of what is left over: of what comes while the bucket is full, as much
as one call is kept. They take nothing out of the bucket, so whoever comes right after one of them finds it as full as
without it. The log counts them as all others, and they go where it has place for a call more. So another call waits for
them only if the others alone use nearly all of a whole window.
"""

from __future__ import annotations

import math
from collections import deque

#: share of the allowance left free for calls that arrive closer together than they were sent
JITTER = 0.003
#: seconds whose calls may be caught up at once: the store of a server's token bucket may be small
CATCH_UP_S = 0.1
#: of what is left over, so much may be used: with all of it, any window would be full, and the next call would wait
BESIDE_SHARE = 0.75
#: slices of a window in the log, whose memory they bound
_SLICES = 1000
#: windows in which the largest call seen is forgotten, bit by bit
_FORGET_WINDOWS = 10.0
MINUTE_S = 60.0
#: seconds; what is due within them is due
_HAIR_S = 1e-9


class _Slice:
    """Units that went at about the same time."""

    __slots__ = ("began", "last", "units")

    def __init__(self, now: float) -> None:
        self.began, self.last, self.units = now, now, 0.0


class _Log:
    """Units of the last window."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._slices: deque[_Slice] = deque()
        self.held = 0.0

    def add(self, units: float, now: float) -> None:
        """They went now."""
        if not self._slices or now - self._slices[-1].began > self._window_s / _SLICES:
            self._slices.append(_Slice(now))
        self._slices[-1].last = now
        self._slices[-1].units += units
        self.held += units

    def take_back(self, units: float) -> None:
        """So many of them were not used after all: the oldest, which are forgotten first, to be on the safe side."""
        while units > 0 and self._slices:
            back = min(units, self._slices[0].units)
            self._slices[0].units -= back
            self.held -= back
            units -= back
            if not self._slices[0].units:
                self._slices.popleft()

    def scale(self, kept: float) -> None:
        """Part of the share is gone, and what it used goes with it."""
        for one in self._slices:
            one.units *= kept
        self.held *= kept

    def wait_s(self, units: float, most: float, now: float) -> float:
        """Seconds until so many more are no more than `most`, or alone."""
        self._forget(now)
        held, wait_s = self.held, 0.0
        for one in self._slices:
            if held + units <= most + 1e-9:
                break
            held -= one.units
            wait_s = one.last + self._window_s - now
        return wait_s

    def _forget(self, now: float) -> None:
        while self._slices and self._slices[0].last + self._window_s <= now + _HAIR_S:
            self.held -= self._slices.popleft().units
        if not self._slices:
            self.held = 0.0  # exactly


class Pace:
    """One limit: so many units a minute, evenly. Starts empty, and so does whatever share it gains."""

    def __init__(self, per_minute: float, window_s: float, share: float, now: float) -> None:
        self._window_s = window_s
        self._allowance = 0.0
        self._kept = 0.0  # the last allowance that was more than nothing
        self._level = 0.0
        self._over = 0.0  # what came while the bucket was full
        self._largest = 1.0
        self._log = _Log(window_s)
        self._brake: tuple[float, float] | None = None  # units a second, until
        self._at = now
        self.per_minute = per_minute
        self.resize(per_minute, share, now)

    def __repr__(self) -> str:
        return f"<Pace {self.pace * MINUTE_S:.6g} of {self.per_minute:g} a minute, level {self._level:.3g}>"

    @property
    def burst(self) -> float:
        """Units that may go at once."""
        return max(self._reserve, CATCH_UP_S * self._allowance / self._window_s)

    @property
    def _reserve(self) -> float:
        return max(1.0, min(self._largest, self._allowance))

    @property
    def pace(self) -> float:
        """Units a second. Where hardly more than one call fits into a window, half of the allowance."""
        return self._free_pace if self._brake is None else min(self._free_pace, self._brake[0])

    @property
    def _free_pace(self) -> float:
        return max(self._allowance - self._reserve, self._allowance / 2) / self._window_s

    def resize(self, per_minute: float, share: float, now: float) -> None:
        """Another limit or another share. What is lost goes with what it had; what is gained starts empty."""
        self._refill(now)
        self.per_minute = per_minute
        self._allowance = per_minute * self._window_s / MINUTE_S * share * (1.0 - JITTER)
        if self._allowance:
            if self._allowance < self._kept:
                self._lose(self._allowance / self._kept)
            self._kept = self._allowance

    def _lose(self, kept: float) -> None:
        self._level = min(self._level, self._level * kept)  # a debt stays
        self._over = min(self._over, self._over * kept)
        self._log.scale(kept)

    def brake(self, pace: float, until: float, now: float) -> None:
        """Go no faster than `pace` units a second until then. The next word of the server takes its place."""
        self._refill(now)
        self._brake = (pace, until)

    def wait_s(self, units: float, now: float) -> float:
        """Seconds until so many may go; infinite without a share."""
        self._refill(now)
        if not self._allowance:
            return math.inf
        self._largest = max(units, self._largest)
        missing = min(units, self.burst) - self._level
        paced_s = self._takes_s(missing, now) if missing > 1e-9 else 0.0
        return max(paced_s, self._log.wait_s(units, self._allowance, now))

    def _takes_s(self, missing: float, now: float) -> float:
        """Seconds until so many units have come: slowly while the brake is on, freely afterwards."""
        if self._brake is None:
            return missing / self._free_pace
        braked_s = self._brake[1] - now
        if missing <= braked_s * self.pace:
            return missing / self.pace
        return braked_s + (missing - braked_s * self.pace) / self._free_pace

    def take(self, units: float, now: float) -> None:
        """They go. What is larger than the whole allowance leaves a debt that the next ones wait for."""
        self._refill(now)
        self._level -= units
        self._log.add(units, now)

    def settle(self, reserved: float, used: float, now: float) -> None:
        """What was reserved too much comes back; what was used beyond it is owed."""
        self._refill(now)
        self._largest = max(used, self._largest)
        self._level = min(self.burst, self._level + reserved - used)
        self._log_difference(reserved, used, now)

    def _log_difference(self, reserved: float, used: float, now: float) -> None:
        if used > reserved:
            self._log.add(used - reserved, now)
        else:
            self._log.take_back(reserved - used)

    def beside_wait_s(self, units: float, now: float) -> float:
        """Seconds until so many are left over, at the earliest; infinite without a share.

        Where the window holds no two calls, none goes: the next of the others would wait for a whole window.
        """
        self._refill(now)
        if not self._allowance:
            return math.inf
        self._largest = max(units, self._largest)
        if units + self._reserve > self._allowance:
            return self._window_s  # a large call may be forgotten by then
        over = min(units, self._reserve) - self._over
        missing = over / BESIDE_SHARE + self.burst - self._level if over > 1e-9 else 0.0
        paced_s = self._takes_s(missing, now) if missing > 0.0 else 0.0
        return max(paced_s, self._log.wait_s(units + self._reserve, self._allowance, now))

    def take_beside(self, units: float, now: float) -> None:
        """They go, of what was left over. More than that leaves a debt which only the next of these wait for."""
        self._refill(now)
        self._over -= units
        self._log.add(units, now)

    def settle_beside(self, reserved: float, used: float, now: float) -> None:
        """As `settle`, of what was left over."""
        self._refill(now)
        self._largest = max(used, self._largest)
        self._over = min(self._reserve, self._over + reserved - used)
        self._log_difference(reserved, used, now)

    def _refill(self, now: float) -> None:
        if self._brake is not None and now >= self._brake[1]:
            self._refill_until(self._brake[1])
            self._brake = None
        self._refill_until(now)

    def _refill_until(self, now: float) -> None:
        passed_s = now - self._at
        self._at = max(now, self._at)
        if passed_s > 0 and self._allowance:  # while it owns nothing, it keeps what it had
            level = self._level + passed_s * self.pace
            self._level = min(self.burst, level)
            self._over = min(self._reserve, self._over + (level - self._level) * BESIDE_SHARE)
            self._largest = max(1.0, self._largest * (1.0 - passed_s / (_FORGET_WINDOWS * self._window_s)))
