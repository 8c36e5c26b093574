"""A broker that is killed under replays: run again by their names, they have sent each record once, in its bytes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from bisupervised.schemas.codec import OUR_HEADERS, fall_back, header
from bisupervised.schemas.records import REPLAY_HEADER, Facts, Source
from bisupervised.streams.console.options import DONE
from bisupervised.streams.kafka.last_transaction import last_of
from bisupervised.streams.sandbox.broker import Broker
from bisupervised.streams.tools.replay import ReplayOptions
from bisupervised.streams.tools.replay_run import group_of_replay, run_replay
from support.pipeline import Pipeline, Sent, Setup, Worker, wait_until
from support.records import Record
from support.transaction_log import decided

RECORDS = 400
#: replays at once, each of all records
NAMES = [f"replay-{number}" for number in range(12)]
#: times the broker is killed and the process that runs the replays with it (docs/chaos.md tells of runs with four); in
#: one round first the broker alone
ROUNDS, ALONE = int(os.environ.get("REPLAY_ROUNDS", "2")), 1
#: it is killed when so much more was sent, and so many transactions are decided; or at the last look
GROWTH, DECIDED, LOOKS = 200, 3, 100
#: partitions that nobody uses: the more a broker has, the longer it takes over what it led
OTHERS = 400
START_MS = 1_700_000_000_000
#: small steps: a replay is nearly always inside a transaction
SETTINGS = {"fetch_records": 2, "transaction_timeout_s": 15.0}


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """Not the session's: this one is killed."""
    with Broker(tmp_path / "kafka") as running:
        yield running


def fallen(pipeline: Pipeline, number: int) -> Sent:
    """A fallback record as an agent writes it."""
    value = random.Random(number).randbytes(200)
    place = (pipeline.topic("requests"), number % 2)
    original = Record(value, number, *place, START_MS + number, b"k%d" % number, [("a", b"\xff%d" % number)])
    facts = Facts(Source(*place, number))
    outcome = fall_back(original, facts, "timeout", "late", "remote")
    return Sent(outcome.value, outcome.key, outcome.headers, outcome.timestamp, number % 2)


def bare(record: Any) -> tuple[Any, ...]:
    """What a record is but for the headers of ours."""
    kept = tuple(pair for pair in record.headers if pair[0] not in (*OUR_HEADERS, REPLAY_HEADER))
    return (record.partition, record.key, record.value, record.timestamp, kept)


def by_name(pipeline: Pipeline) -> dict[str, Counter[tuple[Any, ...]]]:
    """What each replay has sent, committed and seen."""
    found: dict[str, Counter[tuple[Any, ...]]] = {name: Counter() for name in NAMES}
    for record in pipeline.records("requests"):
        replayed = orjson.loads(header(record.headers, REPLAY_HEADER) or b"{}")
        found[replayed["job"]][bare(record)] += 1
    return found


