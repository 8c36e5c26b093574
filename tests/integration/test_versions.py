"""Versions of the thresholds from a topic: workers follow it without a restart, and judge by nothing that it lacks."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from bisupervised.schemas.versions import ThresholdsEntry, encode_version
from bisupervised.streams.cli import run
from bisupervised.streams.settings.file import load_configuration
from bisupervised.streams.versions.entries import next_entry
from bisupervised.streams.versions.fold import fold
from prometheus_client.parser import text_string_to_metric_families
from support.pipeline import Outcome, Pipeline, Setup, Worker, check_exactly_once, request, wait_until
from support.versions import PAIRS, laddered_file

LEFT_OUT: Mapping[str, Any] = {"threshold": None}


def following(setup: Setup, folder: Path, **more: Any) -> Pipeline:
    """A pipeline whose workers follow the topic, with the ladder of `support.versions`."""
    file = {"file": str(laddered_file(folder)), "version": None, "follow": True}
    return setup(local=LEFT_OUT, remote=LEFT_OUT, thresholds=file, **more)[1]


def say(pipeline: Pipeline, *words: str) -> int:
    return run(["audit", *words, "--by", "ann", "--config", str(pipeline.config)])


def told(pipeline: Pipeline, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["audit", *words, "--json", "--config", str(pipeline.config)]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def write(pipeline: Pipeline, *entries: ThresholdsEntry) -> None:
    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=pipeline.servers, enable_idempotence=True) as producer:
            for entry in entries:
                await producer.send_and_wait(
                    pipeline.topic("thresholds"), encode_version(entry), entry.version.encode()
                )

    asyncio.run(send())


def entry_of(pipeline: Pipeline, rung: int, **more: Any) -> ThresholdsEntry:
    """The first of the topic, as the auditor would write it; `more`: what its ladder has otherwise."""
    ladder = load_configuration(pipeline.config, {}).terms.ladder
    assert ladder is not None
    made_for = replace(ladder, **more)
    empty = fold([], pipeline.name, made_for)
    return next_entry(empty, pipeline.name, made_for, rung, "tighten", by="auditor", at_ms=1)


def metric(worker: Worker, name: str) -> float:
    with urllib.request.urlopen(f"{worker.page}metrics", timeout=10) as response:
        text = response.read().decode()
    (value,) = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]
    return float(value)


def not_ready(worker: Worker) -> list[str]:
    """Why it is not ready."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{worker.page}ready", timeout=10)
    assert caught.value.code == 503
    return [str(reason) for reason in json.loads(caught.value.read())["reasons"]]


def judged_by(outcome: Outcome) -> list[tuple[str, str, float | None]]:
    """What judged: which score, the version that the record names for it, and the threshold."""
    result, facts = outcome.result, outcome.facts
    if result is not None and result.answered_by == "local":
        return [("local", result.thresholds, result.threshold)]
    local = result.local if result is not None else facts.local if facts is not None else None
    version = result.thresholds if result is not None else facts.thresholds if facts is not None else ""
    assert local is not None
    remote = result.threshold if result is not None else facts.remote.threshold  # type: ignore[union-attr]
    return [("local", local.thresholds or version, local.threshold), ("remote", version, remote)]


def check_judged(outcomes: list[Outcome], rungs: Mapping[str, int]) -> set[str]:
    """Each threshold is that of the version that the record names, and the topic holds it. Returns the versions."""
    seen = set()
    for outcome in outcomes:
        for which, version, threshold in judged_by(outcome):
            assert version in rungs, f"{version} is not in the topic"
            assert threshold == PAIRS[rungs[version] - 1][which == "remote"], (which, version)
            seen.add(version)
    return seen


def taken(worker: Worker, version: str) -> None:
    wait_until(
        lambda: any(line.get("thresholds") == version for line in worker.told() if line["action"] == "version_taken"),
        f"{version} at {worker!r}",
        explain=worker.tail,
    )


