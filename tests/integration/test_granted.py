"""The list of ACLs against a broker that asks: with what it prints a worker runs, without any of it none does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from bisupervised.agents.auditing.matching import exact
from bisupervised.schemas.audits import Audit, Label, audit_record, decode_label
from bisupervised.schemas.records import Facts, Source, Verdict
from bisupervised.streams import cli
from bisupervised.streams.commands.check_kafka import look_at_broker
from bisupervised.streams.review.feed import Feed
from bisupervised.streams.review.kafka import Inputs, Labels
from bisupervised.streams.review.queue import Policy, Queue
from support.configurations import configuration_of
from support.grants import Grant, grant, parsed, revoke
from support.outcomes import incoming
from support.pipeline import (
    PATIENCE_S,
    Pipeline,
    Remote,
    Sent,
    Worker,
    check_exactly_once,
    check_kinds,
    mixed,
    request,
    wait_until,
)
from support.secured import USER, Secured, secured_broker

BUDGET = {"calls": 1000, "per": "month"}
#: what a worker tells where something is missing: operation, resource, name
DENIED = re.compile(r"the broker does not allow (\w+) on the ([\w-]+) '([^']+)': `bisupervised topics acls` prints")


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_broker(tmp_path_factory.mktemp("asking"), authorizing=True) as made:
        yield made


@pytest.fixture
def pipeline(asking: Secured, tmp_path: Path) -> Iterator[Pipeline]:
    """Its topics are there; its worker comes in as a user who may do nothing yet."""
    servers = asking.broker.bootstrap_servers
    with Remote() as remote, Pipeline(servers, tmp_path, remote.url, {"budget": BUDGET}, 1) as made:
        come_in_as_user(made, asking)
        yield made


def come_in_as_user(pipeline: Pipeline, asking: Secured, **tables: Any) -> None:
    kafka = {
        "bootstrap_servers": asking.doors["SASL_PLAINTEXT"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_username": USER,
        "sasl_password_file": asking.file("password"),
    }
    pipeline.configure({"budget": BUDGET, "kafka": kafka, **tables})


def topics_command(pipeline: Pipeline, *words: str) -> tuple[int, str, str]:
    """Exit status, and what it wrote to both streams."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = cli.run(["topics", *words, "--config", str(pipeline.config)])
    return code, out.getvalue(), err.getvalue()


def printed(pipeline: Pipeline, *words: str) -> list[Grant]:
    code, lines, faults = topics_command(pipeline, "acls", "--principal", f"User:{USER}", *words)
    assert code == 0, faults
    return parsed(lines.splitlines())


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_what_it_prints_is_enough(asking: Secured, pipeline: Pipeline, delivery: str) -> None:
    come_in_as_user(pipeline, asking, stream={"delivery": delivery})
    grant(pipeline.servers, printed(pipeline))
    sent = pipeline.send(mixed(30))
    worker = pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)
    assert DENIED.findall(worker.log.read_text()) == []


def test_it_is_enough_for_the_check_too(pipeline: Pipeline) -> None:
    async def told() -> list[tuple[str, str]]:
        return [(found.level, found.text) async for found in look_at_broker(configuration_of(pipeline.settings))]

    grant(pipeline.servers, printed(pipeline))
    lines = asyncio.run(told())
    assert ("ok", "transactions work") in lines
    assert "fault" not in {level for level, _ in lines}


def test_topics_are_made_with_what_it_prints_for_that(asking: Secured, pipeline: Pipeline) -> None:
    others = {role: f"{pipeline.name}-new-{role}" for role in ("requests", "budget")}
    kept = {role: pipeline.topic(role) for role in ("doubtful", "answers", "results", "fallback")}
    come_in_as_user(pipeline, asking, topics={**others, **kept, "partitions": 1})
    grant(pipeline.servers, [one for one in printed(pipeline, "--creation") if "new-budget" not in one.name])
    code, _, faults = topics_command(pipeline, "create")
    assert (code, [fault.split(":")[0] for fault in faults.splitlines()]) == (1, [others["budget"]])
    grant(pipeline.servers, printed(pipeline, "--creation"))
    assert topics_command(pipeline, "create")[0] == 0
    assert set(others.values()) <= set(pipeline.names())


