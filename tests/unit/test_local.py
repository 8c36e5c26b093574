from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import msgspec
import pytest
from bisupervised.agents.answers import Answer, ClassReading
from bisupervised.agents.local.agent import Local
from bisupervised.agents.local.appetite import Appetite, AppetitePolicy
from bisupervised.agents.local.model import Model
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.codec import RequestFormat, decode_facts, decode_result
from bisupervised.schemas.errors import ModelError
from bisupervised.schemas.records import REASON_HEADER, REPLAY_HEADER, Replayed, Source
from support.records import Record, request

Called = Callable[[list[Any]], Any]
Make = Callable[..., Local]


def says(inputs: Iterable[Any]) -> list[tuple[Any, Any]]:
    """A model whose prediction is the input, and its score as well."""
    return [(value, value) for value in inputs]


def never() -> None:
    raise AssertionError("nothing hangs here")


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Local] = []

    def make(
        call: Called = says, *, timeout_s: float = 60.0, on_hang: Callable[[], None] = never, ticks: Any = None
    ) -> Local:
        model = Model(call, "small@1", "scored", ClassReading(logits=False))
        local = Local(
            model,
            Supervisor("their_score", 0.5),
            RequestFormat(),
            batch_timeout_s=timeout_s,
            appetite=Appetite(AppetitePolicy(256, 1.0)),
            thresholds_version="t1",
            on_hang=on_hang,
            clock=ticks.__next__ if ticks else lambda: 0.0,
        )
        made.append(local)
        return local

    yield make
    for local in made:
        local.close()


async def test_a_trusted_answer_is_a_result(make: Make) -> None:
    trace = ("traceparent", b"00-1-2-01")
    record = request(0.75, offset=7, id="mine", headers=[trace, ("other", b"x")])
    [outcome] = await make(ticks=iter([10.0, 10.25])).decide([record])
    assert outcome.to == "results"
    assert (outcome.key, outcome.timestamp, list(outcome.headers)) == (b"key", record.timestamp, [trace])
    result = decode_result(outcome.value or b"")
    assert result.source == Source("requests", 0, 7)
    assert (result.prediction, result.score, result.threshold, result.answered_by) == (0.75, 0.75, 0.5, "local")
    assert (result.id, result.model, result.supervisor, result.thresholds) == ("mine", "small@1", "their_score", "t1")
    assert (result.requested_ms, result.latency_ms, result.cost) == (record.timestamp, 250.0, 0.0)
    assert (result.trusted, result.local) == (True, None)


@pytest.mark.parametrize(("score", "to"), [(0.75, "results"), (0.25, "doubtful")])
async def test_what_is_said_of_a_replay_tells_when_it_was_requested_first(make: Make, score: float, to: str) -> None:
    place = Source("requests", 0, 3)
    replay = msgspec.json.encode(Replayed("night", 1, place, place, "timeout", requested_ms=1_600_000_000_000))
    [outcome] = await make().decide([request(score, offset=9, headers=[(REPLAY_HEADER, replay)])])
    assert (outcome.to, outcome.timestamp) == (to, 1_600_000_000_000)
    assert outcome.about is not None
    assert outcome.about.requested_ms == 1_600_000_000_000


async def test_the_time_of_each_batch_is_counted_once(make: Make) -> None:
    local = make(ticks=iter([10.0, 10.25, 11.0, 11.5]))
    await local.decide([request(0.75), request(0.75)])
    await local.decide([request(0.75)])
    assert (local.durations.snapshot().count, local.durations.snapshot().total) == (2, 0.75)


async def test_a_batch_is_judged_by_one_threshold_and_names_it(make: Make) -> None:
    """Also where it changes while the model predicts: all of the batch, threshold and version together."""
    held, release = threading.Event(), threading.Event()

    def slow(inputs: list[Any]) -> list[tuple[Any, Any]]:
        held.set()
        release.wait(10)
        return says(inputs)

    local = make(slow)
    deciding = asyncio.ensure_future(local.decide([request(0.4, 0), request(0.6, 1)]))
    await asyncio.to_thread(held.wait, 10)
    local.judge_by(Supervisor("their_score", 0.3), "t2")
    release.set()
    results = [decode_result(outcome.value or b"") for outcome in await deciding]
    assert [(result.threshold, result.thresholds) for result in results] == [(0.3, "t2")] * 2


