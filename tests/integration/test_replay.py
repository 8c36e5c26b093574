"""Replaying the fallback topic on a real broker: killed where it may be, nothing is lost, doubled or changed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import OffsetAndMetadata
from bisupervised.schemas.codec import OUR_HEADERS, fall_back, header
from bisupervised.schemas.records import REPLAY_HEADER, Facts, Source
from bisupervised.streams import cli
from bisupervised.streams.console import options
from bisupervised.streams.tools.job import Job
from bisupervised.streams.tools.replay_run import group_of_replay
from bisupervised.streams.topics.keeping import FOR_EVER_MS
from support.pipeline import Pipeline, Sent, Setup, Worker, request, wait_until
from support.records import Record

COUNT = 6000
#: of those, the ones that fell back for `timeout`
CHOSEN = COUNT * 2 // 3
#: times the replay is killed
KILLS = 6
#: a run takes hundreds of transactions, and so long that no kill comes too late
SMALL_STEPS = {"fetch_records": 20, "transaction_timeout_s": 15.0}
#: a run takes so long that another one starts and joins it on the way
SMALLEST_STEPS = {"fetch_records": 5}
START_MS = 1_700_000_000_000


def fallen(pipeline: Pipeline, number: int, requested_ms: int = 0) -> Sent:
    """A fallback record as an agent writes it; every third is of another reason."""
    value = random.Random(number).randbytes(200) if number % 5 else None
    headers = [("a", b"\xff%d" % number), ("a", b"again"), ("traceparent", b"00-x")]
    original = Record(
        value,
        number,
        pipeline.topic("requests"),
        number % 2,
        requested_ms or START_MS + number,
        b"k%d" % number,
        headers,
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


def grown(pipeline: Pipeline, run: Worker, most: int) -> None:
    """Until the topic of requests is longer than that, while the run is still under way."""
    wait_until(lambda: offsets(pipeline) > most, "records", alive=lambda: run.running, explain=run.tail)


def compared(pipeline: Pipeline, sent: list[Sent]) -> tuple[int, int, int]:
    """Requests there are, those too many, and those that miss, byte for byte."""
    wanted = Counter(bare(record) for number, record in enumerate(sent) if number % 3 != 2)
    found = Counter(bare(record) for record in pipeline.records("requests"))
    return found.total(), (found - wanted).total(), (wanted - found).total()


def settled(pipeline: Pipeline) -> bool:
    """Whether no transaction is open: a commit is answered a moment before its records are shown."""

    async def end(isolation_level: str) -> Any:
        async with AIOKafkaConsumer(bootstrap_servers=pipeline.servers, isolation_level=isolation_level) as consumer:
            return await consumer.end_offsets([pipeline.tp("requests", number) for number in range(2)])

    return bool(asyncio.run(end("read_committed")) == asyncio.run(end("read_uncommitted")))


@pytest.mark.long(20)
def test_killed_again_and_again_it_repeats_nothing_and_misses_nothing(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    _, pipeline = setup(stream=SMALL_STEPS)
    sent = [fallen(pipeline, number) for number in range(COUNT)]
    pipeline.send(sent, "fallback")
    words = replay(pipeline, "first", "--reason", "timeout")
    chance = random.Random()
    for _ in range(KILLS):
        with as_process(pipeline, words) as run:
            grown(pipeline, run, offsets(pipeline) + chance.randrange(200))
            time.sleep(chance.random() * 0.05)  # anywhere in a transaction
            assert run.running, "the kill came too late"
            run.kill()
        assert len(pipeline.records("requests")) < CHOSEN
    pipeline.send([fallen(pipeline, COUNT + 3)], "fallback")  # not of the snapshot
    assert cli.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    wait_until(lambda: settled(pipeline), "the end of the last transaction", 10)
    assert compared(pipeline, sent) == (CHOSEN, 0, 0)
    assert (told["resumed"], told["replayed"], told["not_chosen"]) == (True, CHOSEN, COUNT - CHOSEN)
    first = orjson.loads(header(pipeline.records("requests")[0].headers, REPLAY_HEADER) or b"")
    assert (first["job"], first["loop"], first["reason"]) == ("first", 1, "timeout")
    before = offsets(pipeline)
    assert cli.run(words) == 0  # finished: nothing more
    assert "was finished before" in capsys.readouterr().out
    assert offsets(pipeline) == before


def test_what_retention_took_is_counted_and_not_passed_over(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    _, pipeline = setup(stream=SMALL_STEPS)
    sent = [fallen(pipeline, number) for number in range(COUNT)]
    pipeline.send(sent, "fallback")
    words = replay(pipeline, "late", "--reason", "timeout")
    with as_process(pipeline, words) as run:
        grown(pipeline, run, 0)
        run.kill()
    pipeline.delete_before("fallback", [COUNT // 2, COUNT // 2 - 10])  # a deletion up to an offset, as retention does
    assert cli.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    wait_until(lambda: settled(pipeline), "the end of the last transaction", 10)
    there, extra, _ = compared(pipeline, sent)
    assert (there, extra) == (told["replayed"], 0)
    assert told["deleted"] > COUNT // 2
    assert told["replayed"] + told["not_chosen"] + told["deleted"] == COUNT
    assert told["aged"] == 0


def test_what_the_retention_of_the_target_would_take_gets_the_time_of_now(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    _, pipeline = setup()
    pipeline.send([fallen(pipeline, number, round(time.time() * 1000)) for number in range(3)], "fallback")
    pipeline.send([fallen(pipeline, number) for number in range(30)], "fallback")
    pipeline.alter("requests", retention_ms="3600000")
    assert cli.run([*replay(pipeline, "x", "--dry-run", "--json")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["replayed"], told["aged"]) == (33, 30)
    began_ms = time.time() * 1000
    assert cli.run(replay(pipeline, "x")) == 0
    wait_until(lambda: settled(pipeline), "the end of the last transaction", 10)
    replayed = pipeline.records("requests")
    assert len(replayed) == 33
    for record in replayed:
        former = orjson.loads(header(record.headers, REPLAY_HEADER) or b"")
        aged = former["requested_ms"] < began_ms - 1_800_000
        assert (record.timestamp >= began_ms) if aged else (record.timestamp == former["requested_ms"])


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


@pytest.mark.parametrize("step", ["opened", "in its first transaction"])
def test_a_run_that_died_before_its_first_commit_leaves_its_name_usable(setup: Setup, step: str) -> None:
    _, pipeline = setup()
    sent = [fallen(pipeline, number) for number in range(6)]
    pipeline.send(sent, "fallback")

    async def die() -> None:
        places = [pipeline.tp("fallback", number) for number in range(2)]
        group = group_of_replay(pipeline.settings, "early")
        job = Job(pipeline.settings, group, places, pipeline.topic("requests"), FOR_EVER_MS)
        assert await job.open() == {}
        if step != "opened":
            producer = job._sender.producer
            await producer.begin_transaction()
            offsets = dict.fromkeys(places, OffsetAndMetadata(1, "not a mark"))
            await producer.send_offsets_to_transaction(offsets, job.group)
        await job.close()

    asyncio.run(die())
    assert cli.run(replay(pipeline, "early", "--reason", "timeout")) == 0
    wait_until(lambda: settled(pipeline), "the end of the last transaction", 10)
    assert compared(pipeline, sent) == (4, 0, 0)


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


def test_the_request_of_a_topic_that_was_made_anew_is_not_replayed_for_another(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the same offset lies another request, even of the same time and length."""
    _, pipeline = setup()
    [sent] = pipeline.send([request(1, text="x" * 3000)._replace(partition=1, timestamp=START_MS)])
    pipeline.alter("doubtful", max_message_bytes="1500")
    pipeline.alter("fallback", max_message_bytes="1500")
    worker = pipeline.worker("local")
    wait_until(lambda: bool(pipeline.records("fallback")), "the fallback record", explain=worker.tail)
    assert worker.stop() == 0
    pipeline.recreate("requests")
    other = (sent.value or b"").replace(b"x", b"y")
    pipeline.send([sent._replace(value=other, timestamp=START_MS)])
    assert cli.run([*replay(pipeline, "large"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["replayed"], told["another"], told["gone"]) == (0, 1, 0)
    assert [record.value for record in pipeline.records("requests")] == [other]


def test_what_is_too_large_for_its_topic_is_left_out_and_counted_and_nothing_beside_it(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them fit one batch, which the broker refuses without a word which record it is."""
    _, pipeline = setup()
    large = Record(b"x" * 3000, 0, pipeline.topic("requests"), 0, START_MS, b"k")
    outcome = fall_back(large, Facts(Source(large.topic, 0, 0)), "timeout", "late", "remote")
    sent = [fallen(pipeline, number) for number in range(20)]
    refused = [Sent(outcome.value, outcome.key, outcome.headers, outcome.timestamp, number % 2) for number in range(3)]
    pipeline.send([*sent[:7], *refused, *sent[7:]], "fallback")
    pipeline.alter("requests", max_message_bytes="1500", retention_ms="-1")  # all that is not named here is reset
    assert cli.run([*replay(pipeline, "large", "--reason", "timeout"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    wait_until(lambda: settled(pipeline), "the end of the last transaction", 10)
    assert compared(pipeline, sent) == (14, 0, 0)
    assert (told["replayed"], told["refused"], told["not_chosen"]) == (14, 3, 6)


def test_a_second_run_of_the_name_ends_the_first(setup: Setup) -> None:
    """The first is frozen on its way, and wakes when the second is through."""
    _, pipeline = setup(stream=SMALL_STEPS)
    sent = [fallen(pipeline, number) for number in range(COUNT)]
    pipeline.send(sent, "fallback")
    words = replay(pipeline, "one", "--reason", "timeout")
    with as_process(pipeline, words) as first:
        grown(pipeline, first, 0)
        first.signal(signal.SIGSTOP)
        assert len(pipeline.records("requests")) < CHOSEN
        assert cli.run(words) == 0
        first.signal(signal.SIGCONT)
        assert first.wait() == options.FAILED, first.tail()
        assert "another run" in first.tail()
        assert "took over" in first.tail()
        assert "Traceback" not in first.tail(), first.tail(200)
    wait_until(lambda: settled(pipeline), "the end of the last transaction", 10)
    assert compared(pipeline, sent) == (CHOSEN, 0, 0)


@pytest.mark.long(20)
def test_two_runs_at_once_are_one(setup: Setup) -> None:
    """Whichever is later takes over from where the other one was."""
    _, pipeline = setup(stream=SMALLEST_STEPS)
    sent = [fallen(pipeline, number) for number in range(COUNT)]
    pipeline.send(sent, "fallback")
    words = replay(pipeline, "one", "--reason", "timeout")
    with as_process(pipeline, words) as first:
        grown(pipeline, first, 0)
        with as_process(pipeline, words) as second:
            assert (second.wait(), first.wait()) == (options.DONE, options.FAILED), first.tail() + second.tail()
            assert "took over" in first.tail()
    wait_until(lambda: settled(pipeline), "the end of the last transaction", 10)
    assert compared(pipeline, sent) == (CHOSEN, 0, 0)


@pytest.mark.long(20)
def test_a_run_with_other_options_is_refused_and_disturbs_nobody(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    _, pipeline = setup(stream=SMALLEST_STEPS)
    sent = [fallen(pipeline, number) for number in range(COUNT)]
    pipeline.send(sent, "fallback")
    with as_process(pipeline, replay(pipeline, "one", "--reason", "timeout")) as run:
        grown(pipeline, run, 0)
        assert cli.run(replay(pipeline, "one", "--reason", "budget")) == options.FAILED
        assert "was begun as --reason timeout" in capsys.readouterr().err
        assert run.running, "it was refused when the run had ended"
        assert run.wait() == options.DONE, run.tail()
    wait_until(lambda: settled(pipeline), "the end of the last transaction", 10)
    assert compared(pipeline, sent) == (CHOSEN, 0, 0)


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
    assert cli.run(["tail", "results", "--no-follow", *config]) == 0  # from now on, until now
    assert capsys.readouterr().out == ""
