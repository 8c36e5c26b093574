"""Three nodes, and workers that each reach them over lines of their own."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from admin import Admin
from bisupervised.streams.flow import AGENTS, group_of
from bisupervised.streams.sandbox.broker import Broker
from bisupervised.streams.sandbox.cluster import BrokerCluster
from bisupervised.streams.sandbox.ports import HOST, free_ports
from proxy import METADATA, Line, Lines, Way
from rig import PARTITIONS, Rig

NODES = 3
#: as a production cluster has them by default; the embedded broker has shorter ones
_DEFAULTS = {"broker.session.timeout.ms": "9000", "broker.heartbeat.interval.ms": "2000"}
#: the most that a cluster may need to be well again, seconds
WELL_S = 90.0


class LinedCluster(BrokerCluster):
    """Each node has a listener for each slot of a worker, and a line before it."""

    def __init__(self, folder: Path, slots: int) -> None:
        super().__init__(NODES, folder, properties=_DEFAULTS)
        self.slots = slots
        self.lines: dict[tuple[int, int], Line] = {}  #: by the index of the node, and the slot
        self.ports: dict[tuple[int, int], int] = {}  #: where the line listens
        self._thread = Lines()

    def properties_of(self, number: int, ports: list[int], controllers: list[int]) -> dict[str, str]:
        properties = super().properties_of(number, ports, controllers)
        for slot in range(self.slots):
            taken = [*ports, *controllers, *self.ports.values()]
            behind, before = free_ports(2, other_than=taken)
            self.ports[number - 1, slot] = before
            self.lines[number - 1, slot] = self._thread.line(before, behind)
            properties["listeners"] += f",SLOT{slot}://{HOST}:{behind}"
            properties["advertised.listeners"] += f",SLOT{slot}://{HOST}:{before}"
            properties["listener.security.protocol.map"] += f",SLOT{slot}:PLAINTEXT"
        properties["inter.broker.listener.name"] = "PLAINTEXT"
        return properties

    def set(self, node: int, way: Way, slot: int | None = None) -> None:
        """What becomes of the line from this worker to this node, or of every one to it."""
        for (index, of), line in self.lines.items():
            if index == node and slot in (None, of):
                self._thread.set(line, way)

    def stop(self) -> None:
        for node in self.nodes:
            if node.running:
                os.kill(node.pid, signal.SIGCONT)
        super().stop()
        self._thread.stop()


class ThreeNodes(Rig):
    """Three nodes, with a worker in each slot. `doing` names the fault that goes on."""

    def __init__(self, folder: Path, delivery: str, slots: int) -> None:
        self.kafka = LinedCluster(folder / "kafka", slots)
        super().__init__(folder, delivery, self.kafka, slots=slots)
        self.doing = ""

    @property
    def nodes(self) -> tuple[Broker, ...]:
        return self.kafka.nodes

    @property
    def admin(self) -> Admin:
        return Admin(self.kafka.nodes)

    def servers_of(self, slot: int) -> str:
        return ",".join(f"{HOST}:{self.kafka.ports[node, slot]}" for node in range(NODES))

    def metadata_requests(self, slot: int) -> int:
        """How often the workers in this slot have asked who leads what."""
        return sum(self.kafka.lines[node, slot].asked[METADATA] for node in range(NODES))

    def kill(self, node: int) -> None:
        """As a crash would. Who connects is refused, by the lines too."""
        self.nodes[node].kill()
        self.kafka.set(node, Way.REFUSED)

    def stop_in_order(self, node: int) -> None:
        """SIGTERM, as an upgrade does."""
        self.nodes[node].stop()
        self.kafka.set(node, Way.REFUSED)

    async def start_nodes(self, *nodes: int) -> None:
        """Start what is down, all of it before any is waited for: alone it may have no majority."""
        for node in nodes:
            await asyncio.to_thread(self.nodes[node].begin)
            self.kafka.set(node, Way.OPEN)
        for node in nodes:
            await asyncio.to_thread(self.nodes[node].wait_until_ready)

    async def mend(self) -> str:
        """Bring back whatever is down, frozen or cut, and wait until all is well. Returns what is not, in the end."""
        for index, node in enumerate(self.nodes):
            if node.running:
                os.kill(node.pid, signal.SIGCONT)
                self.kafka.set(index, Way.OPEN)
        await self.start_nodes(*(index for index, node in enumerate(self.nodes) if not node.running))
        return await self.admin.well(WELL_S)

    async def leader(self) -> int:
        """The node that leads most partitions of the outputs."""
        topics = self.settings.topics
        found = await self.admin.leaders((topics.doubtful, topics.answers, topics.results, topics.fallback))
        return found.most_common(1)[0][0] - 1

    async def coordinator(self) -> int:
        """The node that coordinates most groups and transactions."""
        groups = [group_of(self.settings, agent) for agent in AGENTS]
        topics = (self.settings.topics.requests, self.settings.topics.doubtful, self.settings.topics.answers)
        transactional_ids = [
            f"{group}:{topic}:{number}"
            for group, topic in zip(groups, topics, strict=True)
            for number in range(PARTITIONS)
        ]
        found = await self.admin.coordinators(groups, transactional_ids if self._delivery == "exactly_once" else ())
        return found.most_common(1)[0][0] - 1
