"""The remote's limits: requests and tokens a minute, calls in flight. No I/O, no clock of its own.

Limits are of the whole fleet. A worker uses the share *partitions owned / partitions in all* of each, so that a fleet
keeps one limit without talking to each other. Within its share a worker is **evenly paced**: a bucket that holds very
little. That shape, because servers count in different ways:

- a token bucket refuses what comes faster than it refills, once its store is used up;
- a fixed window refuses what exceeds its count, and two of our own bursts may fall into one of its windows.

Evenly paced calls are the only ones both accept, whenever their windows begin. For a limit of `N` units in a window of
`W` seconds and a share `s`, the allowance and the pace are

    A = N · s · (1 − JITTER)        burst = max(1, BURST · A, largest call)        pace = (A − burst) / W

so that **any** `W` seconds hold at most `pace · W + burst = A` units. The burst lets a worker that was held up catch
up, by `CATCH_UP_S` seconds at most; the jitter is for calls that the network brings closer together than they were
sent. A new worker and whoever gains partitions start empty, so the sum over the fleet holds while partitions move, too.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .rate_headers import Quota, read_quotas

log = logging.getLogger(__name__)

#: share of the allowance left free for calls that arrive closer together than they were sent
JITTER = 0.001
#: share of the allowance that may be caught up at once
BURST = 0.004
#: seconds whose calls may be caught up at once, at most: the store of a server's token bucket may be small
CATCH_UP_S = 0.1
#: windows in which the largest call seen is forgotten, bit by bit: slowly, for the promise holds over each window
_FORGET_WINDOWS = 100.0
#: a reset within this share of a minute from where a token bucket's would be is taken for one
_BUCKET_SHARE = 0.1
#: longest hold that one response may ask for, seconds
MOST_HOLD_S = 3600.0
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class LimitsPolicy:
    """What the whole fleet may ask for. Headers may say less, never more."""

    requests_per_minute: float = 0.0  #: 0: only what the server's headers say
    tokens_per_minute: float = 0.0  #: 0: only what the server's headers say
    in_flight: int = 32  #: calls under way at once
    window_s: float = MINUTE_S  #: seconds over which the server counts


class Pace:
    """One limit: so many units a minute, evenly. Starts empty, and so does whatever share it gains."""

    def __init__(self, per_minute: float, window_s: float, share: float, now: float) -> None:
        self._window_s = window_s
        self._allowance = 0.0
        self._kept = 0.0  # the last allowance that was more than nothing
        self._level = 0.0
        self._largest = 1.0
        self._brake: tuple[float, float] | None = None  # units a second, until
        self._at = now
        self.per_minute = per_minute
        self.resize(per_minute, share, now)

    def __repr__(self) -> str:
        return f"<Pace {self.pace * MINUTE_S:.6g} of {self.per_minute:g} a minute, level {self._level:.3g}>"

    @property
    def burst(self) -> float:
        """Units that may go at once."""
        share = min(BURST, CATCH_UP_S / self._window_s)
        return max(1.0, share * self._allowance, min(self._largest, self._allowance))

    @property
    def pace(self) -> float:
        """Units a second. Where hardly more than one call fits into a window, half of the allowance."""
        return self._free_pace if self._brake is None else min(self._free_pace, self._brake[0])

    @property
    def _free_pace(self) -> float:
        return max(self._allowance - self.burst, self._allowance / 2) / self._window_s

    def resize(self, per_minute: float, share: float, now: float) -> None:
        """Another limit or another share. What is lost goes with what it had; what is gained starts empty."""
        self._refill(now)
        self.per_minute = per_minute
        self._allowance = per_minute * self._window_s / MINUTE_S * share * (1.0 - JITTER)
        if self._allowance:
            if self._allowance < self._kept and self._level > 0:
                self._level *= self._allowance / self._kept
            self._kept = self._allowance

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
        return self._takes_s(missing, now) if missing > 1e-9 else 0.0

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

    def settle(self, reserved: float, used: float, now: float) -> None:
        """What was reserved too much comes back; what was used beyond it is owed."""
        self._refill(now)
        self._largest = max(used, self._largest)
        self._level = min(self.burst, self._level + reserved - used)

    def _refill(self, now: float) -> None:
        if self._brake is not None and now >= self._brake[1]:
            self._refill_until(self._brake[1])
            self._brake = None
        self._refill_until(now)

    def _refill_until(self, now: float) -> None:
        passed_s = now - self._at
        self._at = max(now, self._at)
        if passed_s > 0 and self._allowance:  # while it owns nothing, it keeps what it had
            self._level = min(self.burst, self._level + passed_s * self.pace)
            self._largest = max(1.0, self._largest * (1.0 - passed_s / (_FORGET_WINDOWS * self._window_s)))


class Estimate:
    """Tokens of a call before it is made, by the bytes of its body.

    Rises at once to what was seen, falls slowly: an estimate too low breaks the limit, one too high only waits.
    """

    def __init__(self, tokens_per_byte: float = 0.25) -> None:
        self._ratio = tokens_per_byte

    def of(self, body_bytes: int) -> int:
        """Tokens, at least one."""
        return max(1, math.ceil(body_bytes * self._ratio))

    def learn(self, body_bytes: int, tokens: int) -> None:
        """A call of so many bytes has used so many tokens, prompt and answer together."""
        if body_bytes and tokens > 0:
            seen = tokens / body_bytes
            self._ratio = max(seen, self._ratio + (seen - self._ratio) * 0.01)


class Limits:
    """All limits of one worker: its share of the fleet's."""

    def __init__(self, policy: LimitsPolicy, now: float) -> None:
        self._policy = policy
        self._share = 1.0
        self._held_until = -math.inf
        self.estimate = Estimate()
        self.requests = self._pace(policy.requests_per_minute, now)
        self.tokens = self._pace(policy.tokens_per_minute, now)

    def __repr__(self) -> str:
        return f"<Limits share={self._share:.3g} requests={self.requests!r} tokens={self.tokens!r}>"

    def _pace(self, per_minute: float, now: float) -> Pace | None:
        return Pace(per_minute, self._policy.window_s, self._share, now) if per_minute > 0 else None

    @property
    def in_flight(self) -> int:
        """Calls that may be under way here at once: the share, at least one where there is a share at all."""
        return max(1, int(self._policy.in_flight * self._share + 1e-9)) if self._share else 0

    def share(self, owned: int, partitions: int, now: float) -> None:
        """This worker owns so many partitions of so many."""
        self._share = min(1.0, owned / partitions) if partitions else 0.0
        for pace in (self.requests, self.tokens):
            if pace is not None:
                pace.resize(pace.per_minute, self._share, now)

    def wait_s(self, tokens: float, now: float) -> float:
        """Seconds until a call of so many tokens may begin."""
        wait_s = max(0.0, self._held_until - now)
        if self.requests is not None:
            wait_s = max(wait_s, self.requests.wait_s(1, now))
        if self.tokens is not None:
            wait_s = max(wait_s, self.tokens.wait_s(tokens, now))
        return wait_s

    def take(self, tokens: float, now: float) -> None:
        """A call begins, and reserves its tokens."""
        if self.requests is not None:
            self.requests.take(1, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def settle(self, reserved: float, used: float, now: float) -> None:
        """The call has used so many tokens. One that tells nothing keeps what it reserved."""
        if self.tokens is not None:
            self.tokens.settle(reserved, used, now)

    def hold(self, seconds: float, now: float) -> None:
        """The server wishes to be left alone: no call of ours begins before."""
        self._held_until = max(self._held_until, now + min(seconds, MOST_HOLD_S))

    def learn(self, headers: Mapping[str, str], now: float) -> None:
        """What a response says of the fleet's limits; the share is taken of it."""
        if not any("ratelimit-" in name for name in headers):
            return
        quotas = read_quotas(headers)
        self.requests = self._learnt(self.requests, quotas.requests, self._policy.requests_per_minute, now)
        self.tokens = self._learnt(self.tokens, quotas.tokens, self._policy.tokens_per_minute, now)

    def _learnt(self, pace: Pace | None, told: Quota, most: float, now: float) -> Pace | None:
        if told.limit is not None:
            limit = min(told.limit, most) if most else told.limit
            if pace is None:
                pace = self._pace(limit, now)
            elif limit != pace.per_minute:
                _log_limit(pace.per_minute, limit)
                pace.resize(limit, self._share, now)
        if pace is not None:
            self._brake(pace, told, now)
        return pace

    def _brake(self, pace: Pace, told: Quota, now: float) -> None:
        """Use evenly what is left until the reset: where others use the limit, too, that is less than our pace."""
        if told.remaining is None or told.reset_s is None or _of_bucket(told, pace.per_minute):
            return
        left = told.remaining / told.reset_s
        pace.brake(left * self._share, now + min(told.reset_s, MOST_HOLD_S), now)

    def statistics(self) -> dict[str, Any]:
        """A snapshot: limits of the fleet and paces of this worker, a minute."""
        told: dict[str, Any] = {"share": self._share, "in_flight": self.in_flight}
        for name, pace in (("requests", self.requests), ("tokens", self.tokens)):
            if pace is not None:
                told[f"{name}_per_minute"] = pace.per_minute
                told[f"{name}_pace"] = pace.pace * MINUTE_S
        return told


def _of_bucket(told: Quota, per_minute: float) -> bool:
    """A token bucket's reset is when it is full again, and it refills on the way: little left is no reason to wait."""
    if told.remaining is None or told.reset_s is None:
        return False
    full_in_s = (1.0 - told.remaining / (told.limit or per_minute)) * MINUTE_S
    return abs(full_in_s - told.reset_s) < _BUCKET_SHARE * MINUTE_S


def _log_limit(before: float, after: float) -> None:
    facts = {"action": "remote_limit_changed", "before": before, "after": after}
    log.info("the remote allows %g a minute now, not %g", after, before, extra=facts)
