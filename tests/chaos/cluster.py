"""The processes of a chaos run: broker, remote, workers. All on loopback, each ended by its pid."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bisupervised.streams.sandbox.broker import Broker
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.topics.creating import create_topics

HERE = Path(__file__).parent
SESSION_TIMEOUT_S = 6.0  #: the shortest a broker allows
PARTITIONS = 4

_CONFIG = """
name = "chaos"
[kafka]
bootstrap_servers = "{servers}"
session_timeout_s = {session}
rebalance_timeout_s = 20.0
[topics]
partitions = {partitions}
[stream]
delivery = "{delivery}"
drain_s = 5.0
watchdog_s = 40.0
transaction_timeout_s = 10.0
[local]
model = "model:load"
output = "probabilities"
threshold = 0.6
batch_size = 64
[remote]
url = "http://127.0.0.1:{remote}"
model = "large"
threshold = 0.6
batch_size = 4
backoff_first_s = 0.1
"""


class Cluster:
    """Starts and ends everything; knows which workers should be alive."""

    def __init__(self, folder: Path, delivery: str) -> None:
        self.folder = folder
        self.traps = folder / "traps"
        self.traps.mkdir(parents=True)
        self.broker = Broker(folder / "kafka")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.deaths = 0  #: workers that ended with an error of their own
        self._answering = False
        self._logs: dict[int, Path] = {}
        self._begun: set[int] = set()
        self._delivery = delivery
        self._remote: subprocess.Popen[bytes] | None = None
        self._started = 0
        self.settings: Settings

    def start(self, workers: int) -> None:
        """Broker, topics, remote, workers."""
        self.broker.start()
        self._answering = True
        port = _free_port()
        self._remote = subprocess.Popen([sys.executable, str(HERE / "remote.py"), str(port)])
        config = self.folder / "chaos.toml"
        config.write_text(
            _CONFIG.format(
                servers=self.broker.bootstrap_servers,
                session=SESSION_TIMEOUT_S,
                partitions=PARTITIONS,
                delivery=self._delivery,
                remote=port,
            )
        )
        self.settings = load_settings(config)
        asyncio.run(create_topics(self.settings))
        for _ in range(workers):
            self.add_worker()

    def add_worker(self) -> subprocess.Popen[bytes]:
        """One more worker with all three agents."""
        self._started += 1
        path = self.folder / f"worker-{self._started}.log"
        with path.open("wb") as log:
            command = [
                sys.executable,
                str(HERE / "worker.py"),
                str(self.folder / "chaos.toml"),
                str(self.traps),
            ]
            worker = subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log)
        self.workers.append(worker)
        self._logs[worker.pid] = path
        return worker

    def begun(self, worker: subprocess.Popen[bytes]) -> bool:
        """It has started: what it takes until then is Python's and the machine's time."""
        if worker.pid not in self._begun and b" worker_started " in self._logs[worker.pid].read_bytes():
            self._begun.add(worker.pid)
        return worker.pid in self._begun and worker.poll() is None

    @property
    def serving(self) -> bool:
        """A broker is there, and a worker that has started: everything must go on."""
        return self._answering and self.broker.running and any(self.begun(worker) for worker in self.workers)

    async def any_worker(self) -> subprocess.Popen[bytes]:
        """One of those that have started, when all have: a fault of one that has not begun would be none."""
        while not all(self.begun(worker) for worker in self.workers):
            self.revive()
            await asyncio.sleep(0.1)
        return random.choice(self.workers)

    async def restart_broker(self, after_s: float = 0.0) -> None:
        """Kill it, and start it again on the same data."""
        self._answering = False
        self.broker.kill()
        await asyncio.sleep(after_s)
        await asyncio.to_thread(self.broker.restart)
        self._answering = True

    def drop(self, worker: subprocess.Popen[bytes]) -> None:
        """It is meant to end, or has."""
        self.workers.remove(worker)

    def revive(self) -> None:
        """Replace workers that ended by themselves, as a supervisor of processes would."""
        for worker in [worker for worker in self.workers if worker.poll() is not None]:
            self.deaths += 1
            self.drop(worker)
            self.add_worker()

    async def trap(
        self, worker: subprocess.Popen[bytes], signum: signal.Signals, *, victim: int = 0, timeout_s: float = 20.0
    ) -> bool:
        """Send a signal from within an open transaction, to the worker or the victim. False when none came in time."""
        trap = self.traps / str(worker.pid)
        staged = trap.with_suffix(".new")
        staged.write_text(f"{int(signum)} {victim or worker.pid}")
        staged.rename(trap)
        for _ in range(int(timeout_s / 0.05)):
            if not trap.exists():
                return True
            await asyncio.sleep(0.05)
        trap.unlink(missing_ok=True)
        return False

    def stop(self) -> None:
        """End everything."""
        for worker in self.workers:
            _end(worker)
        if self._remote is not None:
            _end(self._remote)
        if self.broker.running:
            self.broker.stop()


@contextmanager
def running(folder: Path, delivery: str, workers: int) -> Iterator[Cluster]:
    """A cluster that is ended on every way out."""
    cluster = Cluster(folder, delivery)
    try:
        cluster.start(workers)
        yield cluster
    finally:
        cluster.stop()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    os.kill(process.pid, signal.SIGCONT)
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
