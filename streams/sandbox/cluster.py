"""A cluster of embedded brokers on this machine, to see what a pipeline does when one of several brokers is away.

Each node is a broker and a controller at once: three Java processes of 350 MB, where separate controllers would make
it six. Topics have three copies, of which two must have a record before it counts as written. So do the topics of
offsets and of transactions, which makes the loss of any one node harmless.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from typing import Self

import msgspec

from .broker import START_TIMEOUT_S, Broker, new_cluster_id, server_properties
from .kafka_jars import BrokerError, Progress
from .ports import HOST, claim_port, free_ports

COPIES = 3
IN_SYNC = 2
MOST_NODES = 9
#: seconds that the nodes have to end in order, all together
_STOP_S = 30.0
_CARD = "cluster.json"


class WrongNodes(BrokerError):
    """A cluster of so many nodes cannot be, or is not what the data folder holds."""


class _Card(msgspec.Struct, frozen=True):
    """What a data folder says about the cluster in it. It is written before any node is."""

    cluster_id: str
    nodes: int


class BrokerCluster:
    """Some brokers that are one Kafka, and the folder with a folder for each.

    The methods block, as those of `Broker` do, and the nodes end with the process that started them.

    Args:
        nodes: how many: three or more.
        data_dir: kept, for the next cluster on it; without one, a temporary folder that `stop` removes.
        port: of the first node, and the next ones follow it; 0 takes free ones. Later starts of a node keep its port.
        properties: server properties of every node that go before the ones chosen here.
    """

    def __init__(
        self, nodes: int, data_dir: Path | None = None, port: int = 0, *, properties: Mapping[str, str] | None = None
    ) -> None:
        if why := unfit(nodes):
            raise WrongNodes(why)
        self.nodes: tuple[Broker, ...] = ()
        self._count = nodes
        self._port = port
        self._properties = dict(properties or {})
        self._temporary = Path(tempfile.mkdtemp(prefix="bisupervised-kafka-")) if data_dir is None else None
        self.data_dir = data_dir or self._temporary or Path()

    def __repr__(self) -> str:
        return f"<BrokerCluster {', '.join(map(repr, self.nodes)) or 'not started'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.bootstrap_servers for node in self.nodes)

    @property
    def running(self) -> bool:
        """At least one of them runs."""
        return any(node.running for node in self.nodes)

    def start(self, progress: Progress = lambda _: None, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once every node answers; if one does not, raise a BrokerError and leave no process behind."""
        if self.running:
            raise BrokerError(f"the cluster is running already, on {self.bootstrap_servers}")
        card = self._card()
        ports = self._client_ports()
        controllers = free_ports(self._count, other_than=ports)
        self.nodes = tuple(
            Broker(
                self.data_dir / f"node-{number}",
                port,
                properties=self.properties_of(number, ports, controllers),
                cluster_id=card.cluster_id,
            )
            for number, port in enumerate(ports, start=1)
        )
        try:
            for node in self.nodes:
                node.begin(progress)
            for node in self.nodes:
                node.wait_until_ready(timeout_s)
        except BaseException:  # an interrupt, too, must not leave brokers behind
            for node in self.nodes:
                node.kill()
            raise

    def stop(self) -> None:
        """End all at once, in order, or by force where that takes too long. A temporary data folder goes with them.

        One after the other, the last ones would wait for a majority of controllers that has gone.
        """
        for node in self.nodes:
            if node.running:
                os.kill(node.pid, signal.SIGTERM)
        for node in self.nodes:
            node.stop(_STOP_S)
        if self._temporary is not None:
            rmtree(self._temporary, ignore_errors=True)

    def properties_of(self, number: int, ports: list[int], controllers: list[int]) -> dict[str, str]:
        """The server properties of a node, given where the nodes and their controllers listen."""
        voters = [f"{other}@{HOST}:{port}" for other, port in enumerate(controllers, start=1)]
        copies = {
            "default.replication.factor": COPIES,
            "min.insync.replicas": IN_SYNC,
            "offsets.topic.replication.factor": COPIES,
            "transaction.state.log.replication.factor": COPIES,
            "transaction.state.log.min.isr": IN_SYNC,
            "share.coordinator.state.topic.replication.factor": COPIES,
            "share.coordinator.state.topic.min.isr": IN_SYNC,
        }
        return {
            **server_properties(ports[number - 1], controllers[number - 1]),
            "node.id": str(number),
            "controller.quorum.voters": ",".join(voters),
            **{name: str(value) for name, value in copies.items()},
            **self._properties,
        }

    def _client_ports(self) -> list[int]:
        """Where the nodes listen: as they did before, or one after the other from the port that was asked for."""
        if self.nodes:
            return [claim_port(node.port) for node in self.nodes]
        if self._port:
            return [claim_port(self._port + number) for number in range(self._count)]
        return free_ports(self._count)

    def _card(self) -> _Card:
        """Of the cluster in the data folder, which is a new one where there is none. Raises `WrongNodes`."""
        refuse_other_nodes(self.data_dir, self._count)
        path = self.data_dir / _CARD
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=_Card)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        card = _Card(new_cluster_id(), self._count)
        path.write_bytes(msgspec.json.encode(card))
        return card


def unfit(nodes: int) -> str:
    """Why so many nodes cannot be a cluster; '' where they can."""
    if COPIES <= nodes <= MOST_NODES:
        return ""
    return f"{nodes} nodes are no cluster of {COPIES} copies for one machine: take {COPIES} to {MOST_NODES}, or 1"


def refuse_other_nodes(data_dir: Path, nodes: int) -> None:
    """Data of another number of nodes are not for these. Raises `WrongNodes`, which says what is there."""
    card = data_dir / _CARD
    if card.exists():
        kept = msgspec.json.decode(card.read_bytes(), type=_Card).nodes
        what = f"a cluster of {kept} nodes: start it with --nodes {kept}"
    elif (data_dir / "kafka" / "meta.properties").exists():
        kept, what = 1, "one broker: start it without --nodes"
    else:
        return
    if kept != nodes:
        raise WrongNodes(f"{data_dir} holds the data of {what}, or name another folder")
