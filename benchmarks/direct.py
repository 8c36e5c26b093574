"""`python -m benchmarks.direct CONFIG`: the agent `local` behind its data plane, without Faust.

The difference between this and `bisupervised worker --agents local` is the cost of Faust's channel: both have the same
event loop. Here is no supervision, no page, no count of what was committed, and no reload.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import uvloop
from bisupervised.agents.agents import Agent
from bisupervised.agents.heap import settle_heap
from bisupervised.streams.flow import steps
from bisupervised.streams.plane.clients import KafkaClients
from bisupervised.streams.plane.plane import DataPlane
from bisupervised.streams.plane.window.batch import Batch
from bisupervised.streams.settings.file import Configuration, load_configuration
from bisupervised.streams.telemetry.observation import Observation
from bisupervised.streams.topics.keeping import own_times
from bisupervised.streams.worker.making import make_agent, make_router, plane_policy
from bisupervised.streams.worker.preflight import preflight
from bisupervised.streams.worker.served_agent import ServedAgent


class DirectInbox:
    """Gives the agent one batch at a time, each in a task of its own."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._answering: asyncio.Task[None] | None = None
        self.on_taken: Callable[[], None] = lambda: None

    @property
    def full(self) -> bool:
        """True while a batch is being answered."""
        return self._answering is not None

    def offer(self, batch: Batch) -> bool:
        """Take the batch and return True, or leave it and return False."""
        if self.full:
            return False
        self._answering = asyncio.create_task(self._agent.run(_only(batch)))
        self._answering.add_done_callback(self._answered)
        return True

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering = None
        task.result()
        self.on_taken()


async def _only(batch: Batch) -> AsyncIterator[Batch]:
    yield batch


async def run(configuration: Configuration) -> None:
    """Until the process is ended."""
    settings = configuration.settings
    step = steps(settings)["local"]
    facts = await preflight(configuration, [step])
    agent = make_agent(configuration, "local", on_hang=lambda: os._exit(1))
    policy = plane_policy(configuration, step)
    clients = KafkaClients(policy, make_router(settings, step, facts, own_times(settings, facts.kept)))
    plane = DataPlane(policy, ServedAgent(agent, DirectInbox(agent), step, Observation(step.agent)), clients)
    settle_heap()
    await plane.run()


if __name__ == "__main__":
    uvloop.run(run(load_configuration(Path(sys.argv[1]), {})))
