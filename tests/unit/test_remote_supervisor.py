from __future__ import annotations

import math

import pytest
from bisupervised.agents.remote_supervisor import RemoteSupervisor
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.codec import decode_facts, decode_result, encode_facts
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER, Facts, Outgoing, Source, Verdict
from support.records import Record

LOCAL = Verdict(3, 0.4, 0.5, model="small@1", latency_ms=1.5)
TRACE = ("traceparent", b"00-1-2-01")


def answer(score: float | None, offset: int = 7) -> Record:
    remote = Verdict("cat", score, model="big@7", latency_ms=250.0, cost=2.0, calls=3)
    facts = Facts(Source("requests", 0, offset), id="mine", local=LOCAL, remote=remote, agent="remote")
    headers = [TRACE, ("other", b"x"), (FACTS_HEADER, encode_facts(facts))]
    return Record(b'{ "input": 1 }', offset, topic="answers", headers=headers)


def judge(*records: Record) -> list[Outgoing]:
    return RemoteSupervisor(Supervisor("max_softmax", 0.8), thresholds_version="t1").judge(records)


def facts_in(outcome: Outgoing) -> Facts:
    return decode_facts(Record(outcome.value, headers=outcome.headers))


@pytest.mark.parametrize("score", [0.8, 0.95])
def test_a_trusted_answer_is_a_result_with_both_verdicts(score: float) -> None:
    record = answer(score)
    [outcome] = judge(record)
    assert (outcome.to, outcome.key, outcome.timestamp) == ("results", record.key, record.timestamp)
    assert list(outcome.headers) == [TRACE]
    result = decode_result(outcome.value or b"")
    assert (result.source, result.id, result.answered_by) == (Source("requests", 0, 7), "mine", "remote")
    assert (result.prediction, result.score, result.threshold) == ("cat", score, 0.8)
    assert (result.supervisor, result.model, result.thresholds) == ("max_softmax", "big@7", "t1")
    assert (result.requested_ms, result.latency_ms, result.cost) == (record.timestamp, 250.0, 2.0)
    assert (result.trusted, result.local) == (True, LOCAL)


def test_a_score_below_the_threshold_is_rejected_with_all_that_is_known() -> None:
    score = math.nextafter(0.8, 0.0)
    record = answer(score)
    [outcome] = judge(record)
    assert (outcome.to, outcome.value) == ("fallback", record.value)
    assert dict(outcome.headers)[REASON_HEADER] == b"low_confidence"
    facts = facts_in(outcome)
    assert (facts.reason, facts.local, facts.thresholds, facts.agent) == (
        "low_confidence",
        LOCAL,
        "t1",
        "remote_supervisor",
    )
    assert facts.remote == Verdict(
        "cat", score, 0.8, supervisor="max_softmax", model="big@7", latency_ms=250.0, cost=2.0, calls=3
    )


def test_a_missing_score_is_a_reason_of_its_own_and_never_one() -> None:
    [outcome] = judge(answer(None))
    assert dict(outcome.headers)[REASON_HEADER] == b"no_confidence"
    facts = facts_in(outcome)
    assert facts.remote is not None
    assert (facts.remote.score, facts.remote.threshold, facts.remote.trusted) == (None, 0.8, False)


def test_records_that_hold_no_answer_fall_back_and_the_rest_go_on() -> None:
    unanswered = Facts(Source("requests", 0, 5), local=LOCAL)
    records = [
        answer(0.9, 1),
        Record(b"1", 2, headers=[(FACTS_HEADER, b'{"source"')]),
        Record(b"2", 3),
        Record(b"3", 4, headers=[(FACTS_HEADER, encode_facts(unanswered))]),
        answer(0.1, 6),
    ]
    outcomes = judge(*records)
    reasons = [dict(outcome.headers).get(REASON_HEADER) for outcome in outcomes]
    assert reasons == [None, b"invalid_request", b"invalid_request", b"invalid_request", b"low_confidence"]
    assert [outcome.value for outcome in outcomes[1:]] == [record.value for record in records[1:]]
    assert facts_in(outcomes[3]).local == LOCAL


def test_an_answer_can_be_judged_again_from_its_fallback() -> None:
    [rejected] = judge(answer(0.7))
    replayed = Record(rejected.value, key=rejected.key, headers=rejected.headers)
    [again] = RemoteSupervisor(Supervisor("max_softmax", 0.6), thresholds_version="t2").judge([replayed])
    assert again.to == "results"
    assert decode_result(again.value or b"").source == Source("requests", 0, 7)
