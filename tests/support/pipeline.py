"""The whole pipeline for tests on a real broker: topics, remote, workers as processes, and what came out.

Everything here blocks, and every wait has a deadline: the tests that use it are plain functions.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

import orjson
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import OffsetAndMetadata
from bisupervised.schemas.avro import decode_avro, is_avro, result_schema
from bisupervised.schemas.codec import decode_facts, decode_result, header
from bisupervised.schemas.records import REASON_HEADER, TRACE_HEADERS, Facts, Headers, Result
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.topics.creating import create_topics
from support import forking
from support.models import FINE, REMOTE, rows

TESTS = Path(__file__).parents[1]
LOCAL_THRESHOLD, REMOTE_THRESHOLD = 0.8, 0.7
#: seconds; generous, for a wait ends as soon as what it waits for is there
PATIENCE_S = 60.0
#: seconds between two looks at how long the remote's thread had no turn
_TICK_S = 0.005
AGENTS = 3
#: exit status of a worker in which something hangs
HUNG = 70

Tables = Mapping[str, Mapping[str, Any]]


# what goes in


class Sent(NamedTuple):
    """A record of `requests`, and where it lies."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp: int | None = None  #: milliseconds since epoch
    partition: int | None = None
    offset: int = -1

    @property
    def place(self) -> tuple[int, int]:
        return (self.partition or 0, self.offset)


def request(number: int, *, local: float = 0.5, remote: float = 0.9, mark: int = FINE, **fields: Any) -> Sent:
    """A request whose answer is `number % 4`. By default the local model doubts it and the remote is sure."""
    value = orjson.dumps({"input": [number % 4, local, remote, mark], "id": number, **fields})
    return Sent(value, b"key-%d" % (number % 7))


def mixed(count: int) -> list[Sent]:
    """A third answered by the local model, a third by the remote one, a third rejected."""
    kinds: tuple[dict[str, float], ...] = ({"local": 0.95}, {"remote": 0.9}, {"remote": 0.4})
    return [request(number, **kinds[number % 3]) for number in range(count)]  # type: ignore[arg-type]  # floats all


# the remote


