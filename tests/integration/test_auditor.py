"""One auditor in the fleet: it sees a drift though workers die, and the report finds the same, to the bit."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaError, ProducerFenced
from bisupervised.agents.supervision.thresholds import Target, signed, write_thresholds
from bisupervised.schemas.closings import Closing, Taken, VersionTold, decode_closing
from bisupervised.schemas.codec import decode_facts
from bisupervised.streams.auditor.auditor import AuditorPolicy
from bisupervised.streams.auditor.making import auditor_policy
from bisupervised.streams.auditor.trust import Trust
from bisupervised.streams.cli import run
from bisupervised.streams.settings.file import load_configuration
from support.pipeline import Pipeline, Sent, Setup, request, wait_until
from support.thresholds import thresholds

PROMISE = 0.1
#: of the inputs, so many are answered wrongly after the drift
DRIFTED = 3


def promised(folder: Path) -> str:
    """A thresholds file that promises at most 10 % wrong among the trusted."""
    path = folder / "thresholds.json"
    made = msgspec.structs.replace(thresholds(), target=Target("error", PROMISE))
    write_thresholds(path, signed(made))
    return str(path)


def audited(folder: Path) -> dict[str, dict[str, Any]]:
    secret = folder / "secret"
    secret.write_text("only the fleet knows\n")
    audit = {"share": 0.5, "secret_file": str(secret), "close_every_s": 0.3, "labels_to_false_alarm": 100.0}
    return {
        "kafka": {"session_timeout_s": 3.0},  # a killed worker is missed soon
        "audit": audit,
        "thresholds": {"file": promised(folder), "version": None},
        "local": {"threshold": None},
        "remote": {"threshold": None},
    }


def closings(pipeline: Pipeline) -> list[Closing]:
    return [decode_closing(record.value) for record in pipeline.records("trust")]


def last_told(pipeline: Pipeline) -> VersionTold | None:
    """As the last closing, or one before it, has the only version."""
    told = [one for closing in closings(pipeline) for one in closing.versions]
    return told[-1] if told else None


def label(pipeline: Pipeline, known: set[str], drifted_from: dict[int, int]) -> None:
    """What a person would say of the drawn requests: after the drift, a third of the answers is wrong."""
    votes = []
    for record in pipeline.records("audits"):
        facts = decode_facts(record)
        source = str(facts.source)
        if source in known or facts.local is None:
            continue
        known.add(source)
        verdict = facts.local if facts.local.trusted else (facts.remote or facts.local)
        drifted = facts.source.offset >= drifted_from.get(facts.source.partition, 1 << 60)
        wrong = drifted and len(known) % DRIFTED == 0
        document = {"source": source, "truth": 9 if wrong else verdict.prediction, "by": "script", "v": 1}
        votes.append(Sent(json.dumps(document).encode(), source.encode()))
    pipeline.send(votes, "labels")


def stream(pipeline: Pipeline, count: int) -> list[Sent]:
    return pipeline.send([request(number, local=0.95) for number in range(count)])


@pytest.mark.long(40)
def test_a_drift_is_seen_and_the_report_says_the_same_though_workers_die(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, pipeline = setup(**audited(tmp_path))
    known: set[str] = set()
    workers = [pipeline.worker() for _ in range(3)]
    sent = stream(pipeline, 200)
    wait_until(lambda: last_told(pipeline) is not None, "a closing that tells of requests", explain=workers[0].tail)
    label(pipeline, known, {})
    workers[0].kill()
    workers.append(pipeline.worker())
    drifted = {n: max(s.offset for s in sent if s.partition == n) + 1 for n in range(pipeline.partitions)}
    stream(pipeline, 200)

    def seen() -> bool:
        label(pipeline, known, drifted)
        told = last_told(pipeline)
        return told is not None and any(alarm.raised for alarm in told.alarms)

    wait_until(seen, "the alarm", explain=workers[1].tail)
    auditor = next(w for w in workers[1:] if closings(pipeline)[-1].by.endswith(f":{w.process.pid}"))
    auditor.kill()
    number = closings(pipeline)[-1].number
    stream(pipeline, 100)
    label(pipeline, known, drifted)
    wait_until(lambda: closings(pipeline)[-1].number > number, "another auditor", explain=workers[-1].tail)
    check(pipeline, capsys)


def check(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    """The report reckons every closing again, from the first record on, and finds the same."""
    for worker in pipeline.workers:
        if worker.process.poll() is None:
            worker.stop()
    found = closings(pipeline)
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    assert {one.why for one in found[1:]} == {""}
    assert len({one.by for one in found}) > 1
    capsys.readouterr()
    assert run(["audit", "report", "--config", str(pipeline.config), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["closings"] == {
        "recomputed": len(found),
        "first": 1,
        "last": len(found),
        "digest": found[-1].digest,
        "agree": True,
        "differing": [],
    }
    (version,) = report["versions"]
    told = last_told(pipeline)
    assert told is not None
    assert version["alarms"][0]["raised"] >= told.alarms[0].raised >= 1
    assert version["evidence"] >= told.evidence > 0
    assert time.time() * 1000 > found[-1].at_ms > 0


def test_an_auditor_that_was_frozen_appends_nothing_when_it_wakes(setup: Setup, tmp_path: Path) -> None:
    """Whoever opens the topic last is the auditor, and reads what the one before it has written."""
    _, pipeline = setup(**audited(tmp_path))
    asyncio.run(check_fenced(pipeline))
    gc.collect()  # what the client of the frozen one leaves behind is told now, and not in another test


async def check_fenced(pipeline: Pipeline) -> None:
    policy = auditor_policy(load_configuration(pipeline.config, {}))
    taken = Taken({"0": 0, "1": 0}, 0)

    def closing(number: int, by: str) -> Closing:
        return Closing(number, pipeline.name, 0, taken, taken, "", whole=True, by=by)

    async with opened(policy) as frozen:
        first = await frozen.append(closing(1, "frozen"))
        async with opened(policy) as other:
            assert await other.from_last_whole() == [first]
            second = await other.append(closing(2, "other"))
            assert second.written_ms >= first.written_ms > 0
            with pytest.raises((ProducerFenced, KafkaError)):
                await frozen.append(closing(2, "frozen"))
            assert await other.news() == []
            third = await other.append(closing(3, "other"))
            begin, end = await other.bounds()
            assert await other.read(begin, end) == [first, second, third]


@asynccontextmanager
async def opened(policy: AuditorPolicy) -> AsyncIterator[Trust]:
    timeouts_s = (policy.transaction_timeout_s, policy.request_timeout_s)
    trust = Trust(policy.connection, policy.trust, policy.pipeline, policy.transactional_id, timeouts_s)
    await trust.start()
    try:
        yield trust
    finally:
        await trust.close()
