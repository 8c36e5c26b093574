"""An archive of Kafka's classes, as Java has read and linked them: from it a broker starts in a third of the time.

Java writes one when it ends, and reads the one that it is told of. The tests start some thirty brokers.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from bisupervised.streams.sandbox.broker import Broker, java_binary
from bisupervised.streams.sandbox.kafka_jars import fetch_jars

FOLDER = Path(__file__).parents[2] / "build"
#: where Java looks for more options
OPTIONS = "JDK_JAVA_OPTIONS"
#: seconds; it takes five where nothing else runs
_PATIENCE_S = 120.0


def use_archive() -> None:
    """Let every broker that is started from here on use it. The first run makes it, and later ones find it."""
    archive = FOLDER / f"kafka-{_digest()}.aot"
    if not archive.exists():
        _make(archive)
    os.environ[OPTIONS] = f'-XX:AOTCache="{archive}"'


def _digest() -> str:
    """Of what it is an archive: this Java, and these jars in this order."""
    return hashlib.sha256("\n".join([java_binary(), *map(str, fetch_jars(print))]).encode()).hexdigest()[:16]


def _make(archive: Path) -> None:
    archive.parent.mkdir(exist_ok=True)
    written = archive.with_suffix(f".{os.getpid()}")
    broker = _Recorded(written)
    broker.start()
    broker.stop(_PATIENCE_S)
    written.replace(archive)


class _Recorded(Broker):
    """Writes an archive when it ends."""

    def __init__(self, archive: Path) -> None:
        super().__init__()
        self._archive = archive

    def _format(self, java: tuple[str, ...], properties: Path) -> None:
        super()._format(java, properties)
        os.environ[OPTIONS] = f'-XX:AOTCacheOutput="{self._archive}"'  # after this step, which is another Java
