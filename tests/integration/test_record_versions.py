"""Workers of two neighbouring record versions share the topics; one farther away leaves records to whom can read them.

The neighbour is the worker of `support.later_version`: a real process whose
records say the next version and have a field more, and which reads what the present one writes as its predecessor's.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from bisupervised.schemas.codec import decode_facts, decode_result
from bisupervised.schemas.records import FACTS_HEADER, VERSION
from support.interface import Interface
from support.pipeline import Pipeline, Setup, Worker, check_exactly_once, check_kinds, mixed, request, wait_until

#: the neighbour replaces the records before anything else has read them
pytestmark = pytest.mark.fresh

NOW, NEXT, AFTER = VERSION, VERSION + 1, VERSION + 2
ADDED = "added"


def worker_of(version: int, pipeline: Pipeline, agents: str = "local,remote,remote_supervisor") -> Worker:
    if version == NOW:
        return pipeline.worker(agents)
    command = ["support.later_version", "worker", "--config", str(pipeline.config), "--agents", agents]
    return pipeline.start(command, {"RECORD_VERSION": str(version)})


def document(record: Any) -> Any:
    return orjson.loads(dict(record.headers)[FACTS_HEADER])


def versions(pipeline: Pipeline, role: str) -> set[tuple[int, bool]]:
    """The versions of the records of a topic, and whether they have the field that is new."""
    records = pipeline.records(role)
    found = [orjson.loads(record.value) if role == "results" else document(record) for record in records]
    return {(facts["v"], ADDED in facts) for facts in found}


@pytest.mark.parametrize(("of_remote", "of_others"), [(NEXT, NOW), (NOW, NEXT)])
def test_each_reads_what_its_neighbour_wrote(setup: Setup, of_remote: int, of_others: int) -> None:
    """The remote agent of one version between the two others of the other: both directions on both internal topics."""
    _, pipeline = setup()
    sent = pipeline.send(mixed(120))
    worker_of(of_others, pipeline, "local,remote_supervisor")
    worker_of(of_remote, pipeline, "remote")
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)
    assert versions(pipeline, "answers") == {(of_remote, of_remote == NEXT)}
    for role in ("doubtful", "results", "fallback"):
        assert versions(pipeline, role) == {(of_others, of_others == NEXT)}


def test_a_rolling_upgrade_and_its_way_back_lose_and_repeat_nothing(setup: Setup) -> None:
    """Both versions in the same groups, while records flow; then one is replaced by the other, and back again."""
    remote, pipeline = setup(partitions=4)
    remote.delay_s = 0.05
    old = worker_of(NOW, pipeline)
    old.wait_for("partition_acquired", 12)
    sent = pipeline.send(mixed(300))
    new = worker_of(NEXT, pipeline)
    new.wait_for("partition_acquired", 6)
    sent += pipeline.send(mixed(300))
    pipeline.wait_for_outcomes(sent)
    assert old.stop() == 0
    sent += pipeline.send(mixed(300))
    pipeline.wait_for_outcomes(sent)
    again = worker_of(NOW, pipeline)
    again.wait_for("partition_acquired", 6)
    sent += pipeline.send(mixed(300))
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)
    for role in ("doubtful", "answers", "results"):
        assert versions(pipeline, role) == {(NOW, False), (NEXT, True)}


def test_readers_and_documents_of_this_version_take_the_records_of_the_next(setup: Setup) -> None:
    _, pipeline = setup()
    sent = pipeline.send(mixed(30))
    worker_of(NEXT, pipeline)
    pipeline.settle(sent)
    interface = Interface(pipeline.settings)
    for role in ("doubtful", "answers", "results", "fallback"):
        for record in pipeline.records(role):
            interface.check(role, record)
    assert {decode_result(record.value).v for record in pipeline.records("results")} == {NEXT}
    assert {decode_facts(record).v for record in pipeline.records("fallback")} == {NEXT}


def test_a_version_beyond_the_neighbour_is_refused_loudly_and_nothing_is_lost(setup: Setup) -> None:
    """A version is skipped: the old worker stops before the first record it cannot read, and the next one goes on."""
    remote, pipeline = setup(partitions=1)
    first = pipeline.send([request(n) for n in range(10)])
    old = worker_of(NOW, pipeline)
    pipeline.wait_for_outcomes(first)
    assert old.stop() == 0
    skipped = pipeline.send([request(n) for n in range(10, 30)])
    ahead = worker_of(AFTER, pipeline, "local")
    wait_until(lambda: len(pipeline.records("doubtful")) == 30, "the doubtful records", explain=ahead.tail)
    assert ahead.stop() == 0
    calls = remote.calls
    place = next(record.offset for record in pipeline.records("doubtful") if document(record)["v"] == AFTER)
    old = worker_of(NOW, pipeline)
    old.wait_for("partition_stopped")
    (told,) = [line for line in old.told() if line.get("action") == "partition_stopped"]
    assert told["level"] == "CRITICAL"
    said = f"offset {place}: the record is of version {AFTER}, and this worker reads {NOW} and its neighbours"
    assert said in told["message"]
    assert old.stop() == 0
    stored = pipeline.committed("remote", "doubtful", 0)
    assert stored is not None
    assert stored.offset <= place, "not passed over"
    assert (len(pipeline.outcomes()), remote.calls) == (10, calls), "and not paid for"
    worker_of(NEXT, pipeline)
    outcomes = pipeline.settle(skipped)
    check_exactly_once([*first, *skipped], outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}
