from __future__ import annotations

from typing import Any

from bisupervised.schemas.codec import fall_back, forward, publish
from bisupervised.schemas.records import Facts, Result, Source, Verdict
from bisupervised.streams.sandbox.end_to_end import Downstream
from bisupervised.streams.sandbox.outcomes import Delivery, MeterReading, Outcome, from_fallback, from_result, match
from support.records import Record, request

SOURCE = Source("requests", 0, 7)


def sent(outcome: Any) -> Record:
    """What is written to a topic, as its reader gets it."""
    return Record(outcome.value, key=outcome.key, headers=outcome.headers)


def test_the_first_outcome_of_an_event_moves_the_clock_and_all_are_kept() -> None:
    downstream = Downstream(at=0.0)
    downstream.take(Outcome("a", "local"))
    first = downstream.at
    assert first > 0
    downstream.take(Outcome("a", None))
    assert downstream.at == first
    assert len(downstream.outcomes) == 2


def test_an_outcome_from_a_result() -> None:
    result = Result(SOURCE, 7, "remote", 0.9, 0.5, cost=0.002)
    assert from_result(sent(publish(request([1.0]), result))) == Outcome("key", "remote", 7, 0.9, cost=0.002)


def test_an_outcome_from_a_fallback_record() -> None:
    facts = Facts(SOURCE, remote=Verdict("7", 0.1, cost=0.002))
    answered = Record(b"{}", headers=forward(request([1.0]), "answers", facts).headers)
    for record in (request([1.0]), answered):
        read = from_fallback(sent(fall_back(record, facts, "low_confidence", "below", "remote_supervisor")))
        assert read == Outcome("key", None, "7", 0.1, "low_confidence", 0.002)


def test_an_outcome_that_was_never_sent_to_the_remote_is_free() -> None:
    record = fall_back(request([1.0]), Facts(SOURCE), "invalid_request", "no", "local")
    assert from_fallback(sent(record)) == Outcome("key", None, reason="invalid_request", cost=0.0)


def test_outcomes_are_matched_with_events() -> None:
    first, second, strange = Outcome("a", "local", 1), Outcome("a", None), Outcome("z", "local")
    matched = match({"a", "b"}, [first, second, strange])
    assert matched == Delivery({"a": first}, lost=1, duplicated=1, unknown=1)
    assert not matched.exactly_once
    assert match({"a"}, [first]).exactly_once


def test_a_bill_begins_where_the_run_begins() -> None:
    """The same server may have been asked for the thresholds."""
    assert MeterReading(500, 7, 1.0).since(MeterReading(300, 2, 0.75)) == MeterReading(200, 5, 0.25)
