"""`bisupervised broker`: one embedded broker, or a cluster of them, until Ctrl-C."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from ..console.signals import interruptible
from .broker import Broker, StartFailed
from .cluster import COPIES, IN_SYNC, BrokerCluster, refuse_other_nodes
from .kafka_jars import BrokerError, KafkaRelease

_LOOK_S = 0.2


def run_broker(port: int, data: Path | None, nodes: int = 1) -> int:
    """Run until Ctrl-C or SIGTERM. Returns the exit code."""
    end = "its topics and records are deleted" if data is None else f"its data stay in {data}"
    try:
        return interruptible(
            lambda started: _run(started, port, data, nodes),
            lambda: print(f"stopping the broker; {end}", flush=True),
        )
    except KeyboardInterrupt:
        return 0
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1


def _run(started: ExitStack, port: int, data: Path | None, nodes: int) -> NoReturn:
    if data is not None:
        refuse_other_nodes(data, nodes)
    broker = Broker(data, port) if nodes == 1 else BrokerCluster(nodes, data, port)
    started.callback(broker.stop)
    broker.start(print)
    version = KafkaRelease.shipped().version
    where = f"{broker.bootstrap_servers}, data in {broker.data_dir}"
    print(f"Kafka {version} listens on {where} (Ctrl-C stops it)", flush=True)
    members = broker.nodes if isinstance(broker, BrokerCluster) else (broker,)
    if len(members) > 1:
        _introduce(members)
    if data is None:
        print("topics and records are deleted when it stops; --data FOLDER keeps them", flush=True)
    _watch(members)


def _introduce(nodes: tuple[Broker, ...]) -> None:
    """What one needs to make topics with copies, and to try what happens without a node."""
    for number, node in enumerate(nodes, start=1):
        print(f"  node {number}: {node.bootstrap_servers}, process {node.pid}")
    wanted = f"replication_factor = {COPIES}, min_insync_replicas = {IN_SYNC}"
    print(f"  [topics] {wanted} gives each partition its copies", flush=True)


def _watch(nodes: tuple[Broker, ...]) -> NoReturn:
    """Tell when one ends by itself. Raises `StartFailed` when none is left."""
    down: set[Broker] = set()
    while len(down) < len(nodes):
        time.sleep(_LOOK_S)
        for number, node in enumerate(nodes, start=1):
            if not node.running and node not in down:
                down.add(node)
                if len(nodes) > 1:
                    print(f"node {number} has ended, its log is {node.log}", flush=True)
    raise StartFailed("ended by itself", nodes[-1].log)
