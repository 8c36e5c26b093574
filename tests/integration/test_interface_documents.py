"""What the pipeline writes is what its interface documents say, read off the topics of real runs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER
from jsonschema import ValidationError
from support.interface import Interface
from support.models import RAISES
from support.pipeline import Pipeline, Sent, Setup, check_exactly_once, mixed, request
from support.records import Record

TRACE = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
OWN = ("mine", b"\x00\xff raw")
ROLES = ("requests", "doubtful", "answers", "results", "fallback")


def check_all(pipeline: Pipeline) -> Counter[str]:
    """Hold every record of the four topics we write to the documents. Returns how many each has."""
    interface = Interface(pipeline.settings)
    counted: Counter[str] = Counter()
    for role in ROLES[1:]:
        for record in pipeline.records(role):
            interface.check(role, record)
            counted[role] += 1
    return counted


def test_every_kind_of_record_is_what_the_documents_say(setup: Setup) -> None:
    _, pipeline = setup(partitions=1)
    pipeline.alter("doubtful", max_message_bytes="20000")
    kinds = [
        request(1, local=0.95)._replace(headers=[TRACE, OWN]),
        request(2)._replace(headers=[TRACE, OWN], key=None),
        request(3, remote=0.4)._replace(headers=[OWN]),
        request(4, deadline_ms=1_700_000_000_000),
        request(5)._replace(headers=[("bisupervised-deadline-ms", b"1700000000000")]),
        request(6)._replace(headers=[("bisupervised-deadline-ms", b"soon")]),
        request(7, padding="x" * 30_000),
        request(8, mark=RAISES),
        Sent(b"\x00\xfe not json", b"\xff"),
        Sent(None, b"tombstone"),
    ]
    sent = pipeline.send(kinds)
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    told = {outcome.place: outcome.kind for outcome in outcomes}
    assert [told[record.place] for record in sent] == [
        "local",
        "remote",
        "low_confidence",
        "timeout",
        "timeout",
        "invalid_request",
        "too_large",
        "model_error",
        "invalid_request",
        "invalid_request",
    ]
    assert check_all(pipeline) == {"doubtful": 4, "answers": 2, "results": 2, "fallback": 8}


@pytest.mark.parametrize("while_open", ["fallback", "accept_local"])
def test_what_a_remote_that_is_down_leaves_is_what_the_documents_say(setup: Setup, while_open: str) -> None:
    """Its calls are on the bill of a fallback; a degraded result says that nobody trusted it."""
    remote, pipeline = setup(remote={"tries": 2, "while_open": while_open, "breaker_failures": 2})
    remote.refusal = (500, {})
    sent = pipeline.send(mixed(30))
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    untrusted = [outcome for outcome in outcomes if outcome.result is not None and not outcome.result.trusted]
    failed = [outcome for outcome in outcomes if outcome.kind == "remote_error"]
    assert bool(untrusted) == (while_open == "accept_local")
    assert bool(failed) == (while_open == "fallback")
    counted = check_all(pipeline)
    assert counted["results"] + counted["fallback"] == 30


def test_a_hundred_of_each_and_the_requests_themselves(setup: Setup) -> None:
    _, pipeline = setup()
    sent = pipeline.send(mixed(300))
    pipeline.worker()
    pipeline.settle(sent)
    assert check_all(pipeline) == {"doubtful": 200, "answers": 200, "results": 200, "fallback": 100}
    interface = Interface(pipeline.settings)
    for record in pipeline.records("requests"):
        interface.check("requests", record)


def spoiled(record: Any, **changes: Any) -> Record:
    fields = {"headers": list(record.headers), "value": record.value} | changes
    return Record(fields["value"], headers=fields["headers"])


def test_what_is_not_as_the_documents_say_is_found(setup: Setup) -> None:
    """The checks above do look: real records, each spoiled a little, are refused."""
    _, pipeline = setup(partitions=1)
    sent = pipeline.send(mixed(3))
    pipeline.worker()
    pipeline.settle(sent)
    interface = Interface(pipeline.settings)
    (result, _), (fallen,) = pipeline.records("results"), pipeline.records("fallback")
    value = orjson.loads(result.value)
    without_reason = [pair for pair in fallen.headers if pair[0] != REASON_HEADER]
    other_facts = [pair for pair in fallen.headers if pair[0] != FACTS_HEADER]
    bad = [
        ("results", spoiled(result, value=orjson.dumps(value | {"score": "high"}))),
        ("results", spoiled(result, headers=[OWN])),
        ("fallback", spoiled(fallen, headers=without_reason)),
        ("fallback", spoiled(fallen, headers=[*without_reason, (REASON_HEADER, b"bad luck")])),
        ("fallback", spoiled(fallen, headers=other_facts)),
        ("fallback", spoiled(fallen, headers=[*other_facts, (FACTS_HEADER, b"{}")])),
    ]
    for role, record in bad:
        with pytest.raises(ValidationError):
            interface.check(role, record)
