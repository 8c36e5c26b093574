from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from bisupervised.agents.remote_supervisor import RemoteSupervisor
from bisupervised.agents.supervision.arbitration import arbitrate, estimate_recording, judged
from bisupervised.agents.supervision.joint import JointModel, fit_joint
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.audits import facts_of_result, judged_by
from bisupervised.schemas.codec import decode_facts, decode_result, encode_facts
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER, Facts, Outgoing, Source, Verdict
from support.records import Record
from support.two_models import two_models

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


RECORDED = two_models(600)


@pytest.fixture(scope="module")
def model() -> JointModel:
    return fit_joint(two_models(600, seed=1))


def pair(local: Verdict | None, remote: Verdict, offset: int = 7) -> Record:
    facts = Facts(Source("requests", 0, offset), local=local, remote=remote)
    return Record(b"1", offset, topic="answers", headers=[(FACTS_HEADER, encode_facts(facts))])


def recorded(n: int) -> Record:
    """Input n of the recording, as it arrives in the stream."""
    sides = (RECORDED.local, RECORDED.remote)
    assert all(side.predictions is not None for side in sides)
    local, remote = (
        Verdict(int(side.predictions[n]), float(side.scores[n]))  # type: ignore[index]  # asserted above
        for side in sides
    )
    return pair(local, remote, n)


@pytest.mark.parametrize(("name", "arbitration"), [("joint", False), ("joint", True), ("max_softmax", True)])
def test_every_decision_is_the_one_made_offline(model: JointModel, name: str, arbitration: bool) -> None:
    estimates = estimate_recording(model, RECORDED)
    offline = judged(RECORDED, estimates, joint=name == "joint", arbitration=arbitration)
    threshold = float(np.median(offline.remote.scores))  # one of the scores: a lost bit would flip a decision
    supervisor = Supervisor(name, threshold)
    stream = RemoteSupervisor(supervisor, thresholds_version="t1", joint=model, arbitration=arbitration)
    outcomes = stream.judge([recorded(n) for n in range(len(RECORDED))])
    trusted = supervisor.trusted(offline.remote.scores)
    assert [outcome.to == "results" for outcome in outcomes] == trusted.tolist()
    local = arbitrate(estimates).local & arbitration
    assert offline.remote.predictions is not None
    for n in np.flatnonzero(trusted):
        result = decode_result(outcomes[n].value or b"")
        assert (result.prediction, result.score) == (offline.remote.predictions[n], offline.remote.scores[n])
        assert (result.answered_by, result.arbitrated) == (("local", True) if local[n] else ("remote", False))


def judge_jointly(model: JointModel, record: Record, threshold: float, **options: Any) -> Outgoing:
    supervisor = Supervisor(options.pop("name", "joint"), threshold)
    [outcome] = RemoteSupervisor(supervisor, thresholds_version="t1", joint=model, **options).judge([record])
    return outcome


SURE = Verdict(3, 0.99, 0.995, supervisor="max_softmax", model="small@1", latency_ms=1.5)
UNSURE = Verdict(4, 0.55, model="big@7", latency_ms=250.0, cost=2.0, calls=1)


def test_a_local_answer_taken_after_all_keeps_both_verdicts_and_the_bill(model: JointModel) -> None:
    result = decode_result(judge_jointly(model, pair(SURE, UNSURE), 0.5, arbitration=True).value or b"")
    assert (result.prediction, result.answered_by, result.arbitrated) == (3, "local", True)
    assert (result.local, result.remote) == (SURE, UNSURE)
    assert (result.model, result.latency_ms, result.cost) == ("small@1", 1.5, 2.0)
    assert (result.supervisor, result.threshold) == ("joint", 0.5)
    assert result.score > 0.8


def test_a_joint_rejection_names_its_score_and_keeps_the_remotes_own(model: JointModel) -> None:
    outcome = judge_jointly(model, pair(SURE, UNSURE), 0.5)
    assert dict(outcome.headers)[REASON_HEADER] == b"low_confidence"
    facts = facts_in(outcome)
    score = model.both_correct([0.99], [0.55], [False])[1][0]
    assert facts.detail == f"joint {score:.6g} is below 0.5"
    assert facts.remote is not None
    assert (facts.remote.supervisor, facts.remote.threshold, facts.remote.score) == ("joint", 0.5, 0.55)
    replayed = Record(outcome.value, headers=outcome.headers)
    assert judge_jointly(model, replayed, float(score)).to == "results"


