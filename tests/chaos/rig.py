"""The processes of a chaos run: brokers, remote, workers. All on loopback, each ended by its pid.

`Rig` is what every run has; `OneBroker` is that of `make chaos`, and `nodes.py` has that of `make chaos-cluster`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bisupervised.streams.sandbox.broker import Broker
from bisupervised.streams.sandbox.cluster import COPIES, IN_SYNC, BrokerCluster
from bisupervised.streams.sandbox.ports import free_port
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
replication_factor = {copies}
min_insync_replicas = {in_sync}
[stream]
delivery = "{delivery}"
drain_s = 5.0
watchdog_s = 40.0
transaction_timeout_s = 10.0
[local]
model = "model:load"
output = "probabilities"
{threshold}
batch_size = 64
[remote]
url = "http://127.0.0.1:{remote}"
model = "large"
{threshold}
batch_size = 4
backoff_first_s = 0.1
"""
#: in place of the part from [remote] on, where the remote is asked in batches. The money does not pay for all inputs
_BATCHES = """
ordering = "none"
[local]
model = "model:load"
output = "probabilities"
threshold = 1.0
batch_size = 64
[remote]
url = "http://127.0.0.1:{remote}"
protocol = "openai_chat"
model = "large"
threshold = 0.0
mode = "batch"
price_per_call = 1.0
[batch]
records = 200
age_s = 0.5
poll_first_s = 0.2
poll_most_s = 1.0
call_timeout_s = 2.0
transfer_timeout_s = 4.0
price_share = {share}
[budget]
money = {money}
per = "month"
when_spent = "fallback"
"""
#: what a batch costs there, as a share of what a call does
BATCH_SHARE = 0.5
#: with which requests are drawn for an audit, where there is one
SECRET = "only the fleet knows"
_AUDIT = """
[audit]
share = 0.02
shadow_share = 0.1
secret_file = "{secret}"
"""
#: the same, with evidence enough to tighten and to loosen within minutes
_TIGHTEN = """
[thresholds]
file = "{file}"
[audit]
share = 0.1
shadow_share = 0.1
on_alarm = "tighten"
alarm_share = 0.3
alarm_hours = 0.02
alarm_labels = 200
labels_to_false_alarm = 1000.0
close_every_s = 0.5
secret_file = "{secret}"
"""


