"""An event loop that stands still: the process ends, says where it stood, and the next one goes on."""

from __future__ import annotations

import signal
import time

import pytest
from support.pipeline import HUNG, Setup, check_exactly_once, request

#: after two of them the worker ends
SESSION_S = 3.0


@pytest.mark.long(20)
def test_a_loop_that_stands_still_ends_the_process(setup: Setup) -> None:
    _, pipeline = setup(kafka={"session_timeout_s": SESSION_S}, local={"batch_size": 8})
    sent = pipeline.send([request(n, local=0.95) for n in range(40)])
    worker = pipeline.start(["support.standing_worker", "worker", "--config", str(pipeline.config)])
    assert worker.wait() == HUNG
    assert worker.actions()["loop_stood_still"] == 1
    assert "in stand_still" in worker.log.read_text(), "where it stood"
    pipeline.ready_worker()
    check_exactly_once(sent, pipeline.settle(sent))


@pytest.mark.long(20)
def test_a_worker_that_was_frozen_goes_on(setup: Setup) -> None:
    """It had no turn for as long, and has not stood still."""
    _, pipeline = setup(kafka={"session_timeout_s": SESSION_S})
    worker = pipeline.ready_worker()
    worker.signal(signal.SIGSTOP)
    time.sleep(2.5 * SESSION_S)  # what is tested takes its time
    worker.signal(signal.SIGCONT)
    sent = pipeline.send([request(n) for n in range(40)])
    check_exactly_once(sent, pipeline.settle(sent))
    assert worker.wait() == 0, "it was there to the end"