def test_people_may_label_with_what_it_prints_for_that(asking: Secured, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("only the fleet knows")
    audit = {"share": 1.0, "secret_file": str(tmp_path / "secret")}
    servers = asking.broker.bootstrap_servers
    with Pipeline(servers, tmp_path, "http://127.0.0.1:1", {"budget": BUDGET, "audit": audit}, 1) as pipeline:
        come_in_as_user(pipeline, asking, audit=audit)
        facts = Facts(Source("requests", 0, 0), local=Verdict("cat", 0.9), thresholds="1")
        record = audit_record(incoming(), facts, Audit(pipeline.name, "trusted", 1.0, "local"))
        pipeline.send([Sent(record.value, headers=record.headers)], "audits")
        grant(servers, printed(pipeline, "--review"))
        asyncio.run(asyncio.wait_for(label_one(pipeline), PATIENCE_S))
        (written,) = pipeline.records("labels")
    assert decode_label(written.value) == Label("requests-0-0", "cat", "ann")


async def label_one(pipeline: Pipeline) -> None:
    """As the page does, and until it has heard of it."""
    settings, queue = pipeline.settings, Queue(Policy(1e9, 60.0), exact)
    feed, inputs, labels = Feed(settings, queue, fallback=False), Inputs(settings), Labels(settings)
    reading = asyncio.create_task(feed.run())
    await feed.loaded.wait()
    found = queue.next("ann", 0.0)
    assert found is not None
    assert await inputs.value(found.place) == incoming().value
    await labels.write(Label(found.drawn.source, "cat", "ann"))
    while len(queue):  # noqa: ASYNC110  # the queue tells nobody
        await asyncio.sleep(0.05)
    reading.cancel()
    await asyncio.wait((reading,))
    await inputs.stop()
    await labels.stop()


def test_a_budget_that_may_not_be_written_for_a_while_goes_on_afterwards(asking: Secured, tmp_path: Path) -> None:
    """The producer whose write was refused would count its records wrong for ever: there is another one then."""
    servers, small = asking.broker.bootstrap_servers, {**BUDGET, "lease_share": 0.003}
    with Remote() as remote, Pipeline(servers, tmp_path, remote.url, {"budget": BUDGET}, 1) as pipeline:
        come_in_as_user(pipeline, asking, budget=small, remote={"batch_size": 1, "batch_wait_ms": 0})
        grants = printed(pipeline)
        writing = [one for one in grants if one.operation == "Write" and one.name == pipeline.topic("budget")]
        assert len(writing) == 1
        grant(servers, grants)
        sent = pipeline.send([request(n) for n in range(6)])
        worker = pipeline.worker()
        wait_until(lambda: remote.calls == 6, "calls that are paid for", explain=worker.tail)
        revoke(servers, writing)
        sent += pipeline.send([request(n) for n in range(6, 36)])
        worker.wait_for("budget_unwritten", 3)
        assert remote.calls < 36
        grant(servers, writing)
        outcomes = pipeline.settle(sent, timeout_s=20)
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}


def test_who_may_not_write_trust_answers_all_the_same_and_says_what_to_grant(asking: Secured, tmp_path: Path) -> None:
    """Requests are answered and audited; nobody says whether the promise is true until the right is there."""
    (tmp_path / "secret").write_text("only the fleet knows")
    audit = {"share": 1.0, "secret_file": str(tmp_path / "secret"), "close_every_s": 0.3}
    servers = asking.broker.bootstrap_servers
    with Remote() as remote, Pipeline(servers, tmp_path, remote.url, {"budget": BUDGET, "audit": audit}, 1) as pipeline:
        come_in_as_user(pipeline, asking, audit=audit)
        trust = pipeline.topic("trust")
        needed = printed(pipeline)
        missing = [one for one in needed if one.name == trust and one.operation == "Write"]
        assert len(missing) == 1
        grant(servers, [one for one in needed if one not in missing])
        sent = pipeline.send([request(n, local=0.95) for n in range(12)])
        worker = pipeline.worker()
        pipeline.wait_for_outcomes(sent)
        assert len(pipeline.records("audits")) == 12
        worker.wait_for("audit_failed")
        assert f"does not allow Write on the topic '{trust}'" in worker.log.read_text()
        assert worker.running
        grant(servers, missing)
        wait_until(lambda: bool(pipeline.records("trust")), "a closing", explain=worker.tail)
        check_exactly_once(sent, pipeline.settle(sent))


@pytest.mark.long(40)
def test_each_that_is_missing_is_named_until_none_is(pipeline: Pipeline) -> None:
    """A worker asks for one after the other, by name. In the end everything has been answered exactly once."""
    sent = pipeline.send(mixed(6))
    needed = printed(pipeline)
    blind = pipeline.worker()
    assert blind.wait() != 0
    for topic in {one.name for one in needed if one.resource == "topic"}:
        assert f"[topics] {topic}: the broker has no such topic" in blind.log.read_text()
    assert f"`bisupervised topics acls --config {pipeline.config}` prints" in blind.log.read_text()
    grant(pipeline.servers, [one for one in needed if one.operation == "Describe"])
    essential = {one for one in needed if one.operation in ("Read", "Write")}
    missing = set(essential)
    while missing:
        asked = asked_for(pipeline.worker(), missing)
        missing -= asked
        grant(pipeline.servers, asked)
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)
    assert len(essential) == 15


def asked_for(worker: Worker, missing: set[Grant]) -> set[Grant]:
    """What it tells is missing. It ends on that, but where only the budget cannot be known: then records wait."""

    def told_or_ended() -> bool:
        return bool(DENIED.search(worker.log.read_text())) or not worker.running

    wait_until(told_or_ended, "what is missing", explain=worker.tail)
    if "budget" not in "".join(name for _, _, name in DENIED.findall(worker.log.read_text())):
        assert worker.wait() in (1, 2)  # 2: before anything started
    worker.stop()
    told = set(DENIED.findall(worker.log.read_text()))
    asked = {one for one in missing for words in told if names(words, one)}
    assert asked, worker.tail()
    assert [words for words in told if not any(names(words, one) for one in asked)] == [], "and nothing else"
    return asked


def names(words: tuple[str, str, str], one: Grant) -> bool:
    operation, resource, name = words
    same = name.startswith(one.name) if one.pattern == "prefixed" else name == one.name
    return same and (operation, resource.replace("-", "_")) == (one.operation, one.resource)