async def make_topic(broker: Broker, name: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        await admin.close()


def start(pipeline: Pipeline, round_: int) -> Worker:
    command = ["support.replays", str(pipeline.config), "timeout", *NAMES]
    return Worker(command, pipeline.folder / f"replays-{round_}.log", {})


def kill(pipeline: Pipeline, broker: Broker, run: Worker) -> None:
    """The broker, in the midst of it: when some transactions are decided and have not all of their markers."""
    most = len(pipeline.records("requests")) + GROWTH
    wait_until(lambda: len(pipeline.records("requests")) > most, "records", alive=lambda: run.running, explain=run.tail)
    for _ in range(LOOKS):
        time.sleep(random.random() * 0.05)
        os.kill(broker.pid, signal.SIGSTOP)
        found = decided(broker.data_dir / "kafka")
        if len(found) >= DECIDED:
            break
        os.kill(broker.pid, signal.SIGCONT)
    assert run.running, "the kill came too late"
    broker.kill()
    print(f"killed with {len(found)} transactions decided")


@pytest.mark.timeout(600)
def test_a_broker_that_is_killed_again_and_again_repeats_nothing(setup: Setup, own_broker: Broker) -> None:
    """The run is killed with it, and another one asks for the broker before it is back."""
    _, pipeline = setup(own_broker.bootstrap_servers, stream=SETTINGS)
    asyncio.run(make_topic(own_broker, "others", OTHERS))
    sent = [fallen(pipeline, number) for number in range(RECORDS)]
    pipeline.send(sent, "fallback")
    for round_ in range(ROUNDS):
        with start(pipeline, round_) as run:
            own_broker.restart()
            if round_ == ALONE:
                kill(pipeline, own_broker, run)
                own_broker.restart()
            kill(pipeline, own_broker, run)
    with start(pipeline, ROUNDS) as run:
        own_broker.restart()
        assert run.wait(300) == DONE, run.tail()
    wanted = Counter(bare(record) for record in sent)
    found = by_name(pipeline)
    repeated = {name: (counted - wanted).total() for name, counted in found.items()}
    missing = {name: (wanted - counted).total() for name, counted in found.items()}
    assert {name: count for name, count in repeated.items() if count} == {}
    assert {name: count for name, count in missing.items() if count} == {}


class Broken(Exception):
    """The run ends here, as if its process did."""


class LosingMarkers:
    """The coordinator says of the nth transaction that it is committed, and markers are missing: it does not know all.

    The producer writes past the coordinator, and the broker lets it. The marker of the offsets is `lost`, or only those
    of the records.
    """

    def __init__(self, pipeline: Pipeline, name: str, nth: int, *, lost: bool) -> None:
        self._left = nth
        self._offsets_lost = lost
        self._places = [pipeline.tp("requests", number) for number in range(2)]
        self._group = group_of_replay(pipeline.settings, name)
        self._begin, self._commit = AIOKafkaProducer.begin_transaction, AIOKafkaProducer.commit_transaction

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        losing = self
        monkeypatch.setattr(AIOKafkaProducer, "begin_transaction", lambda producer: losing.begin(producer))
        monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", lambda producer: losing.commit(producer))

    async def begin(self, producer: Any) -> None:
        self._left -= 1
        await last_of(producer.client, self._group)  # a marker that is on its way would end this transaction, too
        await self._begin(producer)
        if not self._left:
            producer._txn_manager._txn_partitions.update(self._places)
            if self._offsets_lost:
                producer._txn_manager.consumer_group_added(self._group)

    async def commit(self, producer: Any) -> None:
        if self._left or not self._offsets_lost:
            await self._commit(producer)
        if not self._left:
            raise Broken


@pytest.fixture
def careless_broker(tmp_path: Path) -> Iterator[Broker]:
    """It lets a producer write without an open transaction."""
    properties = {"transaction.partition.verification.enable": "false"}
    with Broker(tmp_path / "kafka", properties=properties) as running:
        yield running


@pytest.mark.parametrize(("lost", "nth", "step"), [(True, 4, 5), (False, 2, 500)], ids=["all", "of the records"])
def test_a_committed_step_whose_markers_are_missing_is_not_sent_again(
    setup: Setup, careless_broker: Broker, monkeypatch: pytest.MonkeyPatch, lost: bool, nth: int, step: int
) -> None:
    """As a broker that was killed was seen to leave it behind (docs/chaos.md), and its records are seen in the end.

    Where only those of the records are missing, it is the last step of all: nothing is left to do.
    """
    _, pipeline = setup(careless_broker.bootstrap_servers, stream={"fetch_records": step})
    sent = [fallen(pipeline, number) for number in range(40)]
    pipeline.send(sent, "fallback")
    settings = pipeline.settings
    options = ReplayOptions(settings.topics.requests)
    with monkeypatch.context() as patched:
        LosingMarkers(pipeline, "one", nth, lost=lost).patch(patched)
        with pytest.raises(Broken):
            asyncio.run(run_replay(settings, "one", options, dry_run=False))
    assert len(pipeline.records("requests")) < len(sent)
    again = asyncio.run(run_replay(settings, "one", options, dry_run=False))
    assert again.finished is not lost
    wait_until(lambda: len(pipeline.records("requests")) >= len(sent), "the last transaction", 10)
    assert Counter(bare(record) for record in pipeline.records("requests")) == Counter(bare(record) for record in sent)
