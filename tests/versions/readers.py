"""Consumers of `results` that are not ours: librdkafka's, in both protocols of groups, beside all that is killed.

They live in the environment in which `make bench` has confluent-kafka (`scripts/peers.py`), made on the first run.
"""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bisupervised.schemas.codec import decode_result

from scripts.peers import install, python_of

SCRIPT = Path(__file__).with_name("reader.py")
PEER = "confluent"
#: seconds in which a reader may come to the end of the topic
_CATCH_UP_S = 60.0
#: brokers know the new protocol of groups from this version on, unless they are told not to
_NEW_PROTOCOL_SINCE = (4, 0)


@dataclass(frozen=True)
class Reader:
    """One consumer, and what it was given."""

    protocol: str
    process: subprocess.Popen[bytes]
    told: Path

    def places(self) -> Counter[tuple[int, int]]:
        """How many outcomes of each request it was given. A record that its own group gave it again counts once."""
        whole, _, _ = self.told.read_text().rpartition("\n")  # the last line may be half written
        lines = {tuple(line.split()) for line in whole.splitlines()}
        sources = [decode_result(base64.b64decode(value)).source for _, _, value in lines]
        return Counter((source.partition, source.offset) for source in sources)


def protocols_of(version: tuple[int, ...], properties: dict[str, str]) -> Sequence[str]:
    """The protocols of groups that such a broker knows."""
    old = version < _NEW_PROTOCOL_SINCE or "consumer" not in properties.get(
        "group.coordinator.rebalance.protocols", "classic,consumer"
    )
    return ("classic",) if old else ("classic", "consumer")


@contextmanager
def readers(servers: str, topic: str, folder: Path, protocols: Sequence[str]) -> Iterator[list[Reader]]:
    """One for each protocol, from now on; ended on the way out."""
    install(PEER)
    python = python_of(PEER)
    with ExitStack() as stack:
        begun = []
        for protocol in protocols:
            told = folder / f"reader-{protocol}.txt"
            with told.open("wb") as out, told.with_suffix(".log").open("wb") as log:
                command = [str(python), str(SCRIPT), servers, topic, f"reader-{protocol}", protocol]
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            begun.append(Reader(protocol, process, told))
        yield begun


def saw(reader: Reader, results: Counter[tuple[int, int]]) -> str:
    """`once` where it was given each outcome that is there, as often as it is there; else what differs."""
    deadline = time.monotonic() + _CATCH_UP_S
    while results - reader.places() and time.monotonic() < deadline and reader.process.poll() is None:
        time.sleep(0.5)
    seen = reader.places()
    missing, more = (results - seen).total(), (seen - results).total()
    if reader.process.poll() is not None:
        return f"{reader.protocol} ended: {reader.told.with_suffix('.log').read_text()[-200:]}"
    return f"{reader.protocol}: {missing} missing, {more} too many" if missing or more else reader.protocol
