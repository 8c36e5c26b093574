"""The jars of Apache Kafka: fetched once per user, checked by digest before every use.

BrokerError            the embedded broker cannot do what was asked; the message says what to do
├── ExtraMissing       the packages that bring Java and the jars are not installed
├── JarsUnavailable    the jars cannot be fetched, or are not the ones that were released
├── PortUnavailable    (ports.py) the port is taken or not allowed
├── FolderInUse        (broker.py) another broker has the data folder
├── WrongNodes         (cluster.py) a cluster cannot have so many nodes, or the data folder holds another one
└── StartFailed        (broker.py) the broker's process ended, or was not ready in time
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from ...schemas.errors import BiSupervisedError

Progress = Callable[[str], None]


class BrokerError(BiSupervisedError):
    """The embedded broker cannot do what was asked of it."""


class ExtraMissing(BrokerError):
    """Java or the resolver of jars is not installed."""

    def __init__(self) -> None:
        super().__init__("the embedded broker is an extra: pip install 'bisupervised[broker]'")


class JarsUnavailable(BrokerError):
    """Kafka's jars cannot be fetched, or are not the ones that were released."""


class KafkaRelease(msgspec.Struct, frozen=True):
    """What `kafka.json` says of the Kafka that this package runs."""

    version: str
    artifacts: tuple[str, ...]  #: Maven coordinates; their dependencies are fetched with them
    jars: dict[str, str]  #: file name to SHA-256, of everything on the class path

    @classmethod
    def shipped(cls) -> KafkaRelease:
        return msgspec.json.decode(files(__package__).joinpath("kafka.json").read_bytes(), type=cls)

    def faults_in(self, folder: Path) -> list[str]:
        """Names of the jars that are missing from a folder or differ from the released ones."""
        return [name for name, digest in self.jars.items() if sha256_of(folder / name) != digest]


@dataclass(frozen=True, slots=True)
class JarStore:
    """A folder with the jars of one release and nothing else."""

    folder: Path
    release: KafkaRelease

    def paths(self) -> list[Path]:
        return [self.folder / name for name in self.release.jars]

    def fill(self, progress: Progress) -> None:
        """Fetch what is missing or wrong.

        Several processes may fill one folder at the same time: one fetches, the others wait for it. A jar is moved
        in only when it is complete, so a folder without faults may be read without the lock.
        """
        if not self.release.faults_in(self.folder):
            return
        with self._exclusive():
            faults = self.release.faults_in(self.folder)
            if faults:
                progress(f"fetching Kafka {self.release.version}, {len(faults)} jars: 43 MB, about 20 s")
                self._fetch(faults)
                progress(f"Kafka {self.release.version} is in {self.folder}, every jar checked")

    def _fetch(self, faults: list[str]) -> None:
        """Fetch into the staging folder. What an interrupted fetch left there is used again, if its digest is right."""
        staging = self.folder / "fetching"
        fetched = {jar.name: jar for jar in download(self.release.artifacts, staging)}
        wrong = [name for name in faults if sha256_of(fetched.get(name, staging / name)) != self.release.jars[name]]
        if wrong:
            shutil.rmtree(staging)
            raise JarsUnavailable(
                f"what was fetched for Kafka {self.release.version} is not what was released: "
                f"{', '.join(wrong)}. Nothing of it is used. A proxy or mirror may alter downloads; "
                "otherwise try again."
            )
        for name in faults:
            fetched[name].replace(self.folder / name)
        shutil.rmtree(staging)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise JarsUnavailable(f"no jars can be kept in {self.folder}: {error}") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def fetch_jars(progress: Progress) -> list[Path]:
    """Kafka's class path, checked. What is missing is fetched first; otherwise there is no network access."""
    release = KafkaRelease.shipped()
    store = JarStore(cache_folder() / f"kafka-{release.version}", release)
    store.fill(progress)
    return store.paths()


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bisupervised"


def sha256_of(file: Path) -> str | None:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def download(artifacts: tuple[str, ...], staging: Path) -> list[Path]:
    """Resolve and fetch with jgo, into a separate folder: the user's Maven folder may hold anything."""
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.env import EnvironmentBuilder, LinkStrategy
        from jgo.maven import MavenContext
    except ImportError as error:
        raise ExtraMissing from error
    context = MavenContext(
        repo_cache=staging / "repository",
        remote_repos={"central": MAVEN_CENTRAL_URL}
        | GlobalSettings.load().repositories,  # a mirror named central replaces it
        timeout=60,
    )
    builder = EnvironmentBuilder(context, cache_dir=staging, link_strategy=LinkStrategy.COPY)
    try:
        environment = builder.from_endpoint("+".join(artifacts))
    except Exception as error:  # jgo lets through whatever its HTTP client, its parser and the disk raise
        raise JarsUnavailable(
            f"Kafka's jars cannot be fetched: {error}. They come from Maven Central or from the repositories "
            "that jgo's settings name; check the network and the proxy settings, then try again."
        ) from error
    return sorted(Path(environment.path).rglob("*.jar"))


def main() -> int:
    """Fetch the jars before the first start: `python -m bisupervised.streams.sandbox.kafka_jars`."""
    try:
        fetch_jars(print)
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