async def test_a_doubtful_answer_travels_with_its_facts_and_its_bytes(make: Make) -> None:
    record = request(0.25, offset=7, id=3, deadline_ms=1_800_000_000_000, headers=[("other", b"x")])
    [outcome] = await make(ticks=iter([10.0, 10.25])).decide([record])
    assert outcome.to == "doubtful"
    assert (outcome.key, outcome.value, outcome.timestamp) == (record.key, record.value, record.timestamp)
    assert outcome.headers[0] == ("other", b"x")
    facts = decode_facts(Record(outcome.value, headers=outcome.headers))
    assert (facts.source, facts.id, facts.deadline_ms) == (Source("requests", 0, 7), 3, 1_800_000_000_000)
    assert (facts.thresholds, facts.agent, facts.remote, facts.reason) == ("t1", "local", None, None)
    assert facts.local is not None
    assert (facts.local.prediction, facts.local.score, facts.local.threshold) == (0.25, 0.25, 0.5)
    assert (facts.local.trusted, facts.local.model, facts.local.latency_ms) == (False, "small@1", 250.0)


async def test_facts_say_when_it_was_requested_and_of_which_topic(make: Make) -> None:
    local = make()
    local.reads(0, "Zm9v")
    outcomes = await local.decide([request(0.25), Record(b"no json"), request("no number")])
    assert [outcome.to for outcome in outcomes] == ["doubtful", "fallback", "fallback"]
    for outcome in outcomes:
        facts = decode_facts(Record(outcome.value, headers=outcome.headers, timestamp=1))
        assert (facts.requested_ms, facts.topic_id) == (request(1).timestamp, "Zm9v")


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
async def test_an_answer_without_a_score_is_doubtful(make: Make, score: float | None) -> None:
    [outcome] = await make(lambda inputs: [("a", score)]).decide([request(1)])
    assert outcome.to == "doubtful"
    facts = decode_facts(Record(outcome.value, headers=outcome.headers))
    assert facts.local is not None
    assert facts.local.score is None


async def test_what_cannot_be_parsed_falls_back_and_the_rest_is_predicted_in_one_batch(make: Make) -> None:
    batches: list[list[Any]] = []

    def call(inputs: list[Any]) -> list[tuple[Any, Any]]:
        batches.append(inputs)
        return says(inputs)

    records = [request(0.9, 0), Record(b"{no json", 1), request(0.1, 2), Record(None, 3), request(0.8, 4)]
    outcomes = await make(call).decide(records)
    assert [outcome.to for outcome in outcomes] == ["results", "fallback", "doubtful", "fallback", "results"]
    assert batches == [[0.9, 0.1, 0.8]]
    assert [outcome.value for outcome in outcomes[1:4]] == [record.value for record in records[1:4]]
    assert [dict(outcome.headers).get(REASON_HEADER) for outcome in outcomes if outcome.to == "fallback"] == [
        b"invalid_request"
    ] * 2


async def test_a_batch_of_nothing_to_predict_asks_no_model(make: Make) -> None:
    def call(inputs: list[Any]) -> Any:
        raise AssertionError("asked")

    outcomes = await make(call).decide([Record(b"[]", 0), Record(b"1", 1)])
    assert [outcome.to for outcome in outcomes] == ["fallback", "fallback"]


async def test_the_model_runs_in_one_thread_beside_the_event_loop(make: Make) -> None:
    names: set[str] = set()

    def call(inputs: list[Any]) -> list[tuple[Any, Any]]:
        names.add(threading.current_thread().name)
        return says(inputs)

    local = make(call)
    await asyncio.gather(*(local.decide([request(1)]) for _ in range(5)))
    assert names == {"inference_0"}


async def test_what_the_model_raises_passes_through(make: Make) -> None:
    def call(inputs: list[Any]) -> Any:
        raise TimeoutError("the user's own, not ours")  # must not be taken for a hang

    with pytest.raises(TimeoutError, match="the user's own"):
        await make(call).decide([request(1)])


async def test_too_few_answers_leave_the_batch_without_outcomes(make: Make) -> None:
    with pytest.raises(ModelError, match="0 answers to 2 inputs"):
        await make(lambda inputs: says(inputs[:0])).decide([request(1), request(1)])


