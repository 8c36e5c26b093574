"""The answers of a system that ran, judged again: what would change, and records of it, whatever kills the run."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from bisupervised.schemas.codec import decode_facts, decode_result, encode_facts
from bisupervised.schemas.records import FACTS_HEADER, Facts, Source, Verdict
from bisupervised.streams import cli
from bisupervised.streams.console import options
from support.pipeline import Pipeline, Sent, Setup, Worker, mixed, wait_until
from support.thresholds import thresholds_file

INPUTS = 90
ANSWERS = 6000
ROLES = ("again-results", "again-fallback")


def words(pipeline: Pipeline, thresholds: Path, *more: str) -> list[str]:
    return ["rejudge", "--config", str(pipeline.config), "--thresholds", str(thresholds), *more]


def into(pipeline: Pipeline) -> list[str]:
    return ["--results", pipeline.topic(ROLES[0]), "--fallback", pipeline.topic(ROLES[1])]


def make(pipeline: Pipeline, roles: Sequence[str]) -> None:
    async def made() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=pipeline.servers)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(pipeline.topic(role), pipeline.partitions, 1) for role in roles])
        finally:
            await admin.close()

    asyncio.run(made())


def sources(pipeline: Pipeline) -> Counter[Source]:
    """Whose outcomes were written."""
    results = [decode_result(record.value).source for record in pipeline.records(ROLES[0])]
    return Counter(results + [decode_facts(record).source for record in pipeline.records(ROLES[1])])


def test_a_report_and_records_of_what_would_change_without_a_call(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remote, pipeline = setup()
    sent = pipeline.send(mixed(INPUTS))
    pipeline.worker()
    pipeline.settle(sent)
    calls = remote.calls
    stricter, milder = thresholds_file(tmp_path, 0.96, 0.95), thresholds_file(tmp_path, 0.4, 0.3)

    assert cli.run(words(pipeline, stricter, "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    third = INPUTS // 3
    assert (report["answers"], report["answered_locally"], report["locally_now_doubtful"]) == (2 * third, third, third)
    assert (report["trusted_to_rejected"], report["rejected_to_trusted"], report["same"]) == (third, 0, third)
    [change] = report["changes"]
    assert (change["before"], change["after"], change["inputs"]) == ("trusted", "low_confidence", third)
    name = pipeline.topic("requests")
    assert set(change["examples"]) < {f"{name}-{r.partition}-{r.offset}" for r in sent[1::3]}

    assert cli.run(words(pipeline, milder)) == 0
    told = capsys.readouterr().out
    assert f"{third} inputs were answered by the local model" in told
    assert "low_confidence" in told
    assert "trusted" in told

    assert cli.run(words(pipeline, milder, *into(pipeline))) == options.MISUSED
    assert "the broker has no such topic" in capsys.readouterr().err
    make(pipeline, ROLES)
    assert cli.run(words(pipeline, milder, *into(pipeline), "--json")) == 0
    assert json.loads(capsys.readouterr().out)["written"] == {
        pipeline.topic(ROLES[0]): 2 * third,
        pipeline.topic(ROLES[1]): 0,
    }
    asked = {Source(name, r.partition or 0, r.offset) for number, r in enumerate(sent) if number % 3}
    assert sources(pipeline) == Counter(asked)
    again = [decode_result(record.value) for record in pipeline.records(ROLES[0])]
    assert {(result.thresholds, result.threshold) for result in again} == {("new", 0.3)}
    assert remote.calls == calls


def answers(count: int) -> list[Sent]:
    """Paid answers, every other one of which 0.5 trusts."""
    made = []
    for number in range(count):
        remote = Verdict(1, 0.9 if number % 2 else 0.1, supervisor="max_softmax", cost=1.0, calls=1)
        facts = Facts(Source("requests", 0, number), remote=remote, agent="remote")
        made.append(Sent(b"{}", b"%d" % (number % 50), [(FACTS_HEADER, encode_facts(facts))]))
    return made


@pytest.mark.long(20)
def test_a_killed_run_that_is_repeated_neither_repeats_nor_misses(setup: Setup, tmp_path: Path) -> None:
    _, pipeline = setup(stream={"fetch_records": 20, "transaction_timeout_s": 5.0})
    make(pipeline, ROLES)
    pipeline.send(answers(ANSWERS), "answers")
    command = ["bisupervised.streams.cli", *words(pipeline, thresholds_file(tmp_path, 0.8, 0.5), *into(pipeline))]
    seen = 0
    for _ in range(3):
        seen = killed_on_the_way(pipeline, command, seen)
        assert 0 < seen < ANSWERS, "it was killed on the way"
    finish(pipeline, command)
    everybody = Counter({Source("requests", 0, number): 1 for number in range(ANSWERS)})
    assert sources(pipeline) == everybody
    assert [len(pipeline.records(role)) for role in ROLES] == [ANSWERS // 2, ANSWERS // 2]
    told = finish(pipeline, command)
    assert told.count("0 records written") == 2, told
    assert sources(pipeline) == everybody


def killed_on_the_way(pipeline: Pipeline, command: list[str], seen: int) -> int:
    """Kill a run when it has written more than was there. How many records there are then."""
    run = pipeline.start(command)
    wait_until(lambda: written(pipeline) > seen, "records", alive=lambda: run.running, explain=run.tail)
    run.kill()
    return written(pipeline)


def written(pipeline: Pipeline) -> int:
    return sum(len(pipeline.records(role)) for role in ROLES)


def finish(pipeline: Pipeline, command: list[str]) -> str:
    """Run to the end; what it told."""
    run: Worker = pipeline.start(command)
    assert run.wait(120.0) == 0, run.tail()
    return run.tail(9)


def test_two_runs_at_once_are_one(setup: Setup, tmp_path: Path) -> None:
    """The later one goes on from where the former one was, which ends and says so, or had its end already."""
    _, pipeline = setup(stream={"fetch_records": 20})
    make(pipeline, ROLES)
    pipeline.send(answers(2000), "answers")
    command = ["bisupervised.streams.cli", *words(pipeline, thresholds_file(tmp_path, 0.8, 0.5), *into(pipeline))]
    first = pipeline.start(command)
    wait_until(lambda: written(pipeline) > 0, "records", alive=lambda: first.running, explain=first.tail)
    finish(pipeline, command)
    assert first.wait(60.0) in (options.DONE, options.FAILED)
    assert sources(pipeline) == Counter({Source("requests", 0, number): 1 for number in range(2000)})
