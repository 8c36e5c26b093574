"""The remote asked in batches: every input has one outcome, and no batch is paid twice, whatever dies on the way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest
from aiohttp import web
from bisupervised.schemas.budget import NANO
from bisupervised.schemas.codec import decode_facts
from support.batching import SOON_MISSED, entries, last_words, overrides, provider
from support.bulk_server import Faults, LyingBulkServer
from support.pipeline import Setup, check_exactly_once, request, wait_until

#: what a clock of milliseconds says in the far future
FAR_MS = 4_000_000_000_000


@pytest.fixture
def server() -> LyingBulkServer:
    return LyingBulkServer(faults=Faults(shuffled=True))


class SlowToTell(LyingBulkServer):
    """Says that it has created a batch when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.tells = threading.Event()

    async def after(self, request: web.Request) -> None:
        while request.method == "POST" and request.path.endswith("/batches") and not self.tells.is_set():  # noqa: ASYNC110  # it is set from another thread
            await asyncio.sleep(0.01)


def test_every_doubtful_input_goes_into_a_batch_and_is_answered_for_half_the_price(
    setup: Setup, server: LyingBulkServer
) -> None:
    with provider(server) as url:
        _, pipeline = setup(**overrides(url))
        sent = pipeline.send([request(number) for number in range(100)])
        pipeline.worker()
        outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}
    assert {outcome.result.cost for outcome in outcomes if outcome.result} == {0.25}
    assert server.paid.total() == 100
    assert server.paid_twice == []
    batches = last_words(pipeline)
    assert {batch.state for batch in batches.values()} == {"ended"}
    assert sum(batch.records for batch in batches.values()) == 100
    assert max(batch.records for batch in batches.values()) <= 40


def test_only_what_can_wait_goes_into_a_batch(setup: Setup, server: LyingBulkServer) -> None:
    with provider(server) as url:
        _, pipeline = setup(**overrides(url, mode="both", batch_if_deadline_beyond="6h"))
        patient = pipeline.send([request(number, deadline_ms=FAR_MS) for number in range(30)])
        others = pipeline.send([request(number) for number in range(30)])
        pipeline.worker()
        outcomes = pipeline.settle(patient + others)
    check_exactly_once(patient + others, outcomes)
    waited = {(facts.source.partition, facts.source.offset) for facts in map(decode_facts, pipeline.records("batched"))}
    assert waited == {record.place for record in patient}
    costs = {outcome.place: outcome.result.cost for outcome in outcomes if outcome.result}
    assert costs == {record.place: 0.25 if record in patient else 0.5 for record in patient + others}


def test_a_batch_that_was_being_created_when_its_owner_died_is_found_and_paid_once(setup: Setup) -> None:
    """It is there, and the provider has not said so yet."""
    server = SlowToTell()
    with provider(server) as url:
        _, pipeline = setup(partitions=1, **overrides(url), kafka=SOON_MISSED)
        sent = pipeline.send([request(number) for number in range(30)])
        victim = pipeline.worker()
        wait_until(lambda: server.created == 1, "the batch", explain=victim.tail)
        victim.kill()
        server.tells.set()
        heir = pipeline.worker()
        outcomes = pipeline.settle(sent)
        assert heir.actions()["batch_created"] == 1
    check_exactly_once(sent, outcomes)
    assert (server.created, server.paid_twice) == (1, [])


def test_a_batch_whose_creation_was_lost_on_the_way_is_found(setup: Setup, server: LyingBulkServer) -> None:
    server.faults.lose_after["create"] = 1
    server.faults.lose_before["create"] = 1
    with provider(server) as url:
        _, pipeline = setup(partitions=1, **overrides(url))
        sent = pipeline.send([request(number) for number in range(30)])
        pipeline.worker()
        outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert (server.created, server.paid_twice) == (1, [])


def test_owners_that_die_while_answers_go_out_lose_none_and_repeat_none(setup: Setup, server: LyingBulkServer) -> None:
    server.faults.cut_results = 2
    server.faults.duplicated, server.faults.foreign, server.faults.unreadable = 0.2, 3, 3
    with provider(server) as url:
        _, pipeline = setup(**overrides(url, {"records": 300}), kafka=SOON_MISSED)
        sent = pipeline.send([request(number) for number in range(1200)])
        for _ in range(2):
            before = sum(batch.state == "settling" for entry in entries(pipeline) for batch in entry.batches)
            victim = pipeline.worker()
            wait_until(
                lambda: sum(b.state == "settling" for e in entries(pipeline) for b in e.batches) > before,  # noqa: B023  # waited for here
                "answers that go out",
                explain=victim.tail,
            )
            victim.kill()
        pipeline.worker()
        outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert server.paid.total() == 1200
    assert server.paid_twice == []


def test_what_has_expired_or_is_missing_goes_into_another_batch_and_what_is_refused_falls_back(
    setup: Setup, server: LyingBulkServer
) -> None:
    server.faults.expired, server.faults.missing, server.faults.errored = 0.2, 0.1, 0.1
    with provider(server) as url:
        _, pipeline = setup(**overrides(url, {"tries": 2}))
        sent = pipeline.send([request(number) for number in range(200)])
        pipeline.worker()
        outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds.keys() == {"remote", "refused", "timeout", "remote_error"}
    assert kinds["remote"] > 120
    again = len(pipeline.records("batched")) - 200
    assert 30 < again < 100
    assert server.paid_twice == []
    assert server.paid.total() == kinds["remote"] + kinds["refused"]