async def test_inputs_that_the_model_fails_on_fall_back_alone(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def call(inputs: list[Any]) -> list[tuple[Any, Any]]:
        asked.append(len(inputs))
        return says([float(value) for value in inputs])

    records = [request("x" if number in (3, 4, 40) else 0.75, offset=number) for number in range(64)]
    outcomes = await make(call).decide(records)
    assert [n for n, outcome in enumerate(outcomes) if outcome.to == "fallback"] == [3, 4, 40]
    fallen = outcomes[3]
    assert (fallen.value, dict(fallen.headers)[REASON_HEADER]) == (records[3].value, b"model_error")
    facts = decode_facts(Record(b"", headers=list(fallen.headers)))
    assert (facts.source, facts.agent) == (Source("requests", 0, 3), "local")
    assert "could not convert string to float" in (facts.detail or "")
    assert len(asked) <= 1 + 3 * 2 * 6, "in halves, not one by one"
    [line] = [line for line in caplog.records if getattr(line, "action", "") == "model_failed"]
    assert line.getMessage().startswith("the model fails on 3 of 64 inputs")


async def test_an_answer_that_cannot_be_written_down_falls_back_alone(make: Make) -> None:
    outcomes = await make(lambda inputs: [("\ud800" if value else "fine", 0.75) for value in inputs]).decide(
        [request(0), request(1)]
    )
    assert [outcome.to for outcome in outcomes] == ["results", "fallback"]


async def test_a_model_that_hangs_is_reported(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    release, hung = threading.Event(), []

    def call(inputs: list[Any]) -> list[tuple[Any, Any]]:
        release.wait()
        return says(inputs)

    local = make(call, timeout_s=0.0, on_hang=lambda: hung.append(True))
    try:
        with pytest.raises(ModelError, match="has not answered 2 inputs within 0 s"):
            await local.decide([request(1), request(1)])
    finally:
        release.set()
    assert hung == [True]
    [line] = [line for line in caplog.records if getattr(line, "action", "") == "inference_hung"]
    assert line.levelno == logging.CRITICAL


async def test_warm_up_predicts_once_and_nothing_for_nothing(make: Make) -> None:
    batches: list[Sequence[Any]] = []

    def call(inputs: list[Any]) -> list[tuple[Any, Any]]:
        batches.append(inputs)
        return says(inputs)

    local = make(call)
    await local.warm_up([])
    await local.warm_up([1, 2])
    assert batches == [[1, 2]]


async def test_a_replayed_record_is_known_by_its_new_place(make: Make) -> None:
    [first] = await make().decide([request(0.1, offset=1)])
    replayed = Record(first.value, offset=9, headers=first.headers)
    [again] = await make().decide([replayed])
    assert [name for name, _ in again.headers] == ["bisupervised"]
    assert decode_facts(Record(again.value, headers=again.headers)).source.offset == 9


async def test_what_is_made_of_an_event_is_no_work_for_the_garbage_collector(make: Make) -> None:
    """Thousands of them are in a window."""
    [outcome] = await make().decide([request(0.75)])
    assert not gc.is_tracked(outcome)
    assert not gc.is_tracked(outcome.about)
    assert not gc.is_tracked(Answer("a", 0.5))


async def test_it_learns_how_much_it_can_answer_in_good_time(make: Make) -> None:
    """Sixteen inputs took four seconds, and a batch should take one."""
    local = make(ticks=iter([0.0, 4.0]))
    await local.decide([request(0.75, offset=n) for n in range(16)])
    assert local.appetite.inputs == 4


async def test_an_answer_that_cannot_be_written_falls_back_and_its_neighbours_do_not(make: Make) -> None:
    """All results of a batch are written in one go: which of them fails is found record by record."""

    def call(inputs: list[Any]) -> list[tuple[Any, Any]]:
        return [("\ud800" if said == 2 else said, 0.9) for said in inputs]

    outcomes = await make(call).decide([request(1), request(2), request(3)])
    assert [outcome.to for outcome in outcomes] == ["results", "fallback", "results"]
    assert dict(outcomes[1].headers)[REASON_HEADER] == b"model_error"
