"""Partitions of batches whose records, log or committed offset are gone: they stop and say what a person can do."""

from __future__ import annotations

from urllib.request import urlopen

import pytest
from bisupervised.schemas.codec import decode_facts
from support.batching import SOON_MISSED, last_words, overrides, provider
from support.bulk_server import LyingBulkServer
from support.pipeline import Outcome, Pipeline, Setup, Worker, check_exactly_once, request, wait_until


def started(pipeline: Pipeline, *more: str) -> Worker:
    """A worker that asks for an offset that should be there for two seconds, not two minutes."""
    return pipeline.start(["support.impatient_worker", "worker", "--config", str(pipeline.config), *more])


def reasons(worker: Worker) -> list[str]:
    return [str(line["message"]) for line in worker.told() if line.get("action") == "batches_stopped"]


def sources(pipeline: Pipeline) -> dict[int, tuple[int, int]]:
    """Of each record of `batched` in partition 0, by its offset: the place of its request."""
    found = {record.offset: decode_facts(record).source for record in pipeline.records("batched")}
    return {offset: (source.partition, source.offset) for offset, source in found.items()}


def places(outcomes: list[Outcome]) -> set[tuple[int, int]]:
    return {outcome.place for outcome in outcomes}


@pytest.mark.long(20)
def test_a_batch_whose_records_are_gone_stops_alone_until_a_person_goes_on_without_them(setup: Setup) -> None:
    server = LyingBulkServer(takes_s=3600.0)
    with provider(server) as url:
        _, pipeline = setup(partitions=1, **overrides(url, {"records": 10}), kafka=SOON_MISSED)
        sent = pipeline.send([request(number) for number in range(20)])
        victim = pipeline.worker()
        wait_until(lambda: server.created == 2, "both batches", explain=victim.tail)
        wait_until(lambda: {one.state for one in last_words(pipeline).values()} == {"running"}, "both run")
        victim.kill()
        source = sources(pipeline)
        gone = [source[offset] for offset in sorted(source)[:4]]
        pipeline.delete_before("batched", [sorted(source)[4]])
        for batch in server.batches.values():
            batch.ends = 0.0
        worker = started(pipeline)
        worker.wait_for("batches_stopped")
        [reason] = reasons(worker)
        assert "were deleted before the inputs there had their outcome" in reason
        assert "--begin-anew" in reason
        with urlopen(worker.page + "metrics", timeout=10) as metrics:
            assert "\nbisupervised_provider_batches_fail 1" in metrics.read().decode()
        others = [one for one in sent if one.place in [source[offset] for offset in sorted(source)[10:]]]
        assert places(pipeline.wait_for_outcomes(others)) == {one.place for one in others}
        assert worker.stop() == 0
        worker = started(pipeline, "--begin-anew")
        worker.wait_for("batch_ended")
        left = [one for one in sent if one.place not in gone]
        check_exactly_once(left, pipeline.settle(left))
        told = list(last_words(pipeline).values())
        assert {one.state for one in told} == {"ended"}
        assert [end for one in told for _, end in one.gone] == [sorted(source)[4]]
    assert server.paid_twice == []


@pytest.mark.long(20)
def test_inputs_that_were_deleted_before_they_were_in_a_batch_stop_it_and_old_ones_do_not(setup: Setup) -> None:
    """First all is deleted when all is done, as in a week without inputs; then something that is not."""
    server = LyingBulkServer()
    with provider(server) as url:
        _, pipeline = setup(partitions=1, **overrides(url, {"in_flight": 1}), kafka=SOON_MISSED)
        sent = pipeline.send([request(number) for number in range(5)])
        first = pipeline.worker()
        pipeline.wait_for_outcomes(sent)
        # behind the last record there is the end of its transaction: nothing was missed when that is deleted, too
        last = max(sources(pipeline))
        wait_until(lambda: committed(pipeline) > last + 1, "the end of the topic", explain=first.tail)
        assert first.stop() == 0
        pipeline.delete_before("batched", [-1])
        server.takes_s = 3600.0
        sent += pipeline.send([request(number) for number in range(5, 10)])
        second = started(pipeline)
        wait_until(lambda: server.created == 2, "a batch", explain=second.tail)
        waiting = pipeline.send([request(number) for number in range(10, 15)])  # there is room for one batch alone
        wait_until(lambda: len(sources(pipeline)) == 10, "what waits", explain=second.tail)
        second.kill()
        pipeline.delete_before("batched", [-1])
        for batch in server.batches.values():
            batch.ends = 0.0
        third = started(pipeline)
        third.wait_for("batches_stopped", 2)
        assert any("were deleted before they were in a batch" in reason for reason in reasons(third))
        assert third.stop() == 0
        more = pipeline.send([request(number) for number in range(15, 20)])
        server.takes_s = 0.0
        fourth = started(pipeline, "--begin-anew")
        outcomes = pipeline.settle(sent[:5] + more)
        assert fourth.actions()["batches_stopped"] == 0
    check_exactly_once(sent[:5] + more, outcomes)
    assert not {one.place for one in waiting} & places(outcomes)
    assert second.actions()["batches_stopped"] == 0


def committed(pipeline: Pipeline) -> int:
    stored = pipeline.committed("bulk", "batched", 0)
    return -1 if stored is None else stored.offset


@pytest.mark.long(20)
def test_a_log_that_is_gone_and_an_offset_that_is_gone_stop_it_and_nothing_is_paid_again(setup: Setup) -> None:
    server = LyingBulkServer()
    with provider(server) as url:
        _, pipeline = setup(partitions=1, **overrides(url))
        sent = pipeline.send([request(number) for number in range(5)])
        pipeline.worker()
        check_exactly_once(sent, pipeline.settle(sent))
        pipeline.recreate("batches")
        for lost, why in ((False, "its log was deleted"), (True, "no offset is committed and the log tells nothing")):
            if lost:
                pipeline.delete_groups("bulk")
            worker = started(pipeline)
            worker.wait_for("batches_stopped")
            assert all(why in reason and "--begin-anew" in reason for reason in reasons(worker)), reasons(worker)
            assert worker.stop() == 0
        assert server.paid.total() == 5
        worker = started(pipeline, "--begin-anew")
        worker.wait_for("batches_begin_anew")
        wait_until(lambda: server.paid.total() == 10, "what the topic holds is asked again", explain=worker.tail)
        assert worker.stop() == 0
        more = pipeline.send([request(number) for number in range(5, 8)])
        worker = started(pipeline)
        outcomes = pipeline.wait_for_outcomes(more)
        assert worker.stop() == 0
    assert worker.actions()["batches_stopped"] == 0
    assert len(places(outcomes)) == 8