def test_an_input_falls_back_when_its_deadline_passes_though_its_batch_takes_longer(
    setup: Setup, server: LyingBulkServer
) -> None:
    """A third may wait for five seconds, and the provider takes until somebody lets it end."""
    server.takes_s = 3600.0
    with provider(server) as url:
        _, pipeline = setup(partitions=1, **overrides(url))
        worker = pipeline.ready_worker()
        soon_ms = round(time.time() * 1000) + 5_000
        hurried = pipeline.send([request(number, deadline_ms=soon_ms) for number in range(10)])
        patient = pipeline.send([request(number) for number in range(20)])
        wait_until(lambda: server.created > 0, "the batch", explain=worker.tail)
        early = pipeline.wait_for_outcomes(hurried)
        assert {(outcome.place, outcome.kind) for outcome in early} == {(one.place, "timeout") for one in hurried}
        for batch in server.batches.values():
            batch.ends = 0.0
        outcomes = pipeline.settle(hurried + patient)
    check_exactly_once(hurried + patient, outcomes)
    assert Counter(outcome.kind for outcome in outcomes) == {"timeout": 10, "remote": 20}
    counts = [batch.counts for batch in last_words(pipeline).values()]
    assert sum(one.calls for one in counts) == server.paid.total() == 30
    assert sum(one.cost for one in counts) == 30 * NANO // 4


def test_no_more_is_spent_than_the_budget_allows(setup: Setup, server: LyingBulkServer) -> None:
    """Money is there for 100 inputs at half of half a unit each, and what is not answered is given back."""
    server.faults.expired = 0.3
    with provider(server) as url:
        budget = {"money": 25.0, "per": "month", "when_spent": "fallback"}
        _, pipeline = setup(**overrides(url, {"records": 10, "tries": 1}), budget=budget)
        sent = pipeline.send([request(number) for number in range(200)])
        pipeline.worker()
        outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds["budget"] > 0
    assert 50 <= kinds["remote"] <= 100
    assert server.paid.total() == kinds["remote"]


def test_a_batch_that_alone_is_larger_than_the_providers_queue_is_split_whoever_dies_meanwhile(
    setup: Setup, server: LyingBulkServer
) -> None:
    """Thirty inputs are in a batch, and about a third of them fit into the queue."""
    server.takes_s = 0.3
    server.faults.most_tokens = 700
    with provider(server) as url:
        _, pipeline = setup(partitions=1, **overrides(url, {"records": 30, "age_s": 3.0}))
        sent = pipeline.send([request(number) for number in range(60)])
        victim = pipeline.worker()
        wait_until(lambda: any(batch.split for batch in last_words(pipeline).values()), "a split", explain=victim.tail)
        victim.kill()
        pipeline.worker()
        outcomes = pipeline.settle(sent)
        told = last_words(pipeline)
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}
    assert server.paid_twice == []
    assert {batch.state for batch in told.values()} == {"ended"}
    assert max(entry.batch_tokens for entry in entries(pipeline)) > 0
    asked = sorted((batch.first, batch.end) for batch in told.values() if not batch.split)
    assert all(before[1] <= after[0] for before, after in pairwise(asked)), "no offset is in two of them"


class Refusing(LyingBulkServer):
    """Refuses every line for an option, until it is mended."""

    def __init__(self) -> None:
        super().__init__()
        self.mended = threading.Event()
        inner = self.answer
        said = {"error": {"message": "Unknown parameter: 'tempo'", "code": "unknown_parameter"}}
        self.answer = lambda body: inner(body) if self.mended.is_set() else (400, said)


def test_inputs_that_are_all_refused_for_an_option_wait_until_it_is_mended(setup: Setup) -> None:
    """The worker says so loudly, asks a few of them now and then, and takes none of them for a bad input."""
    server = Refusing()
    with provider(server) as url:
        _, pipeline = setup(partitions=1, **overrides(url, breaker_cool_down_s=0.5, terminal_cool_down_s=1.0))
        sent = pipeline.send([request(number) for number in range(120)])
        worker = pipeline.worker()
        wait_until(lambda: worker.actions()["remote_probe"] > 2, "probes", explain=worker.tail)
        assert worker.actions()["batch_held"] > 2
        assert worker.actions()["remote_stopped"] > 0
        assert pipeline.records("fallback") == []
        server.mended.set()
        outcomes = pipeline.settle(sent)
        assert worker.actions()["breaker_closed"] == 1
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}
    assert len(pipeline.records("batched")) == 120, "none was asked to be asked again"


def test_a_provider_that_takes_so_many_tokens_at_once_gets_no_more(setup: Setup, server: LyingBulkServer) -> None:
    server.takes_s = 0.3
    server.faults.most_tokens = 3000
    with provider(server) as url:
        _, pipeline = setup(partitions=1, **overrides(url, {"records": 30}))
        sent = pipeline.send([request(number) for number in range(240)])
        pipeline.worker()
        outcomes = pipeline.settle(sent)
        learned = {entry.queue_tokens for entry in entries(pipeline)}
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}
    assert server.paid_twice == []
    assert max(learned) > 0
