"""The broker goes away and comes back while there is a backlog: workers wait, and go on where they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bisupervised.streams.sandbox.broker import Broker
from support.pipeline import (
    AGENTS,
    Setup,
    check_at_least_once,
    check_exactly_once,
    check_kinds,
    mixed,
    out_of_order,
    wait_until,
)

INPUTS = 2100


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """Not the session's: this one is stopped and killed."""
    with Broker(tmp_path / "kafka") as running:
        yield running


@pytest.mark.long(25)
def test_a_stop_and_a_crash_of_the_broker(setup: Setup, own_broker: Broker) -> None:
    remote, pipeline = setup(
        own_broker.bootstrap_servers,
        delay_s=6.0,  # what is doubtful stays a backlog until the broker has been away
        local={"batch_size": 16},
        remote={"in_flight": 4},
        # a transaction that the restarted broker never answers is given up while the test still waits
        stream={"watchdog_s": 40.0},
    )
    sent = pipeline.send(mixed(INPUTS))
    worker = pipeline.worker()
    pipeline.wait_for_outcomes(sent[: INPUTS // 10 : 3])  # those that the local model answers
    own_broker.restart()
    behind = len(pipeline.outcomes())
    assert behind < INPUTS, "it was to be restarted with a backlog"
    wait_until(lambda: len(pipeline.outcomes()) > behind, "progress after the restart", explain=worker.tail)
    own_broker.kill()
    own_broker.restart()
    assert len(pipeline.outcomes()) < INPUTS, "it was to be killed with a backlog"
    remote.delay_s = 0.02
    outcomes = pipeline.settle(sent)
    assert len(pipeline.workers) == 1, "it is the same worker all the time"
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)
    told = worker.actions()
    assert told["broker_away"] >= 1
    assert told["broker_back"] >= 1
    assert not told["aiokafka.consumer.fetcher"], "hundreds of lines: a number in ours"


@pytest.mark.long(25)
def test_at_least_once_a_killed_worker_and_a_killed_broker_cost_what_was_sent_and_not_committed(
    setup: Setup, own_broker: Broker
) -> None:
    """The bound of docs/chaos.md: for each fault, in each partition of each step, a window and a fetch."""
    remote, pipeline = setup(
        own_broker.bootstrap_servers,
        delay_s=0.05,
        local={"batch_size": 16},
        stream={"delivery": "at_least_once", "watchdog_s": 40.0, "window_records": 32, "fetch_records": 16},
    )
    sent = pipeline.send(mixed(INPUTS))
    first = pipeline.worker()
    pipeline.wait_for_outcomes(sent[: INPUTS // 10 : 3])
    first.kill()
    second, third = pipeline.worker(), pipeline.worker()
    for worker in (second, third):
        worker.wait_for("partition_acquired", AGENTS)
    assert len(pipeline.outcomes()) < INPUTS, "the worker was to be killed with a backlog"
    own_broker.kill()
    own_broker.restart()
    assert len(pipeline.outcomes()) < INPUTS, "and the broker"
    remote.delay_s = 0.0
    outcomes = pipeline.settle(sent)
    check_at_least_once(sent, outcomes)
    check_kinds(sent, outcomes)
    told = worker.actions()
    assert told["broker_away"] >= 1
    assert told["broker_back"] >= 1
    assert not told["aiokafka.consumer.fetcher"], "hundreds of lines: a number in ours"
    assert out_of_order(outcomes) == 0
    assert len(outcomes) - INPUTS <= 2 * AGENTS * pipeline.partitions * (32 + 16)
