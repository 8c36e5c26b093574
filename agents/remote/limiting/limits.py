"""The remote's limits: requests and tokens a minute, calls in flight. No I/O, no clock of its own.

Limits are of the whole fleet. A worker uses the share *partitions owned / partitions in all* of each, so that a fleet
keeps one limit without talking to each other. They start from the settings and learn from response headers: these
speak of the fleet's total, of which the share is taken. How a worker spends its share is in `pace.py`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .pace import MINUTE_S, Pace
from .rate_headers import Quota, read_quotas

log = logging.getLogger(__name__)

#: a reset within this share of a minute from where a token bucket's would be is taken for one
_BUCKET_SHARE = 0.1
#: longest hold that one response may ask for, seconds
MOST_HOLD_S = 3600.0
#: seconds for which a server that was seen to count strictly is taken for such a one
_STRICT_S = 3600.0


@dataclass(frozen=True, slots=True)
class LimitsPolicy:
    """What the whole fleet may ask for. Headers may say less, never more."""

    requests_per_minute: float = 0.0  #: 0: only what the server's headers say
    tokens_per_minute: float = 0.0  #: 0: only what the server's headers say
    in_flight: int = 32  #: calls under way at once
    window_s: float = MINUTE_S  #: seconds over which the server counts


class Estimate:
    """Tokens of a call before it is made: what the protocol guesses, put right by what calls have used.

    Rises at once to what was seen, falls slowly: an estimate too low breaks the limit, one too high only waits.
    """

    def __init__(self) -> None:
        self._ratio = 1.0

    def of(self, guess: int) -> int:
        """Tokens, at least one."""
        return max(1, math.ceil(guess * self._ratio))

    def learn(self, guess: int, tokens: int) -> None:
        """A call with this guess has used so many tokens, prompt and answer together."""
        if guess > 0 and tokens > 0:
            seen = tokens / guess
            self._ratio = max(seen, self._ratio + (seen - self._ratio) * 0.01)


class Limits:
    """All limits of one worker: its share of the fleet's."""

    def __init__(self, policy: LimitsPolicy, now: float) -> None:
        self._policy = policy
        self._share = 1.0
        self.in_flight = self._most_in_flight()  #: calls that may be under way here at once
        self._held_until = -math.inf
        self._strict_until = -math.inf  # a call right after another one is refused
        self._took_at = self._beside_at = -math.inf  # when a call went last; one that nobody waits for
        self._close_at = -math.inf  # when one of each kind went closer together than at the pace
        self._told: dict[str, float] = {}  # what headers last said of the fleet's limits, by name
        self.estimate = Estimate()
        self.requests = self._pace(policy.requests_per_minute, now)
        self.tokens = self._pace(policy.tokens_per_minute, now)

    def __repr__(self) -> str:
        return f"<Limits share={self._share:.3g} requests={self.requests!r} tokens={self.tokens!r}>"

    def _pace(self, per_minute: float, now: float) -> Pace | None:
        return Pace(per_minute, self._policy.window_s, self._share, now) if per_minute > 0 else None

    def _most_in_flight(self) -> int:
        """The share, at least one where there is a share at all."""
        return max(1, int(self._policy.in_flight * self._share + 1e-9)) if self._share else 0

    def share(self, owned: int, partitions: int, now: float) -> None:
        """This worker owns so many partitions of so many; of a number that nobody knows, it has no share."""
        self._share = min(1.0, owned / partitions) if partitions else 0.0
        self.in_flight = self._most_in_flight()
        for pace in (self.requests, self.tokens):
            if pace is not None:
                pace.resize(pace.per_minute, self._share, now)

    def change(self, policy: LimitsPolicy, now: float) -> None:
        """Other limits of the fleet, but for the window. What headers have taught still holds where it is less."""
        self._policy = replace(policy, window_s=self._policy.window_s)
        self.in_flight = self._most_in_flight()
        self.requests = self._changed(self.requests, "requests", policy.requests_per_minute, now)
        self.tokens = self._changed(self.tokens, "tokens", policy.tokens_per_minute, now)

    def _changed(self, pace: Pace | None, name: str, most: float, now: float) -> Pace | None:
        known = [limit for limit in (most, self._told.get(name, 0.0)) if limit > 0]
        if not known:
            return None
        if pace is None:
            return self._pace(min(known), now)
        pace.resize(min(known), self._share, now)
        return pace

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
        self._took_at = now
        if self._beside_at > -math.inf and now - self._beside_at < self._interval_s(tokens):
            self._close_at = now
        if self.requests is not None:
            self.requests.take(1, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def settle(self, reserved: float, used: float, now: float) -> None:
        """The call has used so many tokens. One that tells nothing keeps what it reserved."""
        if self.tokens is not None:
            self.tokens.settle(reserved, used, now)

    def beside_wait_s(self, tokens: float, now: float) -> float:
        """Seconds until a call may begin that nobody waits for: it uses only what is left over of the limits."""
        wait_s = self.wait_s(tokens, now) if now < self._strict_until else max(0.0, self._held_until - now)
        if self.requests is not None:
            wait_s = max(wait_s, self.requests.beside_wait_s(1, now))
        if self.tokens is not None:
            wait_s = max(wait_s, self.tokens.beside_wait_s(tokens, now))
        return wait_s

    def take_beside(self, tokens: float, now: float) -> None:
        """Such a call begins. Where the server counts strictly, it takes a turn of the others."""
        strict = now < self._strict_until
        self._beside_at = now
        if now - self._took_at < self._interval_s(tokens):
            self._close_at = now
        for pace, units in ((self.requests, 1.0), (self.tokens, tokens)):
            if pace is not None:
                (pace.take if strict else pace.take_beside)(units, now)

    def settle_beside(self, reserved: float, used: float, now: float) -> None:
        """As `settle`, of a call that nobody waits for."""
        if self.tokens is not None:
            self.tokens.settle_beside(reserved, used, now)

    def limited(self, now: float) -> None:
        """The server refused a call: there were too many. It may be one that stands no two without a pause."""
        if now - self._close_at > MINUTE_S:
            return
        if now >= self._strict_until:
            facts = {"action": "shadows_take_turns", "seconds": _STRICT_S}
            log.info(
                "too many calls, right after a shadow's: shadows take turns of the others for a while", extra=facts
            )
        self._strict_until = now + _STRICT_S

    def _interval_s(self, tokens: float) -> float:
        """Seconds between two such calls at an even pace."""
        paces = ((self.requests, 1.0), (self.tokens, tokens))
        return max((units / pace.pace for pace, units in paces if pace is not None and pace.pace), default=0.0)

    def hold(self, seconds: float, now: float) -> None:
        """The server wishes to be left alone: no call of ours begins before."""
        self._held_until = max(self._held_until, now + min(seconds, MOST_HOLD_S))

    def learn(self, headers: Mapping[str, str], now: float) -> None:
        """What a response says of the fleet's limits; the share is taken of it."""
        if "ratelimit-" not in " ".join(headers):  # of most servers no name has it
            return
        quotas = read_quotas(headers)
        told = {"requests": quotas.requests.limit, "tokens": quotas.tokens.limit}
        self._told |= {name: limit for name, limit in told.items() if limit is not None}
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
