"""One question to the remote, with its retries."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import random as uniform
from typing import Any, TypeVar

from msgspec.structs import replace

from ...schemas.budget import Amount
from ...schemas.errors import BiSupervisedError, InvalidAnswer, RateLimited, RecordError, Rejected, RemoteFailure
from ..heap import without_collecting
from ..tracing import UNTRACED, CallSpan, CallTrace
from .asking import Bill, RemoteAnswer, idempotency_key
from .calling.inquiry import Asked, Inquiry, alone
from .calling.lines import log_implausible, log_retry, worth_telling
from .credentials import Authorized
from .endpoint import Endpoint, shown_address
from .gate import Gate
from .gating.lane import Lane
from .gating.permit import Permit
from .limiting.known import Known
from .limiting.retrials import Retrials, Trial
from .meter import Meter
from .protocol import Call, Negotiation, OptionRefused, RemoteProtocol, Reply, failure_in
from .retry import (
    CircuitOpen,
    ContentRefused,
    OutOfTime,
    RetryPolicy,
    backoff_s,
    deserves_retrial,
    is_refusal,
    may_pass,
    own_of,
    tells_of_remote,
)
from .samples import agreed, sample_keys
from .spending.price import Bounded, Price
from .transport import Response, Transport
from .usage import Bounds, believed

log = logging.getLogger(__name__)

T = TypeVar("T")

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


class _Anew(BiSupervisedError):
    """The remote may have been mended: ask as if it had never been asked."""


class RemoteClient:
    """Asks, and asks again while that may help. Clock, sleep and random come from outside."""

    def __init__(
        self,
        transport: Transport,
        protocol: RemoteProtocol,
        policy: ClientPolicy,
        *,
        gate: Gate | None = None,
        lane: Lane | None = None,
        probe: Any = None,  # noqa: ANN401  # any JSON value
        endpoint: Endpoint = Endpoint(),  # noqa: B008  # a frozen value
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = uniform,
    ) -> None:
        """`probe`: an input that the remote answers when it is well, for as long as no other was answered. Raises
        `InvalidRequest` where it cannot be asked.

        With a `lane` nobody waits for its calls: they wait there. The transport and the gate are another client's.
        """
        self._transport = transport
        self.protocol = protocol
        self._negotiation = Negotiation(protocol)
        self._bounded = protocol if isinstance(protocol, Bounded) else None  # asked once: it is slow
        self.gate = gate or Gate(clock=clock)
        self._lane = lane
        self._door: Gate | Lane = lane or self.gate
        self.meter = Meter(clock)
        self.endpoint = endpoint
        self._policy = policy
        self._url = policy.url.rstrip("/")
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._reading_large = asyncio.Lock()
        self._probes = 0
        self._retrials = Retrials(policy.retry.tries)
        self._known = Known(None if probe is None else self._question(probe))
        self._door.knows = bool(self._known)

    def beside(self, lane: Lane) -> RemoteClient:
        """Another client of the same remote, whose calls nobody waits for. Close it before this one."""
        return RemoteClient(
            self._transport,
            self.protocol,
            self._policy,
            gate=self.gate,
            lane=lane,
            endpoint=self.endpoint,
            clock=self._clock,
            sleep=self._sleep,
            random=self._random,
        )

    async def ask(
        self,
        inputs: Sequence[Any],
        inputs_key: str,
        within_s: float | None,
        bill: Bill,
        *,
        begin_within_s: float | None = None,
        records: Iterable[str] = (),
        trace: CallTrace = UNTRACED,
    ) -> list[RemoteAnswer]:
        """As many answers as inputs, in their order, within `within_s` seconds from now, if it is given.

        No try begins later than `begin_within_s` from now. Every try carries the same idempotency key, but for samples
        that take a call each. `bill` is added to whatever comes of it. Raises `InvalidRequest` where the inputs cannot
        be asked (nothing was paid then), `InvalidAnswer`, `Refused`, `Timeout` where the time is over before the tries
        are, and the last `RemoteFailure` when trying again would not help, `BudgetSpent` where nobody waits for another
        period. `records` names what the inputs are of; a refusal of one input waits until it is known who is to blame.
        """
        started = self._clock()
        deadline = started + (math.inf if within_s is None else within_s)
        latest = min(deadline, started + (math.inf if begin_within_s is None else begin_within_s))
        about = frozenset(records) or frozenset((inputs_key,))
        asked = Asked(inputs, about, inputs_key, deadline, latest, bill, trace)
        form = self._negotiation.form
        while True:
            try:
                reply = await self._ask_as(form, asked)
                break
            except OptionRefused:
                form = self._negotiation.after(form) or form
            except _Anew:
                form = self._negotiation.form
        latency_ms = (self._clock() - started) * 1000.0
        return [
            RemoteAnswer(answer.prediction, answer.score, reply.model, latency_ms, answer.unscored, answer.details)
            for answer in reply.answers
        ]

    async def _ask_as(self, form: RemoteProtocol, asked: Asked) -> Reply:
        """In this form of the protocol. Raises `OptionRefused` where another may fare better."""
        call, inputs = form.build(asked.inputs), len(asked.inputs)
        most = self._most(call, inputs)
        inquiry = Inquiry(
            form,
            call,
            asked.records,
            idempotency_key(asked.key, self._policy.pipeline, self._policy.url, call),  # of this body
            inputs,
            form.estimate(asked.inputs),
            most,
            asked.deadline,
            asked.latest,
            asked.bill,
            asked.trace,
        )
        if call.samples == 1:
            return await self._tries(inquiry)
        keys = sample_keys(inquiry.key, call.samples)
        return agreed([await self._tries(replace(inquiry, key=key)) for key in keys])

    def most(self, inputs: Sequence[Any]) -> Amount:
        """What one call about these can cost, if it is not made again; several calls where an answer takes samples.

        Nothing is asked. Raises `InvalidRequest` where the inputs cannot be asked.
        """
        call = self._negotiation.form.build(inputs)
        return Amount(self._most(call, len(inputs)) * call.samples, call.samples)

    def _most(self, call: Call, inputs: int) -> int:
        """Nano-units that a try can cost."""
        return self._policy.price.most(inputs, len(call.body), self._most_answer_tokens(inputs))

    async def pause(self, seconds: float) -> None:
        """Wait before asking in another way."""
        await self._sleep(seconds)

    async def renew(self) -> None:
        """Somebody has mended something, the key perhaps: read it again, and ask again."""
        if isinstance(self._transport, Authorized):
            await self._transport.renew()
        self.gate.renewed()

    async def close(self) -> None:
        self._door.close()
        if self._lane is None:
            await self._transport.close()

    async def _tries(self, inquiry: Inquiry) -> Reply:
        failures = refusals = 0
        trial = Trial()
        answered = self._door.breaker.successes
        while True:
            try:
                reply = await self._try(inquiry, failures + refusals, trial)
            except RemoteFailure as error:
                before, answered = answered, self._door.breaker.successes
                others = answered > before
                if self._remote_is_down(error):
                    # neither this try nor the time until the remote is back is held against it, unless it is the one
                    # input that fails while others are answered
                    inquiry.bill.ends = math.inf
                    if not others:
                        continue
                counts = others or not (self._door.waits and isinstance(error, RateLimited))
                if not counts:
                    inquiry.bill.ends = math.inf
                wait_s = self._wait_s(error, trial.tries if counts else -1, failures, inquiry.begin_by)
                log_retry(error, failures, wait_s, inquiry.key)
                self.meter.retried(error.reason)
            else:
                if reply is not None:
                    return reply
                refusals += 1
                if inquiry.form is not self._negotiation.form:
                    raise _Anew
                continue
            await self._sleep(wait_s)
            trial.failures += counts
            failures += 1

    def _remote_is_down(self, error: RemoteFailure) -> bool:
        """Whether this failure is one of many, so that the call waits at the gate like any other.

        Raises `CircuitOpen` where the settings say not to wait.
        """
        # what nobody waits for would be asked for as long as the remote is down: it ends after its tries
        if self._lane is not None or self.gate.breaker.closed or not may_pass(error):
            return False
        if not self.gate.waits:
            raise CircuitOpen(str(error)) from error
        return True

    async def _try(self, inquiry: Inquiry, tried: int, trial: Trial) -> Reply | None:
        """One call. None: it was refused, and is to be made again."""
        permit = await self._enter_for_itself(inquiry, tried)
        try:
            with permit, self.meter.call(), inquiry.trace.call() as span:
                if math.isinf(inquiry.bill.ends):
                    inquiry.bill.ends = self._clock() + self._policy.retry.deadline_s
                inquiry.bill.calls += 1
                left_s = inquiry.ends - self._clock()
                permit.impatient = left_s < self._policy.timeout_s
                permit.records = inquiry.records
                reply = await self._call(permit, span, inquiry, min(self._policy.timeout_s, left_s))
        except RecordError as error:
            if not tells_of_remote(error):
                raise
            trial.refused(permit.opened)
            await self._await_verdict(permit, inquiry, error, tried + 1, trial)
            return None
        if trial.refusals and permit.opened == trial.opened:
            self._retrials.acquitted()
        self._known.answered(inquiry, len(inquiry.call.body))
        self._door.knows = True
        return reply

    async def _enter_for_itself(self, inquiry: Inquiry, tried: int) -> Permit:
        """Wait for the turn of this call. Where it would be the probe, and may be to blame itself, it first asks what
        is known to be answered when the remote is well.
        """
        while True:
            permit = await self._enter(inquiry)
            if not permit.probes or not (tried or self._door.breaker.accused):
                return permit
            known = self._known.next()
            self._door.knows = bool(self._known)
            if known is None:
                return permit
            await self._probe(permit, known)

    async def _probe(self, permit: Permit, known: Inquiry) -> None:
        """Ask it, whatever comes of it: the gate hears."""
        self._probes += 1
        permit.asks_known = True
        inquiry = replace(alone(known), key=f"{known.key}~probe-{self._probes}")  # answered anew, from no cache
        try:
            with permit, self.meter.call(), UNTRACED.call() as span:
                await self._call(permit, span, inquiry, self._policy.timeout_s)
        except (RemoteFailure, Rejected) as error:
            if tells_of_remote(error):
                self._known.refused()
                self._door.knows = False

    async def _await_verdict(
        self, permit: Permit, inquiry: Inquiry, refusal: RecordError, times: int, trial: Trial
    ) -> None:
        """Return where it is to be asked again. Raises what the refusal comes to where it is the input's own.

        Of several inputs, one may have spoilt it for the others: those are asked in parts.
        """
        if inquiry.inputs > 1 and self._door.breaker.closed:
            raise refusal
        if self._door.waits:
            inquiry.bill.ends = math.inf
        answered = not is_refusal(refusal)
        itself = trial.refusals < self._retrials.tries and deserves_retrial(refusal)
        while True:
            try:
                held = self._door.hold(permit, times, itself=itself, answered=answered)
                verdict = await self._within(inquiry, held, str(refusal))
            except CircuitOpen as error:
                if answered:
                    raise refusal from error
                raise CircuitOpen(str(refusal)) from error
            if verdict == "again":
                return
            if verdict == "own":
                await self._try_again_or_raise(inquiry, refusal, trial)
                return
            if verdict == "unknown":
                raise (own_of(refusal) if isinstance(refusal, ContentRefused) else refusal) from refusal
            probe = await self._enter(inquiry)
            known = self._known.next() if probe.probes else None
            self._door.knows = bool(self._known)
            if known is None:
                probe.give_back()
            else:
                await self._probe(probe, known)

    async def _try_again_or_raise(self, inquiry: Inquiry, refusal: RecordError, trial: Trial) -> None:
        """Others are answered. Return, after a while, where the input is to be asked once more all the same.

        It waits even where it is not: what becomes of others that were refused may speak for it.
        """
        wait_s = backoff_s(self._policy.retry, trial.refusals - 1, self._random())
        if deserves_retrial(refusal) and self._clock() + wait_s < inquiry.begin_by:
            with self._door.aside():
                await self._sleep(wait_s)
            if trial.refusals < self._retrials.tries and trial.tries < self._policy.retry.tries:
                self.meter.retried(refusal.reason)
                log_retry(refusal, trial.refusals - 1, wait_s, inquiry.key)
                return
        self._retrials.convicted()
        raise own_of(refusal) from refusal

    async def _enter(self, inquiry: Inquiry) -> Permit:
        """Wait for the turn of a call, no longer than it has time. The time of its tries stands still while the remote
        is down.
        """
        cost = Amount(inquiry.most, 1)
        while True:
            if self._door.stops_clock:
                inquiry.bill.ends = math.inf
            if inquiry.begin_by > self._clock() and (permit := self._door.at_once(inquiry.tokens, cost)):
                return permit
            try:
                return await self._within(inquiry, self._door.enter(inquiry.tokens, cost), "")
            except OutOfTime:
                if not self._door.stops_clock or inquiry.latest <= self._clock():
                    raise

    async def _within(self, inquiry: Inquiry, waiting: Coroutine[Any, Any, T], why: str) -> T:
        """What is waited for, no longer than this call has time to begin."""
        left_s = inquiry.begin_by - self._clock()
        if left_s <= 0:
            waiting.close()
            raise OutOfTime(f"the time for all tries is over{why and ': ' + why}")
        if math.isinf(left_s):
            return await waiting
        try:
            async with asyncio.timeout(left_s):
                return await waiting
        except TimeoutError as error:
            raise OutOfTime(f"the time was over before it was this call's turn{why and ': ' + why}") from error

    async def _call(self, permit: Permit, span: CallSpan, inquiry: Inquiry, timeout_s: float) -> Reply:
        headers = {**self._policy.headers, **inquiry.call.headers, "idempotency-key": inquiry.key, **span.headers}
        url = self._url + inquiry.call.path
        permit.asked = shown_address(url)
        response = await self._transport.post(url, inquiry.call.body, headers, timeout_s, method=inquiry.call.method)
        permit.heard(response.headers, response.status)
        if len(response.body) < _LARGE_BYTES:
            reply = self._read(response, permit, inquiry)
        else:
            reply = await self._read_large(response, permit, inquiry)
        permit.used(reply.usage)
        self.meter.used(reply.usage)
        span.answered(reply.model, *(reply.usage[:2] if reply.usage is not None else (None, None)))
        return reply

    async def _read_large(self, response: Response, permit: Permit, inquiry: Inquiry) -> Reply:
        """No two large answers are read in a row: the event loop has its other work between, and before what comes."""
        async with self._reading_large:
            reply = self._read(response, permit, inquiry)
            await asyncio.sleep(0)
            return reply

    def _read(self, response: Response, permit: Permit, inquiry: Inquiry) -> Reply:
        self._raise_for(response, inquiry.form)
        paid = inquiry.most  # of an answer that cannot be read, nobody knows what it has cost
        try:
            with without_collecting():
                reply = inquiry.form.read(response, inquiry.inputs)
            reply = self._bounded_usage(reply, inquiry, response)
            paid = self._policy.price.of(inquiry.inputs, reply.usage, inquiry.most)
        except InvalidAnswer as error:
            raise failure_in(response, error) from error
        finally:
            permit.money = paid
            inquiry.is_billed(paid)
        return reply

    def _bounded_usage(self, reply: Reply, inquiry: Inquiry, response: Response) -> Reply:
        """The reply with token counts that this call can have had."""
        if reply.usage is None:
            return reply
        # where nobody says how long an answer can be, no more tokens were written than bytes have come
        written = self._most_answer_tokens(inquiry.inputs) or (0 if self._bounded else len(response.body))
        usage, doubts = believed(reply.usage, Bounds(len(inquiry.call.body), written))
        if doubts:
            self.meter.doubted()
            if worth_telling(self.meter.implausible):
                log_implausible(doubts, self.meter.implausible, inquiry.key)
        return reply._replace(usage=usage)

    def _raise_for(self, response: Response, form: RemoteProtocol) -> None:
        """Raises what a response without success stands for."""
        if self._negotiation.hear(response, form):
            text = "the remote refuses to be asked by %s, and is asked by %s from now on"
            log.warning(text, self.protocol, form, extra={"action": "remote_option_refused"})

    def _most_answer_tokens(self, asked: int) -> int:
        if self._bounded is None:
            return asked * self._policy.most_answer_tokens
        return self._bounded.most_answer_tokens(asked)

    def _wait_s(self, error: RemoteFailure, attempt: int, failures: int, ends: float) -> float:
        """Seconds until the next try. Raises where there is none: the error, or `Timeout` if it would come too late."""
        policy = self._policy.retry
        if not may_pass(error) or attempt + 1 >= policy.tries:
            raise error
        wait_s = backoff_s(policy, failures, self._random(), error.retry_after_s)
        if self._clock() + wait_s >= ends:
            raise OutOfTime(f"no time for another try: {error}", wait_s=wait_s) from error
        return wait_s

    def _question(self, given: Any) -> Inquiry:  # noqa: ANN401  # any JSON value
        """A question of nobody's, that a probe asks."""
        call = self.protocol.build([given])
        most = self._most(call, 1)
        tokens = self.protocol.estimate([given])
        forever = math.inf
        return Inquiry(self.protocol, call, frozenset(), "probe", 1, tokens, most, forever, forever, Bill(), UNTRACED)
