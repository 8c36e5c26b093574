"""A budget on a real broker: what happens when it is spent, and that a restart does not forget it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import orjson
from bisupervised.agents.remote.spending.budget import BudgetPolicy
from bisupervised.agents.remote.spending.purse import Purse
from bisupervised.schemas.budget import Amount
from bisupervised.streams.kafka.connection import Connection
from bisupervised.streams.worker.budget_topic import BudgetTopic
from support.pipeline import Setup, check_exactly_once, request, wait_until

#: a month, so that no period ends within a test (but for one night in thirty)
BUDGET: dict[str, Any] = {"calls": 20, "per": "month", "lease_share": 0.25}
ONE_BY_ONE = {"batch_size": 1, "batch_wait_ms": 0, "in_flight": 8}


def test_what_the_budget_does_not_cover_falls_back(setup: Setup) -> None:
    remote, pipeline = setup(remote=ONE_BY_ONE, budget={**BUDGET, "when_spent": "fallback"})
    sent = pipeline.send([request(n) for n in range(60)])
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert remote.calls == 20, "not one more, and all that there was"
    assert Counter(outcome.kind for outcome in outcomes) == {"remote": 20, "budget": 40}


def test_a_worker_with_a_wrong_clock_gets_nothing_until_it_is_right(setup: Setup) -> None:
    """The broker's time stands against its own; nothing that was refused is spent."""
    _, pipeline = setup(budget=BUDGET)
    clock_s = [86_400.0 * 400]

    async def ask() -> tuple[int, float, int]:
        purse = Purse(BudgetPolicy(Amount(0, 20), "month", 0.25))
        log = BudgetTopic(
            Connection(pipeline.servers),
            pipeline.topic("budget"),
            "p",
            purse,
            lambda: None,
            now=lambda: time.time() + clock_s[0],
        )
        await log.start()
        try:
            async with asyncio.timeout(20):
                while purse.refused < 2:
                    purse.afford(Amount(0, 1), time.time() + clock_s[0])
                    log.need()
                    await asyncio.sleep(0.05)
                refused, apart_s, clock_s[0] = purse.held.calls, purse.apart_s, 0.0
                while purse.afford(Amount(0, 1), time.time()) != "yes":
                    log.need()
                    await asyncio.sleep(0.05)
            return refused, apart_s, purse.held.calls
        finally:
            await log.close()

    refused, apart_s, granted = asyncio.run(ask())
    assert (refused, granted) == (0, 5)
    assert abs(apart_s + 86_400 * 400) < 60


def test_or_the_local_answer_is_taken_without_trust(setup: Setup) -> None:
    remote, pipeline = setup(remote=ONE_BY_ONE, budget={**BUDGET, "when_spent": "accept_local"})
    sent = pipeline.send([request(n) for n in range(40)])
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert remote.calls == 20
    results = [orjson.loads(outcome.record.value) for outcome in outcomes]
    assert Counter((result["answered_by"], result.get("trusted", True)) for result in results) == {
        ("remote", True): 20,
        ("local", False): 20,
    }


def test_or_records_wait_and_a_restart_knows_what_is_spent(setup: Setup) -> None:
    remote, pipeline = setup(remote=ONE_BY_ONE, budget={**BUDGET, "money": 5.0, "calls": 0})  # at 0.5 a call
    sent = pipeline.send([request(n) for n in range(30)])
    first = pipeline.worker()
    wait_until(lambda: remote.calls == 10, "all that five will buy")
    first.wait_for("partitions_paused")
    assert first.stop() == 0
    second = pipeline.worker()
    second.wait_for("partition_acquired", 6)
    time.sleep(2.0)
    assert remote.calls == 10, "it has read what the first one spent"
    assert second.stop() == 0
    pipeline.configure({"remote": ONE_BY_ONE, "budget": {**BUDGET, "money": 15.0, "calls": 0}})
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert remote.calls == 30
    assert {outcome.kind for outcome in outcomes} == {"remote"}


def test_calls_that_were_turned_away_cost_nothing(setup: Setup) -> None:
    remote, pipeline = setup(
        remote={**ONE_BY_ONE, "backoff_first_s": 0.01, "backoff_most_s": 0.02, "tries": 50, "breaker_failures": 1000},
        budget={**BUDGET, "when_spent": "fallback"},
    )
    remote.refusal = (429, {"retry-after-ms": "20"})
    sent = pipeline.send([request(n) for n in range(20)])
    pipeline.worker()
    wait_until(lambda: remote.calls >= 40, "calls that are turned away")
    remote.refusal = None
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}
