"""One question to the remote, with its retries."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import random as uniform
from typing import Any, NamedTuple

from ...schemas.budget import NANO, Amount
from ...schemas.errors import RemoteFailure
from ..heap import without_collecting
from ..tracing import UNTRACED, CallSpan, CallTrace
from .asking import Bill, RemoteAnswer, idempotency_key
from .credentials import Authorized
from .endpoint import Endpoint, shown_address
from .gate import Gate, Permit
from .meter import Meter
from .protocol import Call, Negotiation, OptionRefused, RemoteProtocol, Reply
from .retry import CallRefused, CircuitOpen, OutOfTime, RetryPolicy, Terminal, backoff_s, may_pass
from .samples import agreed, sample_keys
from .spending.price import Bounded, Price
from .transport import Response, Transport
from .usage import Bounds, believed

log = logging.getLogger(__name__)

#: bytes of an answer from which on the event loop needs milliseconds to read it, and up to tens of them
_LARGE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """Where and how to ask."""

    url: str  #: of the server, without the protocol's path
    timeout_s: float = 30.0  #: seconds for one try
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    price: Price = field(default_factory=Price)
    most_answer_tokens: int = 0  #: that the answers to one input can have, where the protocol does not know
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  #: sent along; may hold a secret
    pipeline: str = ""  #: name of the pipeline that asks: another one's calls are others


class _Asked(NamedTuple):
    """What is asked, in whichever form: as `ask` was given it, with times on the client's clock."""

    inputs: Sequence[Any]
    key: str
    deadline: float
    latest: float
    bill: Bill
    trace: CallTrace


@dataclass(frozen=True, slots=True)
class _Inquiry:
    """What is asked, until when, and who pays: the same for every try."""

    form: RemoteProtocol  #: which made the call, and reads the answer
    call: Call
    key: str  #: the idempotency key
    inputs: int  #: how many it asks about
    tokens: int  #: that it will take, as the protocol guesses
    most: int  #: nano-units of money that a try can cost
    deadline: float  #: on the client's clock: when the last of the inputs has no use for an answer any more
    latest: float  #: on the client's clock: when the last try must have begun
    bill: Bill
    trace: CallTrace

    @property
    def begin_by(self) -> float:
        """On the client's clock: when the next try must have begun."""
        return min(self.latest, self.bill.ends)

    @property
    def ends(self) -> float:
        """On the client's clock: when a try that has begun must be over."""
        return min(self.deadline, self.bill.ends)

    def is_billed(self, money: int) -> None:
        """A try has cost so many nano-units: each input bears its share."""
        self.bill.cost += money / NANO / self.inputs


