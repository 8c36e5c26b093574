"""Batches at an interface that has no names for them: one whose creation was not heard of is found by time and size."""

from __future__ import annotations

from support.batching import overrides, provider
from support.bulk_server import LyingBulkServer
from support.pipeline import Setup, check_exactly_once, request


def test_a_batch_that_was_created_unheard_is_found_and_paid_once(setup: Setup) -> None:
    server = LyingBulkServer(takes_s=0.5)
    server.faults.lose_after["create"] = 1
    server.faults.shuffled = True
    with provider(server) as url:
        asked = {"protocol": "anthropic_messages", "supervisor": "self_reported"}
        _, pipeline = setup(**overrides(url, {"interface": "anthropic_batch"}, **asked))
        sent = pipeline.send([request(number) for number in range(60)])
        pipeline.worker()
        outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}
    assert {outcome.result.score for outcome in outcomes if outcome.result} == {0.9}
    assert server.paid.total() == 60
    assert server.paid_twice == []
