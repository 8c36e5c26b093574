"""The audit of requests that end in batches: one record in `audits` for each, the same as after a direct call."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import orjson
from support.audit_topic import Audited, audits, secret
from support.batching import SOON_MISSED, entries, overrides, provider
from support.bulk_server import Faults, LyingBulkServer, chat_answer
from support.pipeline import Outcome, Sent, Setup, check_exactly_once, request, wait_until

FAR_MS = 4_000_000_000_000
#: how an audit calls what a test calls otherwise; everything else has failed
ENDED = {"local": "trusted", "remote": "trusted", "low_confidence": "rejected"}


def audit_of_all(folder: Path, **more: Any) -> dict[str, Any]:
    """Settings for an audit of every request."""
    return {"share": 1.0, "secret_file": secret(folder), **more}


def picky_answer(body: dict[str, Any]) -> tuple[int, Any]:
    """Refuses every fifth input, by its content: the same one whichever way it comes."""
    _, _, remote, _ = orjson.loads(body["messages"][-1]["content"])
    if round(remote * 100) % 5 == 0:
        return 400, {"error": {"message": "This model's maximum context length is exceeded"}}
    return chat_answer(body)


def check(sent: list[Sent], outcomes: list[Outcome], found: list[Audited]) -> None:
    """Each request has one record, which says what became of it."""
    check_exactly_once(sent, outcomes)
    assert Counter(one.place for one in found) == Counter(one.place for one in sent)
    became, values = {one.place: one for one in outcomes}, {one.place: one.value for one in sent}
    for one in found:
        outcome = became[one.place]
        assert one.audit.ended == ENDED.get(outcome.kind, "failed")
        assert (one.audit.missing, one.value) == ("", values[one.place])
        assert one.audit.answered_by == (outcome.result.answered_by if outcome.result else None)
        assert one.facts.reason == outcome.reason


def told(one: Audited) -> Any:
    """What it says, without what is of its own place, time and price. Who asks at once asks again what is refused."""
    facts = msgspec.structs.replace(one.facts, source=None, requested_ms=None, deadline_ms=None)
    remote = facts.remote and msgspec.structs.replace(facts.remote, cost=0.0, latency_ms=0.0, calls=1)
    local = facts.local and msgspec.structs.replace(facts.local, latency_ms=0.0)
    return msgspec.to_builtins((msgspec.structs.replace(facts, remote=remote, local=local), one.audit))


def test_an_audit_says_the_same_whether_the_remote_was_asked_in_a_batch_or_at_once(
    setup: Setup, tmp_path: Path
) -> None:
    server = LyingBulkServer(picky_answer)
    asked: dict[str, Any] = {"mode": "both", "batch_if_deadline_beyond": "6h", "threshold": 0.8}
    with provider(server) as url:
        _, pipeline = setup(**overrides(url, **asked), audit=audit_of_all(tmp_path))

        def some(**fields: Any) -> list[Sent]:
            return [request(number, remote=number / 100, **fields) for number in range(40)]

        patient, hurried = pipeline.send(some(deadline_ms=FAR_MS)), pipeline.send(some())
        pipeline.worker()
        outcomes = pipeline.settle(patient + hurried)
        found = audits(pipeline)
    check(patient + hurried, outcomes, found)
    assert {outcome.kind for outcome in outcomes} == {"remote", "low_confidence", "refused"}
    by_place = {one.place: told(one) for one in found}
    assert [by_place[one.place] for one in patient] == [by_place[one.place] for one in hurried]


def test_each_request_is_audited_once_whatever_became_of_it_though_a_worker_dies(setup: Setup, tmp_path: Path) -> None:
    server = LyingBulkServer(faults=Faults(expired=0.2, errored=0.1, shuffled=True))
    with provider(server) as url:
        batch = {"on_expired": "fallback", "records": 30}
        budget = {"calls": 150, "per": "month", "when_spent": "fallback"}
        _, pipeline = setup(
            **overrides(url, batch, threshold=0.8), audit=audit_of_all(tmp_path), budget=budget, kafka=SOON_MISSED
        )
        sent = pipeline.send(
            [request(number, local=0.5 if number % 4 else 0.95, remote=number / 1000) for number in range(300)]
        )
        victim = pipeline.worker()
        wait_until(
            lambda: any(batch.state == "settling" for entry in entries(pipeline) for batch in entry.batches),
            "answers that go out",
            explain=victim.tail,
        )
        victim.kill()
        pipeline.worker()
        outcomes = pipeline.settle(sent)
        found = audits(pipeline)
    check(sent, outcomes, found)
    kinds = {outcome.kind for outcome in outcomes}
    assert kinds >= {"local", "remote", "refused", "timeout", "budget"}


def test_a_shadow_is_asked_at_once_though_all_others_go_into_batches(setup: Setup, tmp_path: Path) -> None:
    server = LyingBulkServer()
    with provider(server) as url:
        audit = audit_of_all(tmp_path, shadow_share=1.0)
        _, pipeline = setup(partitions=1, **overrides(url), audit=audit)
        trusted = pipeline.send([request(number, local=0.95) for number in range(4)])
        sent = trusted + pipeline.send([request(number) for number in range(4)])
        pipeline.worker()
        wait_until(lambda: len(audits(pipeline)) >= len(sent), "an audit of each", explain=pipeline.workers[-1].tail)
        check_exactly_once(sent, pipeline.settle(sent))
        found = audits(pipeline)
    assert Counter(one.place for one in found) == Counter(one.place for one in sent)
    shadows = {one.place for one in found if one.audit.shadow == "answered"}
    assert shadows == {one.place for one in trusted}
    costs = {one.place: one.facts.remote.cost for one in found if one.facts.remote}
    assert costs == {one.place: 0.5 if one in trusted else 0.25 for one in sent}