class Rig:
    """Starts and ends everything; knows which workers should be alive.

    A worker has a slot, and each slot a configuration of its own: those of a cluster reach it by different ways.
    """

    def __init__(
        self,
        folder: Path,
        delivery: str,
        brokers: Broker | BrokerCluster,
        *,
        slots: int = 1,
        audit: bool = False,
        ladder: Path | None = None,
        batches_money: float = 0.0,
    ) -> None:
        """`batches_money`: the remote is asked in batches, for so much money in all; 0 for direct calls."""
        self.folder = folder
        self.batches_money = batches_money
        self.remote_port = 0
        self.audit = audit  #: requests are drawn, and trusted ones are asked about at the remote, too
        self.ladder = ladder  #: thresholds file of a fleet that tightens by itself
        self.traps = folder / "traps"
        self.traps.mkdir(parents=True)
        self.brokers = brokers
        self.slots = slots
        self.workers: list[subprocess.Popen[bytes]] = []
        self.well = False  #: the brokers can serve, as far as we know
        self.deaths = 0  #: workers that ended with an error of their own
        self._logs: dict[int, Path] = {}
        self._slot: dict[int, int] = {}
        self._begun: set[int] = set()
        self._delivery = delivery
        self._remote: subprocess.Popen[bytes] | None = None
        self._started = 0
        self.settings: Settings

    def servers_of(self, _slot: int) -> str:
        """Where the worker in this slot finds the brokers."""
        return self.brokers.bootstrap_servers

    def start(self, workers: int) -> None:
        """Brokers, topics, remote, workers."""
        self.brokers.start()
        self.well = True
        port = free_port()
        self.remote_port = port
        program = HERE / ("batch_remote.py" if self.batches_money else "remote.py")
        path = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        self._remote = subprocess.Popen([sys.executable, str(program), str(port)], env=path)
        for slot in range(self.slots):
            self.config(slot).write_text(
                self._config().format(
                    servers=self.servers_of(slot),
                    session=SESSION_TIMEOUT_S,
                    partitions=PARTITIONS,
                    copies=COPIES if isinstance(self.brokers, BrokerCluster) else 1,
                    in_sync=IN_SYNC if isinstance(self.brokers, BrokerCluster) else 1,
                    delivery=self._delivery,
                    remote=port,
                    threshold="" if self.ladder else "threshold = 0.6",
                    money=self.batches_money,
                    share=BATCH_SHARE,
                )
                + self._audit()
            )
        self.settings = load_settings(self.config(0))
        asyncio.run(create_topics(self.settings))
        for _ in range(workers):
            self.add_worker()

    def _config(self) -> str:
        return _CONFIG.partition("[local]")[0] + _BATCHES if self.batches_money else _CONFIG

    def _audit(self) -> str:
        if not self.audit:
            return ""
        path = self.folder / "secret"
        path.write_text(SECRET)
        if self.ladder is not None:
            return _TIGHTEN.format(secret=path, file=self.ladder)
        return _AUDIT.format(secret=path)

    def config(self, slot: int) -> Path:
        """The settings of the workers in this slot."""
        return self.folder / f"chaos-{slot}.toml"

    def add_worker(self) -> subprocess.Popen[bytes]:
        """One more worker with all three agents, in the slot with the fewest."""
        taken = [self.slot_of(worker) for worker in self.workers]
        slot = min(range(self.slots), key=taken.count)
        self._started += 1
        path = self.folder / f"worker-{self._started}.log"
        with path.open("wb") as log:
            command = [sys.executable, str(HERE / "worker.py"), str(self.config(slot)), str(self.traps)]
            worker = subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log)
        self.workers.append(worker)
        self._logs[worker.pid] = path
        self._slot[worker.pid] = slot
        return worker

    def slot_of(self, worker: subprocess.Popen[bytes]) -> int:
        """Its slot, also when it has ended."""
        return self._slot[worker.pid]

    def log_of(self, worker: subprocess.Popen[bytes]) -> Path:
        """Everything that it says."""
        return self._logs[worker.pid]

    def begun(self, worker: subprocess.Popen[bytes]) -> bool:
        """It has started: what it takes until then is Python's and the machine's time."""
        if worker.pid not in self._begun and b" worker_started " in self._logs[worker.pid].read_bytes():
            self._begun.add(worker.pid)
        return worker.pid in self._begun and worker.poll() is None

    @property
    def serving(self) -> bool:
        """A broker is there, and a worker that has started: everything must go on."""
        return self.well and self.brokers.running and any(self.begun(worker) for worker in self.workers)

    async def any_worker(self) -> subprocess.Popen[bytes]:
        """One of those that have started, when all have: a fault of one that has not begun would be none."""
        while not all(self.begun(worker) for worker in self.workers):
            self.revive()
            await asyncio.sleep(0.1)
        return random.choice(self.workers)

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
            end(worker)
        if self._remote is not None:
            end(self._remote)
        if self.brokers.running:
            self.brokers.stop()


class OneBroker(Rig):
    """With one broker, which is killed and comes back."""

    def __init__(
        self,
        folder: Path,
        delivery: str,
        *,
        audit: bool = False,
        ladder: Path | None = None,
        batches_money: float = 0.0,
    ) -> None:
        self.broker = Broker(folder / "kafka")
        super().__init__(folder, delivery, self.broker, audit=audit, ladder=ladder, batches_money=batches_money)

    async def restart_broker(self, after_s: float = 0.0) -> None:
        """Kill it, and start it again on the same data."""
        self.well = False
        self.broker.kill()
        await asyncio.sleep(after_s)
        await asyncio.to_thread(self.broker.restart)
        self.well = True


SomeRig = TypeVar("SomeRig", bound=Rig)


@contextmanager
def running(rig: SomeRig, workers: int) -> Iterator[SomeRig]:
    """A rig that is ended on every way out."""
    try:
        rig.start(workers)
        yield rig
    finally:
        rig.stop()


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    os.kill(process.pid, signal.SIGCONT)
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
