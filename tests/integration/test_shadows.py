"""Trusted answers whose request is drawn: the remote is asked as well, where nobody waits for it, whatever dies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bisupervised.schemas.audits import Audit
from bisupervised.schemas.records import Facts
from support.audit_topic import audits as audited
from support.audit_topic import drawn, secret
from support.pipeline import LOCAL_THRESHOLD, Pipeline, Setup, check_exactly_once, mixed, request, wait_until
from support.scraping import Scraped


def audits(pipeline: Pipeline) -> list[tuple[Facts, Audit]]:
    return [(one.facts, one.audit) for one in audited(pipeline)]


def place_of(facts: Facts) -> tuple[int, int]:
    return (facts.source.partition, facts.source.offset)


def wait_for_audits(pipeline: Pipeline, count: int) -> list[tuple[Facts, Audit]]:
    wait_until(lambda: len(audits(pipeline)) >= count, f"{count} audits", explain=pipeline.workers[-1].tail)
    return audits(pipeline)


def test_each_drawn_request_has_one_outcome_and_one_audit_though_workers_die(setup: Setup, tmp_path: Path) -> None:
    settings = {"share": 0.2, "shadow_share": 0.6, "secret_file": secret(tmp_path)}
    _, pipeline = setup(delay_s=0.02, audit=settings)
    sent = pipeline.send(mixed(240))
    for _ in range(2):
        victim, before = pipeline.worker(), len(pipeline.records("audits"))
        wait_until(lambda: len(pipeline.records("audits")) > before, "an audit", explain=victim.tail)  # noqa: B023  # waited for here
        victim.kill()
    sent += pipeline.send(mixed(240))
    pipeline.worker()
    pipeline.wait_for_outcomes(sent)
    topic_id = audits(pipeline)[0][0].topic_id
    expected, labelled = (drawn(pipeline, share, topic_id, sent) for share in (0.6, 0.2))
    wait_for_audits(pipeline, len(expected))
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    found, kinds = audits(pipeline), {outcome.place: outcome.kind for outcome in outcomes}
    assert Counter(place_of(facts) for facts, _ in found) == Counter(expected)
    assert {place_of(facts) for facts, audit in found if audit.label} == labelled
    for facts, audit in found:
        assert audit.shadow == ("answered" if kinds[place_of(facts)] == "local" else None)
        assert facts.local is not None
        assert facts.remote is not None
        assert facts.remote.prediction == facts.local.prediction
        assert facts.remote.trusted == (audit.ended == "trusted")


def test_they_wait_while_others_need_the_remote_and_are_paid_by_their_own_share(setup: Setup, tmp_path: Path) -> None:
    """Forty trusted inputs are to be asked about, and money is there for ten calls. Then sixty doubtful ones come."""
    remote, pipeline = setup(
        delay_s=0.1,
        partitions=1,
        remote={"in_flight": 4, "batch_size": 1},
        budget={"calls": 1000, "per": "month"},
        audit={"shadow_share": 1.0, "budget_share": 0.01, "secret_file": secret(tmp_path)},
    )
    scraped = Scraped(pipeline)
    remote.close_gate()
    sent = pipeline.send([request(number, local=0.95) for number in range(40)])
    wait_until(lambda: remote.calls > 0, "a call about a shadow", explain=scraped.worker.tail)
    sent += pipeline.send([request(number) for number in range(60)])
    wait_until(lambda: len(remote.local) == 5, "the places", explain=scraped.worker.tail)
    remote.open_gate()
    outcomes = pipeline.wait_for_outcomes(sent)
    assert len(outcomes) == 100
    found = wait_for_audits(pipeline, 100)
    shadows = [local > LOCAL_THRESHOLD for local in remote.local]
    assert shadows[0]
    assert not any(shadows[1:5]), "they waited when the gate opened"
    gave_way = round(
        scraped.total("bisupervised_shadow_calls_gave_way_total")
    )  # a busy machine leaves gaps between calls
    assert gave_way >= 1
    became = Counter((audit.shadow, facts.reason) for facts, audit in found)
    assert became == {(None, None): 60, ("answered", None): 10 - gave_way, ("missing", "budget"): 30 + gave_way}
    assert scraped.total("bisupervised_shadow_budget_used", unit="calls") == 10
    check_exactly_once(sent, pipeline.settle(sent))
    assert "fallback" not in {outcome.topic for outcome in outcomes}
