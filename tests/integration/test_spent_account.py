"""An account is spent while records come, and paid again: nothing is lost, no worker is restarted. On real Kafka."""

from __future__ import annotations

import pytest
from support.pipeline import Setup, check_exactly_once, request, wait_until

#: a breaker that a test need not wait long for
QUICK = {"breaker_failures": 3, "breaker_cool_down_s": 0.5, "batch_size": 1, "in_flight": 4}


@pytest.mark.parametrize("answered_before", [0, 20])
def test_a_spent_account_holds_the_backlog_until_it_is_paid(setup: Setup, answered_before: int) -> None:
    """It says 400, as for an input that is wrong."""
    remote, pipeline = setup(remote=QUICK)
    worker = pipeline.ready_worker()
    sent = pipeline.send([request(n) for n in range(answered_before)])
    pipeline.wait_for_outcomes(sent)
    remote.refusal = (400, {})
    before = remote.calls
    sent += pipeline.send([request(answered_before + n) for n in range(60)])
    worker.wait_for("remote_stopped")
    wait_until(lambda: worker.actions()["remote_probe"] >= 3, "probes", explain=worker.tail)
    assert remote.calls - before <= 4 + 3 + worker.actions()["remote_probe"], "calls stop after a few"
    assert pipeline.records("fallback") == []
    remote.refusal = None
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}
    assert worker.actions()["breaker_closed"] >= 1
