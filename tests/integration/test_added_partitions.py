"""Partitions are added to topics while workers run: every record gets one outcome, and keys keep their order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support.pipeline import AGENTS, Outcome, Pipeline, Sent, Setup, Worker, check_exactly_once, mixed

ROLES = ("requests", "doubtful", "answers", "results", "fallback")
BEFORE, AFTER = 4, 8


def spread(count: int, partitions: int) -> list[Sent]:
    """Requests of every kind, a key's in one partition."""
    return [
        record._replace(partition=number % partitions, key=b"key-%d" % (number % (2 * partitions)))
        for number, record in enumerate(mixed(count))
    ]


def impatient(pipeline: Pipeline) -> Worker:
    return pipeline.start(["support.impatient_worker", "worker", "--config", str(pipeline.config)])


def check_order(outcomes: list[Outcome]) -> None:
    """Of one key, who answered it, and one partition of a topic, the outcomes are in the order of their requests."""
    rows: dict[object, list[int]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.record.offset):
        record, (partition, offset) = outcome.record, outcome.place
        rows.setdefault((record.topic, record.partition, record.key, partition, outcome.kind), []).append(offset)
    assert all(earlier < later for offsets in rows.values() for earlier, later in pairwise(offsets))


@pytest.mark.long(20)
def test_partitions_that_are_added_while_workers_run(setup: Setup) -> None:
    _, pipeline = setup(partitions=BEFORE)
    running = impatient(pipeline)
    running.wait_for("partition_acquired", AGENTS * BEFORE)
    sent = pipeline.send(spread(60, BEFORE))

    pipeline.grow({"requests": AFTER})
    sent += pipeline.send(spread(120, AFTER))
    pipeline.wait_for_outcomes(sent)
    assert f"requests has {AFTER} partitions" in running.log.read_text()
    assert running.actions()["partitions_differ"] == 1, "local's inputs only, and once"

    pipeline.grow(dict.fromkeys(ROLES[1:], AFTER))
    pipeline.partitions = AFTER  # of each topic that is read from here on
    joined = impatient(pipeline)
    joined.wait_for("partition_acquired", AGENTS * AFTER // 2)
    last = pipeline.send(spread(120, AFTER))
    outcomes = pipeline.settle([*sent, *last])
    check_exactly_once([*sent, *last], outcomes)
    check_order(outcomes)
    places = {record.place for record in last}
    kept = [outcome.record.partition == outcome.place[0] for outcome in outcomes if outcome.place in places]
    assert all(kept), "one that was running and one that is new do the same"
    for worker in (running, joined):
        assert not worker.actions().keys() & {"recover_failed", "partition_stopped", "acquire_failed"}, worker.actions()
