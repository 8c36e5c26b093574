"""Inputs that kill or hang the process: tried a bounded number of times, and nobody else pays for them."""

from __future__ import annotations

import time

import pytest
from support.models import HANGS, KILLS
from support.pipeline import HUNG, Pipeline, Sent, Setup, check_exactly_once, request

#: unclean deaths until a record is given up: normal, batch by batch, and two tries alone
MOST_DEATHS = 5


def run_until_answered(pipeline: Pipeline, sent: list[Sent]) -> int:
    """Start a worker whenever the last one has died. Returns how many have."""
    places = {record.place for record in sent}
    for deaths in range(MOST_DEATHS + 1):
        worker = pipeline.worker()
        deadline = time.monotonic() + 60
        while worker.running:
            if places <= {outcome.place for outcome in pipeline.outcomes()}:
                return deaths
            assert time.monotonic() < deadline, worker.tail()
            time.sleep(0.2)
    raise AssertionError(f"{MOST_DEATHS + 1} deaths and no end")


@pytest.mark.long(20)
def test_an_input_that_kills_the_process_is_put_aside(setup: Setup) -> None:
    """A killer at the front of one partition, neighbours behind it, and a partition of innocents."""
    _, pipeline = setup(local={"batch_size": 8}, stream={"max_tries": 2})
    records = [request(n, local=0.95)._replace(partition=n % 2) for n in range(60)]
    records[0] = records[0]._replace(value=request(0, mark=KILLS).value)
    sent = pipeline.send(records)
    deaths = run_until_answered(pipeline, sent)
    assert deaths >= 2
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert [o.place for o in outcomes if o.kind == "model_error"] == [sent[0].place]
    assert {o.kind for o in outcomes} == {"local", "model_error"}


def test_an_input_that_hangs_the_thread_ends_the_process(setup: Setup) -> None:
    _, pipeline = setup(local={"predict_timeout_s": 1.0})
    pipeline.send([request(0, mark=HANGS)])
    worker = pipeline.worker()
    assert worker.wait() == HUNG
    assert worker.actions()["inference_hung"] == 1