def test_a_rejection_says_where_the_local_answer_was_the_likelier(model: JointModel) -> None:
    facts = facts_in(judge_jointly(model, pair(SURE, UNSURE), 1.1, arbitration=True))
    assert facts.detail is not None
    assert "for the local answer, the likelier one, is below 1.1" in facts.detail


@pytest.mark.parametrize(
    ("local", "remote", "side"),
    [
        (SURE, Verdict(4, None), "remote"),
        (Verdict(3, None), UNSURE, "local model"),
        (None, UNSURE, "local model"),
        (None, Verdict(4, None), "remote"),
    ],
)
def test_without_both_scores_there_is_no_joint_one(
    model: JointModel, local: Verdict | None, remote: Verdict, side: str
) -> None:
    outcome = judge_jointly(model, pair(local, remote), 0.0, arbitration=True)
    assert dict(outcome.headers)[REASON_HEADER] == b"no_confidence"
    assert facts_in(outcome).detail == f"the {side} gave no score for joint"


def test_arbitration_alone_leaves_the_remotes_score_in_charge(model: JointModel) -> None:
    options: dict[str, Any] = {"name": "max_softmax", "arbitration": True}
    result = decode_result(judge_jointly(model, pair(SURE, UNSURE), 0.55, **options).value or b"")
    assert (result.prediction, result.score, result.supervisor) == (3, 0.55, "max_softmax")
    assert judge_jointly(model, pair(SURE, UNSURE), 0.56, **options).to == "fallback"
    unscored = decode_result(judge_jointly(model, pair(None, UNSURE), 0.55, **options).value or b"")
    assert (unscored.prediction, unscored.answered_by) == (4, "remote")


def test_equal_answers_are_the_remotes(model: JointModel) -> None:
    same = pair(Verdict(4, 0.99), UNSURE)
    result = decode_result(judge_jointly(model, same, 0.0, arbitration=True).value or b"")
    assert (result.answered_by, result.arbitrated, result.remote) == ("remote", False, None)


def test_agreement_counts_only_for_a_model_that_was_fitted_on_it() -> None:
    blind = fit_joint(two_models(600, known=False))
    same = pair(Verdict(4, 0.99), UNSURE)
    result = decode_result(judge_jointly(blind, same, 0.0, arbitration=True).value or b"")
    assert result.answered_by == "local"


@pytest.mark.parametrize(("name", "arbitration"), [("joint", False), ("max_softmax", True)])
def test_a_joint_model_is_needed(name: str, arbitration: bool) -> None:
    with pytest.raises(ValueError, match="need a joint model"):
        RemoteSupervisor(Supervisor(name, 0.5), thresholds_version="t1", arbitration=arbitration)


@pytest.mark.parametrize(("score", "topic"), [(0.9, "results"), (0.5, "fallback")])
def test_where_the_version_changed_on_the_way_the_record_names_both(score: float, topic: str) -> None:
    """The first supervisor judged by one, this one judges by another: no one pair of thresholds decided."""
    doubted = answer(score)
    known = msgspec.structs.replace(decode_facts(doubted), thresholds="t0")
    [outcome] = judge(Record(doubted.value, topic="answers", headers=[(FACTS_HEADER, encode_facts(known))]))
    assert outcome.to == topic
    if topic == "results":
        result = decode_result(outcome.value or b"")
        assert result.local is not None
        assert (result.thresholds, result.local.thresholds) == ("t1", "t0")
        facts = facts_of_result(result, known)
    else:
        facts = facts_in(outcome)
    assert judged_by(facts) == "t0, then t1"
    same = msgspec.structs.replace(known, thresholds="t1")
    [outcome] = judge(Record(doubted.value, topic="answers", headers=[(FACTS_HEADER, encode_facts(same))]))
    told = decode_result(outcome.value or b"") if topic == "results" else facts_in(outcome)
    assert told.local == LOCAL