class Remote:
    """An Open Inference server in a thread. Tests change its attributes while it runs."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s  #: seconds an answer takes
        self.jitter_s = 0.0  #: seconds more, at most, by chance
        self.refusal: tuple[int, Mapping[str, str]] | None = None  #: status and headers that every call gets
        self.calls = 0  #: calls begun
        self.began: list[float] = []  #: when they began, seconds on a clock of their own
        self.local: list[float] = []  #: how sure the local model is of the first input of each, in their order
        self.answered: Counter[str] = Counter()  #: calls answered, by idempotency key
        self.answered_inputs = 0  #: inputs of these calls
        self.traces: list[dict[str, str]] = []  #: the trace context of each call
        self.under_way = 0
        self.most_under_way = 0
        self.longest_stall_s = 0.0  #: for so long its thread had no core, or was busy; calls that came are late by it
        self.port = 0
        self._gate = threading.Event()
        self._gate.set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="remote", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close_gate(self) -> None:
        """Answer nobody until `open_gate`."""
        self._gate.clear()

    def open_gate(self) -> None:
        self._gate.set()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(PATIENCE_S):
            raise TimeoutError("the remote did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE_S)

    def _serve(self) -> None:
        try:
            self._loop.run_until_complete(self._run())
        finally:
            self._loop.close()

    async def _run(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v2/models/big/infer", self._infer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        ticking = asyncio.create_task(self._tick())
        await self._end.wait()
        ticking.cancel()
        await runner.cleanup()

    async def _tick(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(_TICK_S)
            self.longest_stall_s = max(self.longest_stall_s, time.monotonic() - began - _TICK_S)

    async def _infer(self, asked: web.Request) -> web.Response:
        self.calls += 1
        self.began.append(time.monotonic())
        self.traces.append({name: asked.headers[name] for name in TRACE_HEADERS if name in asked.headers})
        if self.refusal is not None:
            status, headers = self.refusal
            return web.Response(status=status, headers=headers)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            body = orjson.loads(await asked.read())
            self.local.append(body["inputs"][0]["data"][1])
            await asyncio.sleep(self.delay_s + random.random() * self.jitter_s)
            while not self._gate.is_set():  # noqa: ASYNC110  # it is opened from another thread
                await asyncio.sleep(0.01)
        finally:
            self.under_way -= 1
        self.answered[asked.headers.get("Idempotency-Key", "")] += 1  # a local model is asked without
        self.answered_inputs += body["inputs"][0]["shape"][0]
        return web.Response(body=orjson.dumps(_reply(body)), content_type="application/json")


def _reply(body: dict[str, Any]) -> dict[str, Any]:
    tensor = body["inputs"][0]
    count, width = tensor["shape"]
    inputs = [tensor["data"][row * width : (row + 1) * width] for row in range(count)]
    table = rows(inputs, REMOTE)
    output = {
        "name": "probabilities",
        "datatype": "FP32",
        "shape": list(table.shape),
        "data": table.ravel().tolist(),
    }
    return {"model_name": "big", "model_version": "7", "outputs": [output]}


# the worker


class Worker:
    """`bisupervised worker` as a process, its log kept. Leaving the context ends it, whatever happened.

    It is forked (`support.forking`), or `fresh`, as a user starts it.
    """

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str], *, fresh: bool = False) -> None:
        self.log = log
        self._file = log.open("ab")
        start = _start if fresh or not forking.AVAILABLE else _fork
        self.process = start(command, self._file.fileno(), log.parent, {**_environment(), **env})

    def __repr__(self) -> str:
        return f"<Worker pid {self.process.pid} rc {self.process.poll()}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._file.close()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def most_megabytes(self) -> float:
        """The most memory that it has held. It must be running."""
        told = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in told.splitlines() if line.startswith("VmHWM"))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait()

    def abort(self) -> None:
        """End it; where each of its threads was goes to its log. Returns at once where it has ended."""
        self.process.send_signal(signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5.0)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit status. Raises `subprocess.TimeoutExpired`."""
        return self.process.wait(timeout_s)

    def stop(self, timeout_s: float = PATIENCE_S) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        return self.process.wait(timeout_s)

    def told(self) -> list[dict[str, Any]]:
        """What it has logged, one document a line; what is no JSON is skipped."""
        return list(_documents(self.log))

    def actions(self) -> Counter[str]:
        """How often each action was logged."""
        return Counter(line["action"] for line in self.told() if "action" in line)

    def wait_for(self, action: str, count: int = 1, timeout_s: float = PATIENCE_S) -> None:
        """Until it has logged this action so often. Fails at once when the process ends before."""
        wait_until(
            lambda: self.actions()[action] >= count,
            f"{action} x {count}",
            timeout_s,
            alive=lambda: self.running or self.actions()[action] >= count,
            explain=self.tail,
        )

    @property
    def page(self) -> str:
        """The address of its page, waited for."""
        self.wait_for("web_started")
        return next(str(line["url"]) for line in _documents(self.log) if line.get("action") == "web_started")

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def run_command(words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit status of a command of ours, and all that it says. What it says is kept in the folder as well."""
    log = folder / f"command-{uuid4().hex[:8]}.log"
    with Worker(["bisupervised.streams.cli", *words], log, env or {}) as process:
        status = process.wait(90.0)
    return status, log.read_text()


def _start(command: Sequence[str], output: int, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", *command]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, env=env)


def _fork(command: Sequence[str], output: int, cwd: Path, env: Mapping[str, str]) -> forking.Forked:
    module, *arguments = command
    return forking.fork(module, arguments, output, cwd, env)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BISUPERVISED_")}
    return kept | {"PYTHONPATH": str(TESTS), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}


def _documents(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_bytes().splitlines():
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict):
            yield document


def wait_until(
    condition: Callable[[], bool],
    what: str,
    timeout_s: float = PATIENCE_S,
    *,
    alive: Callable[[], bool] = lambda: True,
    explain: Callable[[], str] = str,
) -> None:
    """Look again and again until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if not alive():
            raise AssertionError(f"the process ended while waiting for {what}\n{explain()}")
        if time.monotonic() > deadline:
            raise AssertionError(f"{timeout_s:g} s have passed waiting for {what}\n{explain()}")
        time.sleep(0.05)


# what comes out


@dataclass(frozen=True)
class Outcome:
    """A record of `results` or `fallback`."""

    topic: str  #: its role: 'results' or 'fallback'
    record: Any  #: aiokafka's ConsumerRecord
    result: Result | None  #: of a record of results
    facts: Facts | None  #: of a record of fallback

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset of the request."""
        facts = self.result or self.facts
        assert facts is not None
        return (facts.source.partition, facts.source.offset)

    @property
    def reason(self) -> str | None:
        reason = header(self.record.headers, REASON_HEADER)
        return None if reason is None else reason.decode()

    @property
    def kind(self) -> str:
        """Who answered, or why nobody did."""
        return self.result.answered_by if self.result is not None else self.reason or "?"


def _result(value: bytes) -> Result:
    if not is_avro(value):
        return decode_result(value)
    from fastavro import parse_schema

    return decode_avro(value[5:], parse_schema(orjson.loads(result_schema())))


def _outcome(role: str, record: Any) -> Outcome:
    if role == "results":
        return Outcome(role, record, _result(record.value), None)
    return Outcome(role, record, None, decode_facts(record))


@dataclass(frozen=True)
class Tally:
    """How inputs and outcomes compare."""

    lost: list[tuple[int, int]]
    duplicated: list[tuple[int, int]]
    foreign: list[tuple[int, int]]  #: outcomes of nothing that was sent


def tally(sent: Iterable[Sent], outcomes: Iterable[Outcome]) -> Tally:
    """Compare by the identity of a request: partition and offset."""
    counted = Counter(outcome.place for outcome in outcomes)
    places = {record.place for record in sent}
    return Tally(
        sorted(places - counted.keys()),
        sorted(place for place, times in counted.items() if times > 1),
        sorted(counted.keys() - places),
    )


def out_of_order(outcomes: Sequence[Outcome]) -> int:
    """First outcomes that come after a later one of their key, by writer and partition."""
    last: dict[tuple[object, ...], int] = {}
    seen: set[tuple[int, int]] = set()
    wrong = 0
    for outcome in outcomes:
        if outcome.place in seen:
            continue
        seen.add(outcome.place)
        writer = outcome.result.answered_by if outcome.result is not None else getattr(outcome.facts, "agent", "")
        stream = (writer, outcome.topic, outcome.record.partition, outcome.record.key)
        wrong += outcome.place[1] < last.get(stream, -1)
        last[stream] = max(outcome.place[1], last.get(stream, -1))
    return wrong


def check_exactly_once(sent: Iterable[Sent], outcomes: Iterable[Outcome]) -> None:
    """Every input has exactly one outcome, and there is no other."""
    assert tally(sent, outcomes) == Tally([], [], [])


def check_at_least_once(sent: Iterable[Sent], outcomes: Iterable[Outcome]) -> None:
    """Every input has an outcome."""
    found = tally(sent, outcomes)
    assert (found.lost, found.foreign) == ([], [])


def check_kinds(sent: Sequence[Sent], outcomes: Iterable[Outcome]) -> None:
    """Each input of `mixed` was answered by whom, or rejected for what, its confidences say."""
    kinds = {outcome.place: outcome.kind for outcome in outcomes}
    wanted = {record.place: ("local", "remote", "low_confidence")[n % 3] for n, record in enumerate(sent)}
    assert kinds == wanted


# all of it together


@dataclass
class Pipeline:
    """Five topics, a configuration and the processes that run on it. Names are unique to the test."""

    servers: str
    folder: Path
    url: str
    overrides: Tables = field(default_factory=dict)
    partitions: int = 2
    name: str = field(default_factory=lambda: f"t{uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.fresh = False  #: start its workers as a user does, imports included
        self.workers: list[Worker] = []
        self.config = self.folder / f"{self.name}.toml"
        self.configure(self.overrides)
        asyncio.run(create_topics(self.settings))

    @property
    def settings(self) -> Settings:
        return load_settings(self.config, {})

    def topic(self, role: str) -> str:
        """The name of the topic with this role."""
        return f"{self.name}-{role}"

    def tp(self, role: str, partition: int) -> TopicPartition:
        return TopicPartition(self.topic(role), partition)

    def group(self, agent: str) -> str:
        """The consumer group of an agent."""
        return f"{self.name}-{agent.replace('_', '-')}"

    def configure(self, overrides: Tables) -> None:
        """Write the configuration anew; workers started from now on read it. A key that is None is left out."""
        tables = self._tables()
        for table, keys in overrides.items():
            over = {**tables.get(table, {}), **keys}
            tables[table] = {key: value for key, value in over.items() if value is not None}
        lines = [f"name = {json.dumps(self.name)}"]
        for table, keys in tables.items():
            lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines))

    def _tables(self) -> dict[str, dict[str, Any]]:
        roles = (
            *("requests", "doubtful", "answers", "results", "fallback"),
            *("budget", "audits", "labels", "shadows", "trust", "thresholds", "batched", "batches"),
        )
        # kept for a century: the timestamps of some tests are of long ago, and Kafka looks every five minutes
        kept = {"partitions": self.partitions, "retention_hours": 876_000}
        return {
            "kafka": {"bootstrap_servers": self.servers, "session_timeout_s": 6.0},
            "topics": {role: self.topic(role) for role in roles} | kept,
            "local": {
                "model": "support.models:steady",
                "output": "probabilities",
                "threshold": LOCAL_THRESHOLD,
                "version": "3",
            },
            "remote": {
                "url": self.url,
                "model": "big",
                "threshold": REMOTE_THRESHOLD,
                "backoff_first_s": 0.05,
                "price_per_call": 0.5,
            },
            "thresholds": {"version": "calibrated"},
            "web": {"port": 0},
            "log": {"json": True},
        }

    # processes

    def worker(self, agents: str | None = None) -> Worker:
        """Start a worker. It ends with the pipeline at the latest."""
        command = ["bisupervised.streams.cli", "worker", "--config", str(self.config)]
        return self.start([*command, "--agents", agents] if agents else command)

    def start(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> Worker:
        """Start any module that runs a worker."""
        log = self.folder / f"{self.name}-{len(self.workers)}.log"
        worker = Worker(command, log, env or {}, fresh=self.fresh)
        self.workers.append(worker)
        return worker

    def ready_worker(self, agents: str | None = None) -> Worker:
        """Start a worker, alone, and wait until it owns every partition."""
        worker = self.worker(agents)
        planes = len(agents.split(",")) if agents else AGENTS
        worker.wait_for("partition_acquired", planes * self.partitions)
        return worker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.__exit__()

    # records

    def send(self, records: Sequence[Sent], role: str = "requests") -> list[Sent]:
        """Produce, and return the records with their places."""
        return asyncio.run(self._send(records, self.topic(role)))

    async def _send(self, records: Sequence[Sent], topic: str) -> list[Sent]:
        async with self._producer() as producer:
            acks = [
                await producer.send(
                    topic,
                    record.value,
                    record.key,
                    record.partition,
                    record.timestamp,
                    list(record.headers),
                )
                for record in records
            ]
            places = await asyncio.gather(*acks)
        return [
            record._replace(partition=place.partition, offset=place.offset, timestamp=place.timestamp)
            for record, place in zip(records, places, strict=True)
        ]

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.servers, enable_idempotence=True, max_request_size=2**26, linger_ms=2
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    def outcomes(self) -> list[Outcome]:
        """Every committed record of results and fallback, up to the present end."""
        return [_outcome(role, record) for role in ("results", "fallback") for record in self.records(role)]

    def records(self, role: str) -> list[Any]:
        """Every committed record of a topic, up to the present end."""
        return asyncio.run(self._read_all(self.topic(role)))

    async def _read_all(self, topic: str) -> list[Any]:
        async with self._consumer([topic]) as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            found: list[Any] = []
            async with asyncio.timeout(PATIENCE_S):
                while [tp for tp, end in ends.items() if await consumer.position(tp) < end]:
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        found += records
            return found

    @asynccontextmanager
    async def _consumer(self, topics: Sequence[str]) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers, isolation_level="read_committed")
        await consumer.start()
        try:
            # not by the settings: a test may have made them faulty by now
            alone = {self.topic(role) for role in ("budget", "labels", "trust", "thresholds")}
            counts = {topic: 1 if topic in alone else self.partitions for topic in topics}
            consumer.assign([TopicPartition(topic, p) for topic in topics for p in range(counts[topic])])
            await consumer.seek_to_beginning()
            yield consumer
        finally:
            await consumer.stop()

    def wait_for_outcomes(self, sent: Iterable[Sent], timeout_s: float = PATIENCE_S) -> list[Outcome]:
        """Until each of these inputs has an outcome. Fails at once when no worker lives any more."""
        return asyncio.run(self._wait_for_outcomes({record.place for record in sent}, timeout_s))

    async def _wait_for_outcomes(self, places: set[tuple[int, int]], timeout_s: float) -> list[Outcome]:
        roles = {self.topic(role): role for role in ("results", "fallback")}
        found: list[Outcome] = []
        missing = set(places)
        deadline = time.monotonic() + timeout_s
        async with self._consumer(list(roles)) as consumer:
            while missing:
                alive = any(worker.running for worker in self.workers)
                fetched = [r for rs in (await consumer.getmany(timeout_ms=200)).values() for r in rs]
                fresh = [_outcome(roles[record.topic], record) for record in fetched]
                missing -= {outcome.place for outcome in fresh}
                found += fresh
                assert alive or fetched or not missing, f"no worker lives; no outcome of {self._some(missing)}"
                assert time.monotonic() < deadline or not missing, f"no outcome of {self._some(missing)}"
        return found

    @staticmethod
    def _some(missing: set[tuple[int, int]]) -> str:
        return f"{len(missing)} inputs: {sorted(missing)[:10]}"

    def settle(self, sent: Sequence[Sent], timeout_s: float = PATIENCE_S) -> list[Outcome]:
        """Wait for every outcome, stop the workers, and return all that was ever committed."""
        self.wait_for_outcomes(sent, timeout_s)
        running = [worker for worker in self.workers if worker.running]
        for worker in running:
            worker.signal(signal.SIGTERM)
        codes = [worker.wait() for worker in running]
        assert codes == [0] * len(running), codes
        return self.outcomes()

    # interference

    def alter(self, role: str, **configs: str) -> None:
        """Change a topic's configuration. Underscores stand for dots."""
        named = {name.replace("_", "."): value for name, value in configs.items()}
        asyncio.run(self._with_admin(lambda admin: admin.alter_configs([_topic(self.topic(role), named)])))

    def delete_before(self, role: str, offsets: Sequence[int]) -> None:
        """Delete the records before an offset of each partition."""
        before = {self.tp(role, number): RecordsToDelete(offset) for number, offset in enumerate(offsets)}
        asyncio.run(self._with_admin(lambda admin: admin.delete_records(before)))

    def recreate(self, role: str) -> None:
        """Delete a topic and make one of the same name."""
        self.delete(role)
        self.create()

    def delete(self, role: str) -> None:
        """Delete a topic."""
        asyncio.run(self._with_admin(lambda admin: admin.delete_topics([self.topic(role)])))
        wait_until(lambda: self.topic(role) not in self.names(), f"the end of {role}")

    def create(self) -> None:
        """Make what is missing."""
        asyncio.run(create_topics(self.settings))

    def delete_groups(self, *agents: str) -> None:
        """Delete the consumer groups of these agents, or of all three, and so what they have committed."""

        async def delete(admin: AIOKafkaAdminClient) -> None:
            for agent in agents or ("local", "remote", "remote_supervisor"):
                node = await admin.find_coordinator(self.group(agent))
                told = await admin._client.send(node, DeleteGroupsRequest([self.group(agent)]))
                assert [code for _, code in told.results] == [0], told

        asyncio.run(self._with_admin(delete))

    def grow(self, counts: Mapping[str, int]) -> None:
        """Give topics more partitions."""
        grown = {self.topic(role): NewPartitions(count) for role, count in counts.items()}
        asyncio.run(self._with_admin(lambda admin: admin.create_partitions(grown)))

    def names(self) -> list[str]:
        """Topics that the broker has."""
        found: list[str] = asyncio.run(self._with_admin(lambda admin: admin.list_topics()))
        return found

    def committed(self, agent: str, role: str, partition: int) -> OffsetAndMetadata | None:
        """What the group of an agent has committed."""
        tp = self.tp(role, partition)
        found = asyncio.run(self._with_admin(lambda admin: admin.list_consumer_group_offsets(self.group(agent))))
        stored = found.get(tp)
        return stored if stored is not None and stored.offset >= 0 else None

    def commit(self, agent: str, role: str, partition: int, offset: int, metadata: str = "") -> None:
        """Set a group's offset by hand, as `kafka-consumer-groups --reset-offsets` does."""
        asyncio.run(self._commit(agent, {self.tp(role, partition): OffsetAndMetadata(offset, metadata)}))

    async def _commit(self, agent: str, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.servers, group_id=self.group(agent), enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign(list(offsets))
            await consumer.commit(offsets)
        finally:
            await consumer.stop()

    async def _with_admin(self, action: Callable[[AIOKafkaAdminClient], Any]) -> Any:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        try:
            return await action(admin)
        finally:
            await admin.close()


def _topic(name: str, configs: dict[str, str]) -> ConfigResource:
    return ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)


@contextmanager
def remote_and_pipeline(
    servers: str,
    folder: Path,
    *,
    delay_s: float = 0.0,
    partitions: int = 2,
    **overrides: Mapping[str, Any],
) -> Iterator[tuple[Remote, Pipeline]]:
    """Both, with everything they start ended on the way out."""
    with Remote(delay_s) as remote, Pipeline(servers, folder, remote.url, overrides, partitions) as pipeline:
        yield remote, pipeline


#: the fixture `setup`: takes what `remote_and_pipeline` takes, the broker's address left out
Setup = Callable[..., tuple[Remote, Pipeline]]
