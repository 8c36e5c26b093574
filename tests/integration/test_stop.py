"""Stopping: no new records, what is in flight ends or is given up by the deadline, exit status 0."""

from __future__ import annotations

import signal
import time

import pytest
from support.pipeline import Setup, check_exactly_once, mixed, request, wait_until

pytestmark = pytest.mark.fresh

DRAIN_S = 1.5
#: seconds beside the drain deadline: the last transaction, leaving the groups, the interpreter's end
AROUND_S = 8.0


def test_calls_in_flight_end_and_are_not_paid_twice(setup: Setup) -> None:
    remote, pipeline = setup(stream={"drain_s": 20.0}, remote={"batch_size": 2, "in_flight": 4})
    remote.close_gate()
    sent = pipeline.send([request(n) for n in range(30)])
    worker = pipeline.worker()
    wait_until(lambda: remote.under_way == 4, "calls in flight", explain=worker.tail)
    worker.signal(signal.SIGTERM)
    time.sleep(1.0)  # time in which a worker that does not wait would end
    assert worker.running
    began = time.monotonic()
    remote.open_gate()
    assert worker.wait() == 0
    assert time.monotonic() - began < AROUND_S, "nothing was left to wait for"
    paid = dict(remote.answered)
    assert len(paid) >= 4, "in flight when the signal came; how many inputs each holds is chance"
    assert len(pipeline.records("answers")) == remote.answered_inputs, "what ended was committed, all of it"
    pipeline.ready_worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {remote.answered[key] for key in paid} == {1}
    assert sum(remote.answered.values()) <= 30


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_calls_that_do_not_end_are_given_up_at_the_deadline(setup: Setup, delivery: str) -> None:
    remote, pipeline = setup(
        stream={"drain_s": DRAIN_S, "delivery": delivery}, remote={"batch_size": 2, "in_flight": 4}
    )
    sent = pipeline.send(mixed(12))
    remote.close_gate()
    worker = pipeline.worker()
    wait_until(lambda: remote.under_way == 4, "calls in flight", explain=worker.tail)
    began = time.monotonic()
    assert worker.stop() == 0
    assert DRAIN_S <= time.monotonic() - began < DRAIN_S + AROUND_S
    remote.open_gate()
    pipeline.ready_worker()
    check_exactly_once(sent, pipeline.settle(sent))


def test_ctrl_c(setup: Setup) -> None:
    _, pipeline = setup()
    worker = pipeline.ready_worker()
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0
    told = {line["action"] for line in worker.told() if line["level"] == "INFO"}
    assert told >= {"worker_started", "partition_acquired", "plane_stopped"}
    assert {action for action in told if "." in action} == set(), "no library's name: Faust's words are no news"
    assert worker.actions()["plane_stopped"] == 3


@pytest.mark.parametrize("after_s", [0.05, 0.5, 1.0])
def test_sigterm_while_it_starts(setup: Setup, after_s: float) -> None:
    """However early: it ends soon, and the next worker finds everything in order."""
    _, pipeline = setup(partitions=1)
    sent = pipeline.send([request(0)])
    worker = pipeline.worker()
    time.sleep(after_s)  # the point in time is what is tested
    assert worker.stop(timeout_s=20) in (0, -signal.SIGTERM)
    pipeline.ready_worker()
    check_exactly_once(sent, pipeline.settle(sent))


def test_a_second_sigterm_does_no_harm(setup: Setup) -> None:
    remote, pipeline = setup(stream={"drain_s": DRAIN_S})
    sent = pipeline.send([request(n) for n in range(10)])
    remote.close_gate()
    worker = pipeline.worker()
    wait_until(lambda: remote.under_way > 0, "a call in flight", explain=worker.tail)
    worker.signal(signal.SIGTERM)
    time.sleep(0.3)
    worker.signal(signal.SIGTERM)
    worker.wait(DRAIN_S + AROUND_S)
    remote.open_gate()
    pipeline.ready_worker()
    check_exactly_once(sent, pipeline.settle(sent))
