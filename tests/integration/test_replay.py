"""Replaying the fallback topic on a real broker: killed where it may be, nothing is lost, doubled or changed."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from bisupervised.schemas.codec import OUR_HEADERS, fall_back, header
from bisupervised.schemas.records import REPLAY_HEADER, Facts, Source
from bisupervised.streams import cli
from support.pipeline import Pipeline, Sent, Setup, Worker, request, wait_until
from support.records import Record

COUNT = 6000
START_MS = 1_700_000_000_000


def fallen(pipeline: Pipeline, number: int) -> Sent:
    """A fallback record as an agent writes it; every third is of another reason."""
    value = random.Random(number).randbytes(200) if number % 5 else None
    headers = [("a", b"\xff%d" % number), ("a", b"again"), ("traceparent", b"00-x")]
    original = Record(
        value, number, pipeline.topic("requests"), number % 2, START_MS + number, b"k%d" % number, headers
    )
    facts = Facts(Source(original.topic, original.partition, original.offset))
    outcome = fall_back(original, facts, "low_confidence" if number % 3 == 2 else "timeout", "late", "remote")
    return Sent(outcome.value, outcome.key, outcome.headers, outcome.timestamp, number % 2)


def bare(record: Any) -> tuple[Any, ...]:
    """What a record is but for the headers of ours."""
    kept = tuple(pair for pair in record.headers if pair[0] not in (*OUR_HEADERS, REPLAY_HEADER))
    return (record.partition, record.key, record.value, record.timestamp, kept)


def offsets(pipeline: Pipeline) -> int:
    """How far the topic of requests has grown, records that are not committed included."""

    async def ask() -> int:
        async with AIOKafkaConsumer(bootstrap_servers=pipeline.servers) as consumer:
            ends = await consumer.end_offsets([pipeline.tp("requests", number) for number in range(2)])
        return sum(ends.values())

    return asyncio.run(ask())


def replay(pipeline: Pipeline, name: str, *more: str) -> list[str]:
    return ["fallback", "replay", name, "--config", str(pipeline.config), *more]


def as_process(pipeline: Pipeline, words: list[str]) -> Worker:
    return Worker(["bisupervised.streams.cli", *words], pipeline.folder / f"replay-{time.monotonic_ns()}.log", {})


def test_killed_again_and_again_it_repeats_nothing_and_misses_nothing(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    _, pipeline = setup()
    sent = [fallen(pipeline, number) for number in range(COUNT)]
    pipeline.send(sent, "fallback")
    words = replay(pipeline, "first", "--reason", "timeout")
    chance, kills, seen = random.Random(), 0, []
    for _ in range(8):
        most = offsets(pipeline) + chance.randrange(1500)
        with as_process(pipeline, words) as run:
            wait_until(lambda: offsets(pipeline) > most or not run.running, "records of the replay", 30)  # noqa: B023  # called at once
            kills += run.running
            run.kill()
        seen.append(len(pipeline.records("requests")))
    pipeline.send([fallen(pipeline, COUNT + 3)], "fallback")  # not of the snapshot
    assert cli.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    # a committed record is shown a moment after its commit is answered: the marker is written then
    wait_until(lambda: len(pipeline.records("requests")) >= told["replayed"], "the last transaction", 10)
    got = pipeline.records("requests")
    wanted = Counter(bare(record) for number, record in enumerate(sent) if number % 3 != 2)
    found = Counter(bare(record) for record in got)
    extra, missing = found - wanted, wanted - found
    assert (len(got), extra.total(), missing.total()) == (wanted.total(), 0, 0), [*extra][:2] + [*missing][:2]
    assert (told["replayed"], told["not_chosen"]) == (len(got), COUNT - len(got))
    assert kills >= 3, "the kills came too late"
    print(f"{kills} kills, committed after each run: {seen}")
    first = orjson.loads(header(got[0].headers, REPLAY_HEADER) or b"")
    assert (first["job"], first["loop"], first["reason"]) == ("first", 1, "timeout")
    assert cli.run(words) == 0  # finished: nothing more
    assert len(pipeline.records("requests")) == len(got)


def test_a_dry_run_writes_nothing_and_a_limit_is_exact(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    _, pipeline = setup()
    pipeline.send([fallen(pipeline, number) for number in range(30)], "fallback")
    assert cli.run([*replay(pipeline, "x", "--limit", "7"), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["replayed"] == 7
    assert pipeline.records("requests") == []
    for _ in range(2):
        assert cli.run([*replay(pipeline, "x", "--limit", "7"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["replayed"] == 7
    wait_until(lambda: len(pipeline.records("requests")) >= 7, "the last transaction", 10)
    assert len(pipeline.records("requests")) == 7
    assert cli.run(replay(pipeline, "x", "--limit", "8")) == 1
    assert "was begun as --limit 7" in capsys.readouterr().err


def test_a_replay_runs_through_the_pipeline_and_its_loops_end(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    _, pipeline = setup()
    sent = pipeline.send([request(number, remote=0.4) for number in range(4)])
    pipeline.worker()
    pipeline.wait_for_outcomes(sent)
    for loop in (1, 2):
        assert cli.run(replay(pipeline, f"loop-{loop}", "--loops", "1")) == 0
        again = pipeline.records("requests")
        pipeline.wait_for_outcomes([Sent(None, partition=r.partition, offset=r.offset) for r in again])
    assert len(pipeline.records("requests")) == 12  # another name covers the four first requests once more
    assert "4 left: replayed 1 times already" in capsys.readouterr().out
    outcomes = [o for o in pipeline.outcomes() if header(o.record.headers, REPLAY_HEADER)]
    assert [orjson.loads(header(o.record.headers, REPLAY_HEADER) or b"")["loop"] for o in outcomes] == [1] * 8
    place = outcomes[0].facts
    assert place is not None
    assert cli.run(["fallback", "show", str(place.source), "--config", str(pipeline.config)]) == 0
    shown = capsys.readouterr().out
    assert "low_confidence" in shown
    assert '"loop":1' in shown
    assert cli.run(["fallback", "list", "--config", str(pipeline.config), "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 12


def test_a_value_too_large_to_carry_is_read_at_its_source(setup: Setup) -> None:
    _, pipeline = setup()
    [sent] = pipeline.send([request(1, text="x" * 3000)._replace(partition=1)])
    pipeline.alter("fallback", max_message_bytes="1500")
    pipeline.alter("doubtful", max_message_bytes="1500")
    pipeline.worker()
    [outcome] = pipeline.wait_for_outcomes([sent])
    assert outcome.kind == "too_large"
    assert cli.run(replay(pipeline, "large")) == 0
    assert [record.value for record in pipeline.records("requests")] == [sent.value] * 2


def test_a_second_run_of_the_name_ends_the_first(setup: Setup, tmp_path: Path) -> None:
    _, pipeline = setup()
    pipeline.send([fallen(pipeline, number) for number in range(COUNT)], "fallback")
    with (
        as_process(pipeline, replay(pipeline, "one")) as first,
        as_process(pipeline, replay(pipeline, "one")) as second,
    ):
        codes = sorted((first.wait(), second.wait()))
        logs = first.tail() + second.tail()
    assert codes in ([0, 0], [0, 1])
    assert len(pipeline.records("requests")) == COUNT
    assert codes == [0, 0] or "took over" in logs


def test_a_file_is_produced_and_its_outcomes_are_watched(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, pipeline = setup()
    path = tmp_path / "in.csv"
    path.write_text('id,input\n1,"[1,0.95,0.9,0]"\n2,"[2,0.5,0.4,0]"\n')
    config = ["--config", str(pipeline.config)]
    assert cli.run(["produce", str(path), "--key", "id", *config]) == 0
    got = pipeline.records("requests")
    assert sorted(record.key for record in got) == [b"1", b"2"]
    pipeline.worker()
    pipeline.wait_for_outcomes([Sent(None, partition=r.partition, offset=r.offset) for r in got])
    capsys.readouterr()
    assert cli.run(["tail", "results", "--from-beginning", "--no-follow", *config]) == 0
    assert "local" in capsys.readouterr().out
    assert cli.run(["tail", "fallback", "--from-beginning", "--limit", "1", *config]) == 0
    assert "low_confidence" in capsys.readouterr().out
