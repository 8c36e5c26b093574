"""The remote goes down, refuses, or asks to be left alone: what becomes of the records, on real Kafka."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psutil
import pytest
from bisupervised.streams.plane.window.marks import decode
from support.pipeline import Pipeline, Remote, Sent, Setup, Worker, check_exactly_once, mixed, request, wait_until

MIB = 2**20
DOWN: tuple[int, dict[str, str]] = (503, {})
#: a breaker that a test need not wait long for
QUICK = {"breaker_failures": 3, "breaker_cool_down_s": 1.0, "batch_size": 1, "in_flight": 4, "tries": 3}


def all_doubted(pipeline: Pipeline, worker: Worker, count: int) -> None:
    """The local agent is through with so many requests: all of them wait for the remote."""

    def through() -> bool:
        found = [pipeline.committed("local", "requests", partition) for partition in range(pipeline.partitions)]
        return sum(0 if stored is None else int(stored.offset) for stored in found) == count

    wait_until(through, "the local agent", explain=worker.tail)


def first_offsets(pipeline: Pipeline, role: str) -> dict[int, int]:
    """Where the first record of each partition lies that has one."""
    firsts = dict[int, int]()
    for record in pipeline.records(role):
        firsts.setdefault(record.partition, record.offset)
    return firsts


def has_finished_one(pipeline: Pipeline, firsts: dict[int, int]) -> bool:
    """Whether the remote agent has committed a record of `doubtful`, where these are the first ones.

    Its offset alone says nothing: a partition begins with the marker of a transaction, and progress may pass that.
    """
    for partition, first in firsts.items():
        stored = pipeline.committed("remote", "doubtful", partition)
        progress = None if stored is None else decode(stored.offset, stored.metadata)
        if progress is not None and (progress.offset > first or progress.done):
            return True
    return False


def test_the_remote_goes_down_and_comes_back(setup: Setup) -> None:
    """The circuit opens, partitions pause, the backlog stays in Kafka, one call at a time probes, nothing is lost."""
    remote, pipeline = setup(remote=QUICK)
    worker = pipeline.ready_worker("remote")  # alone in its process, whose memory is watched
    pipeline.ready_worker("local,remote_supervisor")
    remote.refusal = DOWN
    sent = pipeline.send([request(n) for n in range(20)])
    worker.wait_for("breaker_opened")
    worker.wait_for("partitions_paused")
    process = psutil.Process(worker.process.pid)
    all_doubted(pipeline, worker, 20)
    firsts = first_offsets(pipeline, "doubtful")
    assert len(firsts) == pipeline.partitions
    before, calls = process.memory_info().rss, remote.calls
    # 40 MiB, of which the windows could hold every byte: it is the breaker that keeps them in Kafka
    sent += pipeline.send([request(n, padding="x" * 60_000) for n in range(20, 720)])
    all_doubted(pipeline, worker, 720)
    wait_until(lambda: remote.calls >= calls + 3, "probes", explain=worker.tail)
    grown = process.memory_info().rss - before
    assert grown < 25 * MIB, f"grown by {grown / MIB:.0f} MiB"
    assert not has_finished_one(pipeline, firsts)
    probes = [later - earlier for earlier, later in zip(remote.began[-3:], remote.began[-2:], strict=False)]
    assert min(probes) > 0.8, "one probe in each cool-down"
    remote.refusal = None
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}, "not one record was given up"
    assert has_finished_one(pipeline, firsts)
    actions = worker.actions()
    assert (actions["breaker_closed"], actions["partitions_resumed"]) == (1, 1)
    assert actions["remote_probe"] >= 4


def answered_while_down(setup: Setup, mode: str) -> tuple[Remote, Sequence[Sent], list[Any]]:
    remote, pipeline = setup(remote=QUICK | {"while_open": mode, "breaker_cool_down_s": 60.0})
    remote.refusal = DOWN
    sent = pipeline.send(mixed(300))
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert remote.calls <= 3 + 4, "those that opened the circuit, and those beside them"
    return remote, sent, outcomes


def test_while_it_is_down_records_fall_back(setup: Setup) -> None:
    _, sent, outcomes = answered_while_down(setup, "fallback")
    kinds = {outcome.place: outcome.kind for outcome in outcomes}
    assert [kinds[record.place] for record in sent] == ["local", "remote_error", "remote_error"] * 100


def test_while_it_is_down_the_local_answer_is_accepted_and_says_that_it_is_not_trusted(setup: Setup) -> None:
    _, sent, outcomes = answered_while_down(setup, "accept_local")
    results = {outcome.place: outcome.result for outcome in outcomes}
    said = [results[record.place] for record in sent]
    assert [(result.answered_by, result.trusted) for result in said if result] == [
        ("local", True),
        ("local", False),
        ("local", False),
    ] * 100
    accepted = said[1]
    assert accepted is not None
    assert accepted.score < accepted.threshold
    assert (accepted.prediction, accepted.model) == (1, "support.models:steady@3")


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_url_stops_the_calls_and_burns_no_record(setup: Setup, status: int) -> None:
    remote, pipeline = setup(remote=QUICK | {"breaker_cool_down_s": 30.0}, stream={"drain_s": 30.0})
    remote.refusal = (status, {})
    sent = pipeline.send([request(n) for n in range(60)])
    worker = pipeline.ready_worker()
    worker.wait_for("remote_stopped")
    all_doubted(pipeline, worker, 60)
    time.sleep(1.0)
    assert remote.calls <= 4
    assert (pipeline.records("fallback"), pipeline.records("answers")) == ([], [])
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 15.0, "what waits for the remote is given back, not waited for"
    remote.refusal = None  # it is mended, and the worker restarted
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}


@pytest.mark.parametrize("headers", [{"retry-after-ms": "2000"}, {"Retry-After": "2"}])
def test_the_servers_wish_to_be_left_alone_is_honoured(setup: Setup, headers: dict[str, str]) -> None:
    remote, pipeline = setup(remote=QUICK | {"in_flight": 2})
    worker = pipeline.ready_worker()
    remote.refusal = (429, headers)
    sent = pipeline.send([request(n) for n in range(40)])
    wait_until(lambda: remote.calls >= 1, "the first call", explain=worker.tail)
    time.sleep(1.0)
    assert remote.calls <= 2, "what was under way with the first"
    remote.refusal = None
    outcomes = pipeline.settle(sent)
    assert remote.began[2] - remote.began[0] > 1.9
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}
    assert worker.actions()["breaker_opened"] == 0


def test_two_workers_keep_one_limit(setup: Setup) -> None:
    """Each takes the share of its partitions, before, while and after the second one joins."""
    remote, pipeline = setup(
        remote={"batch_size": 1, "in_flight": 16, "requests_per_minute": 3000.0, "limit_window_s": 1.0},
        stream={"drain_s": 2.0},
    )
    sent = pipeline.send([request(n) for n in range(500)])
    first = pipeline.ready_worker()
    wait_until(lambda: remote.calls > 50, "calls of one worker", explain=first.tail)
    remote.longest_stall_s = 0.0  # from here on
    second = pipeline.worker()
    second.wait_for("partition_acquired")
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    fullest = max(sum(began <= later < began + 1.0 for later in remote.began) for began in remote.began)
    # calls that waited while the server had no core come with those of the next second
    assert fullest <= 55 + 50 * remote.longest_stall_s, "50 a second, and what a busy machine makes of it"
    assert remote.began[-1] - remote.began[0] > 500 / 50 - 1.0
