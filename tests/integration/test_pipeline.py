"""The main job, from requests to results and fallback."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from bisupervised.schemas.codec import decode_facts, header
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER
from support.pipeline import Pipeline, Setup, check_exactly_once, check_kinds, mixed, request

pytestmark = pytest.mark.fresh

TRACE = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
OWN = ("mine", b"\x00\xff raw")


@pytest.mark.parametrize(
    ("delivery", "ordering"), [("exactly_once", "key"), ("exactly_once", "none"), ("at_least_once", "key")]
)
def test_every_input_has_one_outcome_and_the_right_one(setup: Setup, delivery: str, ordering: str) -> None:
    remote, pipeline = setup(stream={"delivery": delivery, "ordering": ordering})
    sent = pipeline.send(mixed(600))
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)  # nothing went wrong, so at least once is once, too
    check_kinds(sent, outcomes)
    assert remote.calls >= 400 / 8
    assert len(pipeline.records("doubtful")) == len(pipeline.records("answers")) == 400


def near(value: float) -> Any:
    """About this number, for comparisons inside tuples."""
    return pytest.approx(value)


def test_what_a_result_says(setup: Setup) -> None:
    _, pipeline = setup()
    sure = request(2, local=0.95)._replace(headers=[TRACE, OWN], timestamp=1_700_000_000_123)
    doubtful = request(3)._replace(headers=[TRACE, OWN], timestamp=1_700_000_000_456)
    sent = pipeline.send([sure, doubtful])
    pipeline.worker()
    outcomes = {outcome.place: outcome for outcome in pipeline.settle(sent)}
    local, remote = (outcomes[record.place] for record in sent)
    assert (local.record.key, local.record.timestamp, list(local.record.headers)) == (
        sure.key,
        1_700_000_000_123,
        [TRACE],
    )
    assert (remote.record.key, list(remote.record.headers)) == (doubtful.key, [TRACE])
    said, answered = local.result, remote.result
    assert said is not None
    assert answered is not None
    assert (said.answered_by, said.prediction, said.id, said.model) == ("local", 2, 2, "support.models:steady@3")
    assert (said.score, said.threshold, said.thresholds) == (near(0.95), 0.8, "calibrated")
    assert (said.requested_ms, said.cost, said.trusted) == (1_700_000_000_123, 0.0, True)
    assert said.source.topic == pipeline.topic("requests")
    assert (answered.answered_by, answered.prediction, answered.id) == ("remote", 3, 3)
    assert (answered.score, answered.threshold, answered.cost) == (near(0.9), 0.7, 0.5)
    assert answered.model == "big@7"
    assert answered.local is not None
    assert (answered.local.prediction, answered.local.score, answered.local.threshold) == (3, near(0.5), 0.8)
    assert answered.latency_ms > 0


def test_a_fallback_record_is_the_request_with_all_that_was_learned(setup: Setup) -> None:
    _, pipeline = setup()
    spaced = b'{ "input":[1, 0.5,0.40, 0], "unused": "\\u00e9", "id":"a" }'
    asked = request(0)._replace(value=spaced, key=b"\x00key", headers=[TRACE, OWN], timestamp=1_700_000_000_789)
    (sent,) = pipeline.send([asked])
    pipeline.worker()
    (outcome,) = pipeline.settle([sent])
    record = outcome.record
    assert (record.value, record.key) == (spaced, b"\x00key")
    assert record.timestamp > 1_700_000_000_789, "it waits since now; its request's time is in the facts"
    kept = [pair for pair in record.headers if pair[0] not in (FACTS_HEADER, REASON_HEADER)]
    assert kept == [TRACE, OWN]
    assert header(record.headers, REASON_HEADER) == b"low_confidence"
    facts = outcome.facts
    assert facts is not None
    assert facts.requested_ms == 1_700_000_000_789
    assert len(facts.topic_id) == 32
    assert (facts.reason, facts.agent, facts.id, facts.thresholds) == (
        "low_confidence",
        "remote_supervisor",
        "a",
        "calibrated",
    )
    assert facts.local is not None
    assert facts.remote is not None
    assert (facts.local.prediction, facts.local.trusted) == (1, False)
    assert (facts.remote.score, facts.remote.threshold, facts.remote.calls) == (near(0.4), 0.7, 1)


def test_the_facts_grow_on_the_way_and_the_rest_stays(setup: Setup) -> None:
    _, pipeline = setup()
    (sent,) = pipeline.send([request(1)._replace(headers=[OWN], timestamp=1_700_000_000_001)])
    pipeline.worker()
    pipeline.settle([sent])
    (doubtful,), (answer,) = pipeline.records("doubtful"), pipeline.records("answers")
    for record in (doubtful, answer):
        assert (record.value, record.key) == (sent.value, sent.key)
        assert decode_facts(record).requested_ms == 1_700_000_000_001
        assert record.headers[0] == OWN
        assert [name for name, _ in record.headers] == ["mine", FACTS_HEADER]
        assert (record.partition, decode_facts(record).source.offset) == (sent.partition, sent.offset)
    first, second = decode_facts(doubtful), decode_facts(answer)
    assert (first.agent, first.remote, second.agent) == ("local", None, "remote")
    assert second.local == first.local
    assert second.remote is not None
    assert (second.remote.prediction, second.remote.threshold, second.remote.trusted) == (1, None, False)


def test_outcomes_of_a_key_keep_its_order(setup: Setup) -> None:
    """Per writing agent and output topic, while calls run beside each other and end in any order."""
    remote, pipeline = setup(remote={"batch_size": 1, "in_flight": 16})
    remote.delay_s = 0.02
    remote.jitter_s = 0.1
    sent = pipeline.send([request(number) for number in range(150)])
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert remote.most_under_way > 4
    assert _out_of_order(pipeline) == 0


def _out_of_order(pipeline: Pipeline) -> int:
    last: dict[bytes, int] = defaultdict(lambda: -1)
    faults = 0
    for record in pipeline.records("answers"):
        offset = decode_facts(record).source.offset
        faults += offset < last[record.key]
        last[record.key] = offset
    return faults
