"""One question to the remote, with its retries."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import random as uniform
from typing import Any, NamedTuple

from ...schemas.errors import RemoteFailure, Timeout
from .protocol import Call, RemoteProtocol, Reply
from .retry import RetryPolicy, backoff_s, may_pass
from .samples import agreed, sample_keys
from .transport import Transport

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """Where and how to ask."""

    url: str  #: of the server, without the protocol's path
    timeout_s: float = 30.0  #: seconds for one try
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    price_per_call: float = 0.0  #: of one input in one answered call, in the currency of the settings
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  #: sent along; may hold a secret


@dataclass(slots=True)
class Bill:
    """What an input has cost so far. Counted before a call can fail, so that nothing paid is hidden."""

    calls: int = 0  #: calls made, failed ones included
    cost: float = 0.0  #: of the calls that were answered, in the currency of the settings


class RemoteAnswer(NamedTuple):
    """An answer and what it took."""

    prediction: Any  #: any JSON value
    score: float | None  #: higher is more trustworthy; None when there is none
    model: str  #: "name@version" as far as the remote says so
    latency_ms: float  #: milliseconds, retries and waits included


class RemoteClient:
    """Asks, and asks again while that may help. Clock, sleep and random come from outside."""

    def __init__(
        self,
        transport: Transport,
        protocol: RemoteProtocol,
        policy: ClientPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = uniform,
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._policy = policy
        self._clock = clock
        self._sleep = sleep
        self._random = random

    async def ask(
        self, inputs: Sequence[Any], idempotency_key: str, within_s: float | None, bill: Bill
    ) -> list[RemoteAnswer]:
        """As many answers as inputs, in their order, within `within_s` seconds from now, if it is given.

        Every try carries the same idempotency key. `bill` is added to whatever comes of it. Raises
        `InvalidRequest` where the inputs cannot be asked (nothing was paid then), `InvalidAnswer`,
        and the last `RemoteFailure` when trying again would not help, or not in time.
        """
        call = self._protocol.build(inputs)
        started = self._clock()
        bound_s = self._policy.retry.deadline_s
        ends = started + (bound_s if within_s is None else min(bound_s, within_s))
        keys = sample_keys(idempotency_key, call.samples)
        replies = [await self._tries(call, len(inputs), key, ends, bill) for key in keys]
        reply = replies[0] if len(replies) == 1 else agreed(replies)
        latency_ms = (self._clock() - started) * 1000.0
        return [RemoteAnswer(*answer, reply.model, latency_ms) for answer in reply.answers]

    async def close(self) -> None:
        await self._transport.close()

    async def _tries(self, call: Call, asked: int, key: str, ends: float, bill: Bill) -> Reply:
        attempt = 0
        while True:
            try:
                return await self._try(call, asked, key, ends - self._clock(), bill)
            except RemoteFailure as error:
                wait_s = self._wait_s(error, attempt, ends)
                if wait_s is None:
                    raise
                _log_retry(error, attempt, wait_s, key)
            await self._sleep(wait_s)
            attempt += 1

    async def _try(self, call: Call, asked: int, key: str, left_s: float, bill: Bill) -> Reply:
        if left_s <= 0:
            raise Timeout("the time for all tries is over")
        bill.calls += 1
        headers = {**self._policy.headers, **call.headers, "idempotency-key": key}
        url = self._policy.url.rstrip("/") + call.path
        within_s = min(self._policy.timeout_s, left_s)
        response = await self._transport.post(url, call.body, headers, within_s, method=call.method)
        self._protocol.raise_for(response)
        bill.cost += self._policy.price_per_call
        return self._protocol.read(response, asked)

    def _wait_s(self, error: RemoteFailure, attempt: int, ends: float) -> float | None:
        """Seconds until the next try; None where there is none, or where it would come too late."""
        policy = self._policy.retry
        if not may_pass(error) or attempt + 1 >= policy.tries:
            return None
        wait_s = backoff_s(policy, attempt, self._random(), error.retry_after_s)
        return wait_s if self._clock() + wait_s < ends else None


def _log_retry(error: RemoteFailure, attempt: int, wait_s: float, key: str) -> None:
    facts = {
        "action": "remote_retry",
        "reason": error.reason,
        "attempt": attempt,
        "wait_s": wait_s,
        "key": key,
    }
    log.info("the remote failed, trying again in %.3g s: %s", wait_s, error, extra=facts)
