"""More processes: agents apart, and workers that come and go."""

from __future__ import annotations

import signal

import pytest
from support.pipeline import Setup, check_exactly_once, check_kinds, mixed, request, wait_until

BUSY = {"model": "support.models:slow", "batch_size": 16}


def test_agents_run_in_processes_of_their_own(setup: Setup) -> None:
    _, pipeline = setup()
    sent = pipeline.send(mixed(300))
    local, rest = pipeline.worker("local"), pipeline.worker("remote,remote_supervisor")
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)
    assert (local.actions()["plane_stopped"], rest.actions()["plane_stopped"]) == (1, 2)


def test_a_second_worker_joins_and_leaves(setup: Setup) -> None:
    remote, pipeline = setup(local=BUSY, remote={"in_flight": 4}, stream={"drain_s": 1.0})
    sent = pipeline.send(mixed(1200))
    pipeline.worker()
    pipeline.wait_for_outcomes(sent[:5])
    remote.close_gate()  # so that there is work left whenever the second is ready
    second = pipeline.worker()
    second.wait_for("partition_acquired", 3)
    assert len(pipeline.outcomes()) < len(sent)
    remote.open_gate()
    assert second.stop() == 0
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)


@pytest.mark.long(20)
def test_two_workers_stopped_at_once_with_work_in_flight(setup: Setup) -> None:
    """Each one's leaving is a rebalance for the other, in the middle of its own stop."""
    remote, pipeline = setup(local=BUSY, remote={"batch_size": 2, "in_flight": 4}, stream={"drain_s": 2.0})
    sent = pipeline.send([request(n) for n in range(300)])
    first = pipeline.worker()
    pipeline.wait_for_outcomes(sent[:5])
    remote.close_gate()  # so that there is work left whenever the second is ready
    workers = [first, pipeline.worker()]
    workers[1].wait_for("partition_acquired", 3)
    wait_until(lambda: remote.under_way > 4, "calls of both in flight")
    for worker in workers:
        worker.signal(signal.SIGTERM)
    assert [worker.wait() for worker in workers] == [0, 0]
    for worker in workers:
        assert worker.actions()["plane_stopped"] == 3, worker.tail()
    remote.open_gate()
    pipeline.ready_worker()
    check_exactly_once(sent, pipeline.settle(sent))
