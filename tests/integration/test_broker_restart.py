"""The broker goes away and comes back while there is a backlog: workers wait, and go on where they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bisupervised.streams.sandbox.broker import Broker
from support.pipeline import Setup, check_at_least_once, check_exactly_once, check_kinds, mixed, wait_until

INPUTS = 2100


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """Not the session's: this one is stopped and killed."""
    with Broker(tmp_path / "kafka") as running:
        yield running


@pytest.mark.long(25)
@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_a_stop_and_a_crash_of_the_broker(setup: Setup, own_broker: Broker, delivery: str) -> None:
    remote, pipeline = setup(
        own_broker.bootstrap_servers,
        delay_s=6.0,  # what is doubtful stays a backlog until the broker has been away
        local={"batch_size": 16},
        remote={"in_flight": 4},
        # a transaction that the restarted broker never answers is given up while the test still waits
        stream={"delivery": delivery, "watchdog_s": 40.0},
    )
    sent = pipeline.send(mixed(INPUTS))
    worker = pipeline.worker()
    pipeline.wait_for_outcomes(sent[: INPUTS // 10 : 3])  # those that the local model answers
    if delivery == "exactly_once":
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
    if delivery == "exactly_once":
        check_exactly_once(sent, outcomes)
    else:
        check_at_least_once(sent, outcomes)
    check_kinds(sent, outcomes)
