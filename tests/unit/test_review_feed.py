"""Which records of the topics become inputs to label, and which labels count as votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from bisupervised.agents.auditing.matching import exact
from bisupervised.schemas.audits import Audit, Label, audit_record, audit_without_value, encode_label
from bisupervised.schemas.codec import fall_back, without_value
from bisupervised.schemas.records import Facts, Outgoing, Source, Verdict
from bisupervised.streams.review.feed import Feed
from bisupervised.streams.review.queue import Place, Policy, Queue
from bisupervised.streams.settings.tables import Settings
from support.review import KEEP_MS, LEASE_S, NOW_MS

SETTINGS = Settings.model_validate(
    {
        "name": "shop",
        "local": {"model": "a:b", "threshold": 0.5},
        "remote": {"url": "http://127.0.0.1:1", "model": "m", "threshold": 0.5},
        "audit": {"share": 0.1, "secret": "s"},
    }
)
SOURCE = Source("requests", 0, 7)
FACTS = Facts(SOURCE, local=Verdict("cat", 0.9), remote=Verdict("dog", 0.2), thresholds="1")
AUDIT = Audit("shop", "trusted", 0.1, "local")


@dataclass
class Record:
    """As aiokafka gives it."""

    value: bytes | None = b'{"input":1}'
    headers: Any = ()
    topic: str = "requests"
    partition: int = 0
    offset: int = 7
    timestamp: int = NOW_MS
    key: bytes | None = None


def written(outgoing: Outgoing) -> Record:
    return Record(outgoing.value, outgoing.headers, topic="audits", offset=3)


LABELLED = Settings.model_validate(
    {
        **SETTINGS.model_dump(exclude_unset=True),
        "local": {"model": "a:b", "threshold": 0.5, "labels": ["cat", "dog"]},
        "audit": {"share": 0.1, "secret": "s"},
        "review": {"classes": ["cat", "dog", "neither"]},
    }
)


def fed(*records: Record, fallback: bool = False) -> Queue:
    queue = Queue(Policy(KEEP_MS, LEASE_S), exact)
    feed = Feed(SETTINGS, queue, fallback=fallback)
    for record in records:
        feed._takes["fallback" if fallback else "audits"](record)
    return queue


def label(**changed: Any) -> Record:
    made = msgspec.structs.replace(Label("requests-0-7", "cat", "ann", second_look=True), **changed)
    return Record(encode_label(made), topic="labels", offset=0)


def test_a_drawn_request_waits_where_its_record_lies() -> None:
    queue = fed(written(audit_record(Record(), FACTS, AUDIT)))
    found = queue.next("ann", 0.0)
    assert found is not None
    assert found.place == Place("audits", 0, 3)
    assert (found.drawn.source, found.drawn.local, found.drawn.at_ms) == ("requests-0-7", ("cat",), NOW_MS)


@pytest.mark.parametrize(
    "changed", [{"pipeline": "another"}, {"label": False}], ids=["of another pipeline", "drawn for both models alone"]
)
def test_what_wants_no_label_from_us_does_not_wait(changed: dict[str, Any]) -> None:
    assert len(fed(written(audit_record(Record(), FACTS, msgspec.structs.replace(AUDIT, **changed))))) == 0


def test_what_holds_no_input_or_was_judged_by_no_thresholds_does_not_wait() -> None:
    unjudged = msgspec.structs.replace(FACTS, thresholds="")
    assert len(fed(written(audit_record(Record(), unjudged, AUDIT)))) == 0
    assert len(fed(written(audit_without_value(FACTS, AUDIT, "too large")))) == 0
    assert len(fed(Record(headers=[("bisupervised-audit", b"{")]), Record(headers=[]))) == 0


def test_a_fallback_record_waits_until_somebody_has_labelled_it() -> None:
    fallen = fall_back(Record(), FACTS, "remote_error", "it is down", "remote")
    queue = fed(written(fallen), fallback=True)
    assert len(queue) == 1
    feed = Feed(SETTINGS, queue, fallback=True)
    feed._takes["labels"](label(truth="anything"))
    assert len(queue) == 0


@pytest.mark.parametrize("reason", ["low_confidence", "no_confidence"])
def test_a_rejected_answer_that_was_right_is_looked_at_again_in_the_fallback_as_well(reason: Any) -> None:
    fallen = fall_back(Record(), FACTS, reason, "", "remote_supervisor")
    for truth, waits in (("cat", 0), ("dog", 1)):
        queue = fed(written(fallen), fallback=True)
        Feed(SETTINGS, queue, fallback=True)._takes["labels"](label(truth=truth))
        assert len(queue) == waits


def test_fallback_records_without_an_input_are_left_out() -> None:
    assert len(fed(written(fall_back(Record(), FACTS, "invalid_request", "", "local")), fallback=True)) == 0
    assert len(fed(written(without_value(Record(), FACTS, "too large", "local")), fallback=True)) == 0
    assert len(fed(Record(value=None), Record(headers=[("bisupervised", b"{")]), fallback=True)) == 0


def test_labels_that_are_none_are_passed_over() -> None:
    queue = fed(written(audit_record(Record(), FACTS, AUDIT)))
    take = Feed(SETTINGS, queue, fallback=False)._takes["labels"]
    for bad in (label(source="nonsense"), label(by=""), Record(b"{"), Record(None), Record(b'{"v":9}')):
        take(bad)
    assert len(queue) == 1
    take(label(source="requests-0-07"))
    assert len(queue) == 0, "the same request, written otherwise"


def test_a_label_that_there_is_not_decides_nothing() -> None:
    queue = fed(written(audit_record(Record(), FACTS, AUDIT)))
    take = Feed(LABELLED, queue, fallback=False)._takes["labels"]
    take(label(truth="cta"))
    assert len(queue) == 1
    take(label(truth="neither", second_look=False))
    assert len(queue) == 0
