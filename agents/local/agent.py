"""The local agent: the small model answers, its supervisor trusts or doubts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress
from typing import Any

import msgspec

from ...schemas.codec import (
    EncodeResult,
    Request,
    RequestFormat,
    decode_requests,
    encode_result,
    fall_back,
    forward_all,
    publish_all,
    request_ms,
    source_of,
)
from ...schemas.errors import InvalidRequest, ModelError
from ...schemas.records import VERSION, Facts, Incoming, Outgoing, Result, Source, Verdict
from ..answers import Answer
from ..histogram import Histogram
from ..supervision.learned.deferral import DeferralModel
from ..supervision.supervisor import Supervisor
from .appetite import Appetite
from .model import Model
from .serving.server import Server

log = logging.getLogger(__name__)

#: bounds of the histogram of a batch's prediction, seconds
PREDICT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: raised for an answer that cannot be written down
_UNWRITABLE = (TypeError, ValueError, OverflowError)


class Hung(ModelError):
    """The thread is stuck: asking again would only wait behind it."""


@dataclass(frozen=True, slots=True)
class _Judge:
    """What belongs together: a batch is judged by all of one."""

    supervisor: Supervisor
    thresholds: str  #: their version
    learned: DeferralModel | None  #: makes the score, where the supervisor reads the learned one


class Local:
    """Turns requests into trusted results, doubtful records, and fallbacks for what cannot be parsed.

    The model runs in one thread of its own, one batch at a time, off the event loop; or it is a server. A thread cannot
    be stopped: where the model does not answer within `batch_timeout_s` seconds, `on_hang` is called, which is
    expected to end the process.
    """

    def __init__(
        self,
        model: Model | Server,
        supervisor: Supervisor,
        request_format: RequestFormat,
        *,
        batch_timeout_s: float,
        appetite: Appetite,
        thresholds_version: str,
        learned: DeferralModel | None = None,
        on_hang: Callable[[], None],
        clock: Callable[[], float] = time.perf_counter,
        encode: EncodeResult = encode_result,
    ) -> None:
        """`encode` makes the value of a result."""
        self._model = model
        self._judge = _Judge(supervisor, thresholds_version, learned)
        self._format = request_format
        self._encode = encode
        self._timeout_s = batch_timeout_s
        self.appetite = appetite  #: how many inputs it should get at once
        self._on_hang = on_hang
        self._clock = clock
        self._topic_ids: dict[int, str] = {}  # of the topic that each partition belongs to
        self.durations = Histogram(PREDICT_BOUNDS_S)  #: seconds that the model took for a batch
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")

    @property
    def model_name(self) -> str:
        """Name and version of the model, as records have it."""
        return self._model.name

    @property
    def labels(self) -> tuple[Any, ...]:
        """What the model's classes are called; empty where that is not known."""
        return self._model.labels

    def reads(self, partition: int, topic_id: str) -> None:
        """Its records belong to this topic: a topic that is made anew has another id under its old name."""
        self._topic_ids[partition] = topic_id

    def judge_by(self, supervisor: Supervisor, thresholds_version: str, learned: DeferralModel | None = None) -> None:
        """Another threshold, from the next judgement on. A batch is judged in one go, so by one of the two.

        Where the score is another one, too, it takes the next batch: this one has its scores already.
        """
        self._judge = _Judge(supervisor, thresholds_version, learned)

    def unreadable(self, learned: DeferralModel) -> list[tuple[str, str]]:
        """Why that learned score cannot be made of what the model puts out; see `answers.unreadable`."""
        return self._model.unreadable(learned)

    async def warm_up(self, inputs: Sequence[Any]) -> None:
        """Predict once and forget the answers, so that the first batch pays no compilation or page faults."""
        if isinstance(self._model, Server):
            await self._model.warm_up(inputs)
        elif inputs:
            await self._predict(self._model, list(inputs), self._judge.learned)

    @property
    def trouble(self) -> str:
        """Why nothing can be answered now; '' where it can, or is not known."""
        return (self._model.trouble if isinstance(self._model, Server) else "") or self._format.trouble

    @property
    def no_use(self) -> str:
        """Why a server's answer to an input to warm up with is of no use; '' where none is."""
        return self._model.no_use if isinstance(self._model, Server) else ""

    @property
    def schema_wait(self) -> tuple[int, float] | None:
        """Records that wait for a schema, and for how many seconds already; None where requests have no schemas."""
        return None if self._format.reader is None else self._format.reader.wait()

    def leave(self) -> None:
        """Partitions go: who would wait for a server gives up, and `decide` raises `ServerAway`. `stay` follows."""
        if isinstance(self._model, Server):
            self._model.leave()

    def stay(self) -> None:
        """The partitions are settled."""
        if isinstance(self._model, Server):
            self._model.stay()

    async def decide(self, records: Sequence[Incoming]) -> list[Outgoing]:
        """One outcome per record, in order. All that can be parsed is predicted in one batch.

        Inputs on which the model fails while it answers others are to blame themselves, and fall back as
        `model_error`. Where it answers none, raises what it raised, and `ModelError` where it gives no or too few
        answers: then no record of the batch has an outcome.
        """
        if self._format.reader is not None:
            await self._format.ready(records)
        requests, faults = decode_requests(records, self._format)
        if not faults:
            return await self._answered(records, requests)
        readable = [record for place, record in enumerate(records) if place not in faults]
        outcomes = iter(await self._answered(readable, requests) if readable else ())
        return [
            self._unreadable(record, faults[place]) if place in faults else next(outcomes)
            for place, record in enumerate(records)
        ]

    async def _answered(self, records: Sequence[Incoming], requests: Sequence[Request]) -> list[Outgoing]:
        """One outcome per record; what was parsed of each comes beside it."""
        inputs = [request.input for request in requests]
        started, judge, waited_s = self._clock(), self._judge, self._waited_s
        answers = await self.answers(inputs, judge.learned)
        if self._judge.learned == judge.learned:
            judge = self._judge
        took_s = self._clock() - started
        if self._waited_s == waited_s:  # a server's outage says nothing of what an input takes
            self.durations.observe(took_s)
            self.appetite.took(len(inputs), took_s)
        return self._outcomes(records, requests, answers, judge, took_s * 1000.0)

    @property
    def _waited_s(self) -> float:
        return self._model.waited_s if isinstance(self._model, Server) else 0.0

    def close(self) -> None:
        """Let go of the thread without waiting for it: it may hang."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def hang_up(self) -> None:
        """Let go of a server, where it is one."""
        if isinstance(self._model, Server):
            await self._model.close()

    def _unreadable(self, record: Incoming, error: InvalidRequest) -> Outgoing:
        return fall_back(record, self._facts(record), error.reason, str(error), "local")

    def _facts(self, record: Incoming) -> Facts:
        topic_id = self._topic_ids.get(record.partition, "")
        return Facts(source_of(record), requested_ms=request_ms(record), topic_id=topic_id)

    async def answers(self, inputs: list[Any], learned: DeferralModel | None = None) -> Sequence[Answer | Exception]:
        """For each input its answer, or what the model raised on it alone. Raises that where there is no answer."""
        if isinstance(self._model, Server):
            return await self._model.answers(inputs, learned)
        model = self._model
        try:
            return await self._predict(model, inputs, learned)
        except Exception as error:
            if isinstance(error, Hung) or len(inputs) == 1:
                raise
            answers = await self._in_halves(model, inputs, learned)
            failed = sum(isinstance(answer, Exception) for answer in answers)
            if failed == len(inputs):
                raise
            facts = {"action": "model_failed", "inputs": len(inputs), "failed": failed}
            log.warning("the model fails on %d of %d inputs: %r", failed, len(inputs), error, extra=facts)
            return answers

    async def _in_halves(
        self, model: Model, inputs: list[Any], learned: DeferralModel | None
    ) -> list[Answer | Exception]:
        middle = len(inputs) // 2
        halves = (inputs[:middle], inputs[middle:])
        return [answer for half in halves for answer in await self._isolated(model, half, learned)]

    async def _isolated(
        self, model: Model, inputs: list[Any], learned: DeferralModel | None
    ) -> Sequence[Answer | Exception]:
        """Ask in halves, and so on, down to those that fail alone."""
        try:
            return await self._predict(model, inputs, learned)
        except Hung:
            raise
        except Exception as error:  # noqa: BLE001  # whatever the user's model raises
            return [error] if len(inputs) == 1 else await self._in_halves(model, inputs, learned)

    async def _predict(self, model: Model, inputs: list[Any], learned: DeferralModel | None) -> list[Answer]:
        loop = asyncio.get_running_loop()
        answers = loop.run_in_executor(self._thread, model.predict, inputs, learned)
        # wait() leaves a late call alone; wait_for() would raise its TimeoutError as if the model had
        done, _ = await asyncio.wait((answers,), timeout=self._timeout_s)
        if not done:
            self._hung(len(inputs))
        return await answers

    def _hung(self, inputs: int) -> None:
        text = f"the model has not answered {inputs} inputs within {self._timeout_s:g} s"
        log.critical(text, extra={"action": "inference_hung", "inputs": inputs, "timeout_s": self._timeout_s})
        self._on_hang()
        raise Hung(text)

    def _outcomes(
        self,
        records: Sequence[Incoming],
        requests: Sequence[Request],
        answers: Sequence[Answer | Exception],
        judge: _Judge,
        latency_ms: float,
    ) -> list[Outgoing]:
        told = [answer for answer in answers if isinstance(answer, Answer)]
        if len(told) == len(answers):
            with suppress(*_UNWRITABLE):  # by one of them: which one is found when each is written alone
                return self._judged(records, requests, told, judge, latency_ms)
        each = zip(records, requests, answers, strict=True)
        return [self._outcome(record, request, answer, judge, latency_ms) for record, request, answer in each]

    def _outcome(
        self, record: Incoming, request: Request, answer: Answer | Exception, judge: _Judge, latency_ms: float
    ) -> Outgoing:
        try:
            if not isinstance(answer, Exception):
                [outcome] = self._judged([record], [request], [answer], judge, latency_ms)
                return outcome
        except _UNWRITABLE as error:
            answer = error
        facts = msgspec.structs.replace(self._facts(record), id=request.id, deadline_ms=request.deadline_ms)
        return fall_back(record, facts, "model_error", f"the local model fails on this input: {answer!r}", "local")

    def _judged(
        self,
        records: Sequence[Incoming],
        requests: Sequence[Request],
        answers: Sequence[Answer],
        judge: _Judge,
        latency_ms: float,
    ) -> list[Outgoing]:
        """Raises one of `_UNWRITABLE` for any answer that cannot be written down."""
        trusts = judge.supervisor.trusts
        trusted = [trusts(answer.score) for answer in answers]
        sure = list(compress(records, trusted))
        results = self._results(sure, compress(requests, trusted), compress(answers, trusted), judge, latency_ms)
        published = iter(publish_all(sure, results, self._encode))
        doubted = [not is_trusted for is_trusted in trusted]
        unsure = list(compress(records, doubted))
        doubts = self._doubts(unsure, compress(requests, doubted), compress(answers, doubted), judge, latency_ms)
        forwarded = iter(forward_all(unsure, "doubtful", doubts))
        return [next(published) if is_trusted else next(forwarded) for is_trusted in trusted]

    def _results(
        self,
        records: Iterable[Incoming],
        requests: Iterable[Request],
        answers: Iterable[Answer],
        judge: _Judge,
        latency_ms: float,
    ) -> list[Result]:
        # one of these is made per event: by position, for names take half as long again
        supervisor, model, thresholds = judge.supervisor, self._model.name, judge.thresholds
        name, threshold = supervisor.name, supervisor.threshold
        return [
            Result(
                Source(record.topic, record.partition, record.offset),
                answer.prediction,
                "local",
                answer.score,  # type: ignore[arg-type]  # one that is trusted is no None
                threshold,
                VERSION,
                True,
                request.id,
                None,
                name,
                model,
                thresholds,
                request_ms(record) if record.headers else record.timestamp,
                latency_ms,
            )
            for record, request, answer in zip(records, requests, answers, strict=True)
        ]

    def _doubts(
        self,
        records: Iterable[Incoming],
        requests: Iterable[Request],
        answers: Iterable[Answer],
        judge: _Judge,
        latency_ms: float,
    ) -> list[Facts]:
        # by position, as above
        supervisor, model, thresholds = judge.supervisor, self._model.name, judge.thresholds
        name, threshold, topic_ids = supervisor.name, supervisor.threshold, self._topic_ids
        return [
            Facts(
                Source(record.topic, record.partition, record.offset),
                VERSION,
                request.id,
                request.deadline_ms,
                Verdict(answer.prediction, answer.score, threshold, False, name, model, latency_ms),
                None,
                thresholds,
                None,
                None,
                "local",
                None,
                request_ms(record) if record.headers else record.timestamp,
                topic_ids.get(record.partition, ""),
            )
            for record, request, answer in zip(records, requests, answers, strict=True)
        ]