def test_workers_follow_under_load_and_records_name_who_judged(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rungs are set, pinned and rolled back while two workers are busy; a third starts late and finds the last one."""
    pipeline = following(setup, tmp_path, delay_s=0.01)
    workers = [pipeline.worker(), pipeline.worker()]
    for worker in workers:
        worker.wait_for("worker_started")
    sent = pipeline.send([request(n, local=0.75, remote=0.75) for n in range(100)])
    pipeline.wait_for_outcomes(sent)
    stop = threading.Event()

    def load() -> None:
        number = 100
        while not stop.wait(0.02):
            sent.extend(pipeline.send([request(n, local=0.75, remote=0.75) for n in range(number, number + 10)]))
            number += 10

    busy = threading.Thread(target=load)
    busy.start()
    try:
        assert say(pipeline, "set", "1", "--why", "it is cheap") == 0
        first = told(pipeline, capsys, "history")["version"]
        for worker in workers:
            taken(worker, first)
        assert say(pipeline, "pin", "4", "--why", "a complaint") == 0
        assert say(pipeline, "set", "2", "--why", "no") == 2, "it is pinned"
        pinned = told(pipeline, capsys, "history")
        assert pinned["pinned"]
        write(pipeline, entry_of(pipeline, 2))  # the auditor, who knows of nothing of this
        assert say(pipeline, "unpin", "--why", "solved") == 0
        assert say(pipeline, "set", first, "--why", "back") == 0
        history = told(pipeline, capsys, "history")
        for worker in workers:
            taken(worker, history["version"])
        late = pipeline.worker()
        taken(late, history["version"])
    finally:
        stop.set()
        busy.join()
    after = pipeline.send([request(n, local=0.75, remote=0.75) for n in range(5000, 5040)])
    outcomes = pipeline.settle([*sent, *after])
    check_exactly_once([*sent, *after], outcomes)
    fates = [version["fate"] for version in history["versions"]]
    assert fates == ["former", "former", "void", "former", "in force"]
    rungs = {"made": 3} | {v["version"]: v["rung"] for v in history["versions"] if v["fate"] in ("former", "in force")}
    seen = check_judged(outcomes, rungs)
    assert {"made", first, history["version"]} <= seen
    last = {outcome.place: outcome for outcome in outcomes}
    assert {judged_by(last[one.place])[0][1] for one in after} == {history["version"]}
    assert {last[one.place].kind for one in after} == {"local"}
    assert run(["audit", "history", "--config", str(pipeline.config)]) == 0
    shown = capsys.readouterr().out
    assert "a complaint" in shown
    assert f"in force: {history['version']}, rung 1 of 4, set by ann" in shown


def test_a_lost_topic_leaves_the_last_version(setup: Setup, tmp_path: Path) -> None:
    pipeline = following(setup, tmp_path)
    assert say(pipeline, "set", "4", "--why", "a complaint") == 0
    worker = pipeline.ready_worker()
    (version,) = [line["thresholds"] for line in worker.told() if line["action"] == "version_taken"]
    sent = pipeline.send([request(n, local=0.85) for n in range(20)])
    pipeline.wait_for_outcomes(sent)
    pipeline.delete("thresholds")
    worker.wait_for("versions_lost")
    assert metric(worker, "bisupervised_thresholds_lost") == 1
    sent += pipeline.send([request(n, local=0.85) for n in range(20, 40)])
    pipeline.wait_for_outcomes(sent)
    pipeline.create()
    worker.wait_for("versions_found")
    worker.wait_for("version_refused")  # the new topic is empty: it is no leave to go back to the file
    assert metric(worker, "bisupervised_thresholds_refused") == 1
    sent += pipeline.send([request(n, local=0.85) for n in range(40, 60)])
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert check_judged(outcomes, {version: 4}) == {version}


def test_a_worker_waits_for_a_version_that_was_made_for_its_scores(setup: Setup, tmp_path: Path) -> None:
    """It is not ready, judges nothing, and stops when it is told to; the next one goes on where a person says so."""
    pipeline = following(setup, tmp_path)
    write(pipeline, entry_of(pipeline, 4, score="made otherwise"))
    sent = pipeline.send([request(n, local=0.85) for n in range(20)])
    worker = pipeline.worker()
    worker.wait_for("version_refused")
    wait_until(lambda: any("scores are made otherwise" in why for why in not_ready(worker)), "the reason")
    assert worker.stop() == 0
    assert pipeline.outcomes() == []
    worker = pipeline.worker()
    worker.wait_for("version_refused")
    assert say(pipeline, "set", "2", "--why", "these scores are right") == 0
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {judged_by(outcome)[0][2] for outcome in outcomes} == {PAIRS[1][0]}