class RemoteClient:
    """Asks, and asks again while that may help. Clock, sleep and random come from outside."""

    def __init__(
        self,
        transport: Transport,
        protocol: RemoteProtocol,
        policy: ClientPolicy,
        *,
        gate: Gate | None = None,
        endpoint: Endpoint = Endpoint(),  # noqa: B008  # a frozen value
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = uniform,
    ) -> None:
        self._transport = transport
        self.protocol = protocol
        self._negotiation = Negotiation(protocol)
        self._bounded = protocol if isinstance(protocol, Bounded) else None  # asked once: it is slow
        self.gate = gate or Gate(clock=clock)
        self.meter = Meter(clock)
        self.endpoint = endpoint
        self._policy = policy
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._reading_large = asyncio.Lock()

    async def ask(
        self,
        inputs: Sequence[Any],
        inputs_key: str,
        within_s: float | None,
        bill: Bill,
        *,
        begin_within_s: float | None = None,
        trace: CallTrace = UNTRACED,
    ) -> list[RemoteAnswer]:
        """As many answers as inputs, in their order, within `within_s` seconds from now, if it is given.

        No try begins later than `begin_within_s` from now. Every try carries the same idempotency key, but for samples
        that take a call each. `bill` is added to whatever comes of it. Raises `InvalidRequest` where the inputs cannot
        be asked (nothing was paid then), `InvalidAnswer`, `Timeout` where the time is over before the tries are, and
        the last `RemoteFailure` when trying again would not help, `BudgetSpent` where nobody waits for another period.
        """
        started = self._clock()
        deadline = started + (math.inf if within_s is None else within_s)
        latest = min(deadline, started + (math.inf if begin_within_s is None else begin_within_s))
        asked = _Asked(inputs, inputs_key, deadline, latest, bill, trace)
        form = self._negotiation.form
        while True:
            try:
                reply = await self._ask_as(form, asked)
                break
            except OptionRefused as refused:
                following = self._negotiation.after(form)
                if following is None:
                    raise refused.refusal from None
                form = following
        latency_ms = (self._clock() - started) * 1000.0
        return [
            RemoteAnswer(answer.prediction, answer.score, reply.model, latency_ms, answer.unscored)
            for answer in reply.answers
        ]

    async def _ask_as(self, form: RemoteProtocol, asked: _Asked) -> Reply:
        """In this form of the protocol. Raises `OptionRefused` where another may fare better."""
        call, inputs = form.build(asked.inputs), len(asked.inputs)
        most = self._policy.price.most(inputs, len(call.body), self._most_answer_tokens(inputs))
        inquiry = _Inquiry(
            form,
            call,
            idempotency_key(asked.key, self._policy.pipeline, self._policy.url, call),  # of this body
            inputs,
            form.estimate(asked.inputs),
            most,
            asked.deadline,
            asked.latest,
            asked.bill,
            asked.trace,
        )
        keys = sample_keys(inquiry.key, call.samples)
        replies = [await self._tries(replace(inquiry, key=key)) for key in keys]
        return replies[0] if len(replies) == 1 else agreed(replies)

    async def pause(self, seconds: float) -> None:
        """Wait before asking in another way."""
        await self._sleep(seconds)

    async def renew(self) -> None:
        """Somebody has mended something, the key perhaps: read it again, and ask again."""
        if isinstance(self._transport, Authorized):
            await self._transport.renew()
        self.gate.renewed()

    async def close(self) -> None:
        self.gate.close()
        await self._transport.close()

    async def _tries(self, inquiry: _Inquiry) -> Reply:
        attempt = 0
        while True:
            try:
                return await self._try(inquiry)
            except RemoteFailure as error:
                if self._remote_is_down(error):
                    # neither this try nor the time until the remote is back is held against it
                    inquiry.bill.ends = math.inf
                    continue
                wait_s = self._wait_s(error, attempt, inquiry.begin_by)
                _log_retry(error, attempt, wait_s, inquiry.key)
                self.meter.retried(error.reason)
            await self._sleep(wait_s)
            attempt += 1

    def _remote_is_down(self, error: RemoteFailure) -> bool:
        """Whether this failure is one of many, so that the call waits at the gate like any other.

        Raises `CircuitOpen` where the settings say not to wait.
        """
        if self.gate.breaker.closed or not (may_pass(error) or isinstance(error, Terminal)):
            return False
        if not self.gate.waits:
            raise CircuitOpen(str(error)) from error
        return True

    async def _try(self, inquiry: _Inquiry) -> Reply:
        permit = await self._enter(inquiry)
        with permit, self.meter.call(), inquiry.trace.call() as span:
            if math.isinf(inquiry.bill.ends):
                inquiry.bill.ends = self._clock() + self._policy.retry.deadline_s
            inquiry.bill.calls += 1
            left_s = inquiry.ends - self._clock()
            permit.impatient = left_s < self._policy.timeout_s
            return await self._call(permit, span, inquiry, min(self._policy.timeout_s, left_s))

    async def _enter(self, inquiry: _Inquiry) -> Permit:
        """Wait for the turn of this call, no longer than it has time."""
        left_s = inquiry.begin_by - self._clock()
        if left_s <= 0:
            raise OutOfTime("the time for all tries is over")
        try:
            async with asyncio.timeout(None if math.isinf(left_s) else left_s):
                return await self.gate.enter(inquiry.tokens, Amount(inquiry.most, 1))
        except TimeoutError as error:
            raise OutOfTime("the time was over before it was this call's turn") from error

    async def _call(self, permit: Permit, span: CallSpan, inquiry: _Inquiry, timeout_s: float) -> Reply:
        headers = {**self._policy.headers, **inquiry.call.headers, "idempotency-key": inquiry.key, **span.headers}
        url = self._policy.url.rstrip("/") + inquiry.call.path
        permit.asked = shown_address(url)
        response = await self._transport.post(url, inquiry.call.body, headers, timeout_s, method=inquiry.call.method)
        permit.heard(response.headers, response.status)
        async with self._in_turn(response):
            reply = self._read(response, permit, inquiry)
        permit.used(reply.usage)
        self.meter.used(reply.usage)
        span.answered(reply.model, *(reply.usage[:2] if reply.usage is not None else (None, None)))
        return reply

    @asynccontextmanager
    async def _in_turn(self, response: Response) -> AsyncIterator[None]:
        """No two large answers are read in a row: the event loop has its other work between, and before what comes."""
        if len(response.body) < _LARGE_BYTES:
            yield
            return
        async with self._reading_large:
            yield
            await asyncio.sleep(0)

    def _read(self, response: Response, permit: Permit, inquiry: _Inquiry) -> Reply:
        self._raise_for(response, inquiry.form)
        paid = inquiry.most  # of an answer that cannot be read, nobody knows what it has cost
        try:
            with without_collecting():
                reply = inquiry.form.read(response, inquiry.inputs)
            reply = self._bounded_usage(reply, inquiry, response)
            paid = self._policy.price.of(inquiry.inputs, reply.usage, inquiry.most)
        finally:
            permit.money = paid
            inquiry.is_billed(paid)
        return reply

    def _bounded_usage(self, reply: Reply, inquiry: _Inquiry, response: Response) -> Reply:
        """The reply with token counts that this call can have had."""
        # where nobody says how long an answer can be, no more tokens were written than bytes have come
        written = self._most_answer_tokens(inquiry.inputs) or (0 if self._bounded else len(response.body))
        usage, doubts = believed(reply.usage, Bounds(len(inquiry.call.body), written))
        if doubts:
            self.meter.doubted()
            if _worth_telling(self.meter.implausible):
                _log_implausible(doubts, self.meter.implausible, inquiry.key)
        return reply._replace(usage=usage)

    def _raise_for(self, response: Response, form: RemoteProtocol) -> None:
        """Raises what a response without success stands for."""
        try:
            form.raise_for(response)
        except CallRefused as refusal:
            if refusal.input_at_fault and self._negotiation.after(form) is not None:
                raise OptionRefused(refusal) from refusal
            raise
        if self._negotiation.taken(form):
            text = "the remote refuses to be asked by %s, and is asked by %s from now on"
            log.warning(text, self.protocol, form, extra={"action": "remote_option_refused"})

    def _most_answer_tokens(self, asked: int) -> int:
        if self._bounded is None:
            return asked * self._policy.most_answer_tokens
        return self._bounded.most_answer_tokens(asked)

    def _wait_s(self, error: RemoteFailure, attempt: int, ends: float) -> float:
        """Seconds until the next try. Raises where there is none: the error, or `Timeout` if it would come too late."""
        policy = self._policy.retry
        if not may_pass(error) or attempt + 1 >= policy.tries:
            raise error
        wait_s = backoff_s(policy, attempt, self._random(), error.retry_after_s)
        if self._clock() + wait_s >= ends:
            raise OutOfTime(f"no time for another try: {error}", wait_s=wait_s) from error
        return wait_s


def _worth_telling(count: int) -> bool:
    """The first time, the tenth, the hundredth: a remote that miscounts does so in every answer."""
    return str(count).rstrip("0") == "1"


def _log_implausible(doubts: Sequence[str], count: int, key: str) -> None:
    facts = {"action": "usage_implausible", "told": list(doubts), "count": count, "key": key}
    text = "the remote's token counts cannot be: the most that the call can have used stands for them (%s; %d so far)"
    log.warning(text, ", ".join(doubts), count, extra=facts)


def _log_retry(error: RemoteFailure, attempt: int, wait_s: float, key: str) -> None:
    facts = {
        "action": "remote_retry",
        "reason": error.reason,
        "attempt": attempt,
        "wait_s": wait_s,
        "key": key,
    }
    log.info("the remote failed, trying again in %.3g s: %s", wait_s, error, extra=facts)
