"""The three Faust agents, thin: each takes batches from its channel and has them answered by a plain class.

Leaving `with batch:` unresolved gives the records back to the data plane, so an agent that raises loses nothing:
Faust restarts it, and the records are delivered again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ..schemas.records import Incoming, Outgoing
from .batches import Batch
from .in_flight import InFlight
from .local.agent import Local
from .local.serving.server import ServerAway
from .remote.agent import Remote
from .remote_supervisor import RemoteSupervisor
from .terms import Terms
from .tracing import Tracing


class Agent(ABC):
    """What Faust runs at one step, with a word before the first record and after the last."""

    @abstractmethod
    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """The agent's body, which Faust restarts when it raises."""

    async def warm_up(self) -> None:
        """Before the first record."""
        return

    async def close(self) -> None:
        """After the last."""
        return

    def leaves(self) -> None:
        """Told before partitions go, by a rebalance or a stop: give back what has not begun. `owns` follows."""
        return

    def reads(self, partition: int, topic_id: str) -> None:
        """Told before the first record of a partition: the id of its topic, '' where none is known."""
        return

    def owns(self, owned: int, partitions: int) -> None:
        """Told after each rebalance: so many partitions of so many in all are this worker's. 0 in all: nobody knows."""
        return

    def objections(self, terms: Terms) -> list[str]:
        """Why it cannot work on these terms; empty where it can. Asked before `adopt`."""
        return []

    def adopt(self, terms: Terms) -> None:
        """Other thresholds and limits from now on. Never awaits, so that no batch meets half of them."""
        return

    async def renew(self) -> None:
        """Read secrets again: they may be others by now."""
        return

    @property
    def hungry(self) -> bool:
        """False while records would only wait here: then none are fetched."""
        return True

    @property
    def probing(self) -> bool:
        """What it takes in now only shows whether it can go on."""
        return False

    @property
    def appetite(self) -> int | None:
        """Records of the next batch, at most; None where the settings alone say."""
        return None

    def statistics(self) -> dict[str, Any]:
        """A snapshot; empty where there is nothing to tell."""
        return {}

    def measurements(self) -> dict[str, Any]:
        """What the metrics read besides, in the types of whoever measures; empty where nothing is measured."""
        return {}


class LocalAgent(Agent):
    """requests ─▶ results | doubtful: the small model and its supervisor."""

    def __init__(self, local: Local, warm_up: Sequence[Any] = (), tracing: Tracing | None = None) -> None:
        self._local = local
        self._inputs = warm_up
        self._decide = (tracing or Tracing()).step("decide", local.decide)

    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """Decide batch by batch."""
        async for batch in batches:
            # a batch tells of what is raised, and gives its records back; were the agent restarted for each, the
            # restarts of a model that answers nothing would reach Faust's limit, and end the worker
            with suppress(Exception), batch:
                try:
                    batch.resolve(await self._decide(batch.records))
                except ServerAway:
                    batch.release()

    def reads(self, partition: int, topic_id: str) -> None:
        """Say in what is written of its records which topic they belong to."""
        self._local.reads(partition, topic_id)

    @property
    def appetite(self) -> int | None:
        """What the model answers in good time."""
        return self._local.appetite.inputs

    async def warm_up(self) -> None:
        """Predict once."""
        await self._local.warm_up(self._inputs)

    def leaves(self) -> None:
        """Records that wait for a server are given back."""
        self._local.leave()

    def owns(self, owned: int, partitions: int) -> None:
        """What is ours waits for its server again."""
        self._local.stay()

    def measurements(self) -> dict[str, Any]:
        """`predict`: the seconds that the model took for a batch, as `Buckets`; `trouble`: why it answers none;
        `no_use`: why an answer to an input to warm up with is of none; `schema_wait`: records that wait for a schema,
        and for how many seconds, or None.
        """
        return {
            "predict": self._local.durations.snapshot(),
            "trouble": self._local.trouble,
            "no_use": self._local.no_use,
            "schema_wait": self._local.schema_wait,
        }

    def objections(self, terms: Terms) -> list[str]:
        """Thresholds of another model say nothing about this one, and a learned score may read what it does not say."""
        wanted, name = terms.local_model, self._local.model_name
        faults = [f"[thresholds] file: was made for the local model {wanted}, not {name}"] * (wanted not in ("", name))
        unreadable = self._local.unreadable(terms.learned) if terms.learned else []
        return faults + [f"[local] {key}: {text}" for key, text in unreadable]

    def adopt(self, terms: Terms) -> None:
        """Judge by the first threshold."""
        self._local.judge_by(terms.local, terms.version, terms.learned)

    async def close(self) -> None:
        """Let go of the inference thread, or of the server."""
        self._local.close()
        await self._local.hang_up()


class BudgetLog(Protocol):
    """Where a fleet agrees on who may spend what."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...


class RemoteAgent(Agent):
    """doubtful ─▶ answers: the remote call, many under way at once."""

    def __init__(self, remote: Remote, tracing: Tracing | None = None, budget: BudgetLog | None = None) -> None:
        self._remote = remote
        self._budget = budget
        self._ask = (tracing or Tracing()).step("ask", remote.answer)
        self._calls = InFlight(self._answer, remote.gate.limits.in_flight)
        remote.gate.on_held = self._make_room

    @property
    def remote(self) -> Remote:
        """What asks the remote, for who asks it beside."""
        return self._remote

    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """Submit and go on: the lease of a batch outlives the loop body."""
        async for batch in batches:
            await self._calls.submit(batch)

    async def _answer(self, batch: Batch) -> list[Outgoing]:
        return await self._ask(batch.records, batch)

    def _make_room(self, held: int) -> None:
        """Inputs that wait for a verdict take no place from others: one of these tells who is to blame."""
        self._calls.resize(self._remote.gate.limits.in_flight + held)

    async def warm_up(self) -> None:
        """Begin to read what the fleet has spent."""
        if self._budget is not None:
            await self._budget.start()

    def leaves(self) -> None:
        """Calls under way may end; those that only wait for their turn are given back."""
        self._remote.gate.leave_waiting()

    def owns(self, owned: int, partitions: int) -> None:
        """Take this share of the limits, and let nobody call for partitions that are gone."""
        gate = self._remote.gate
        gate.share(owned, partitions)
        self._make_room(gate.held)
        self._calls.drop_unwanted()

    def adopt(self, terms: Terms) -> None:
        """Ask within the limits."""
        gate = self._remote.gate
        gate.change(terms.limits)
        self._make_room(gate.held)

    async def renew(self) -> None:
        """Read the key to the remote again."""
        await self._remote.renew()

    @property
    def hungry(self) -> bool:
        """False while the remote is down or the budget spent, and records are to wait: the backlog stays in Kafka."""
        return self._remote.gate.admits

    @property
    def probing(self) -> bool:
        """The remote is down: another record may be its probe, or tell whether the refused ones are to blame."""
        return self._remote.gate.waits and not self._remote.gate.breaker.closed

    def statistics(self) -> dict[str, Any]:
        """Limits, breaker, what is under way, and what need not be paid again or was."""
        remote = self._remote
        told = {**remote.statistics(), **remote.gate.statistics(), **remote.meter.statistics()}
        return {"in_flight": len(self._calls), **told}

    def measurements(self) -> dict[str, Any]:
        """`meter`: the calls, a `Meter`; `endpoint`: who was called, an `Endpoint`."""
        return {"meter": self._remote.meter, "endpoint": self._remote.endpoint}

    async def close(self) -> None:
        """The data plane has drained; what is still under way belongs to nobody."""
        await self._calls.close(deadline_s=0.0)
        if self._budget is not None:
            await self._budget.close()
        await self._remote.close()


class RemoteSupervisorAgent(Agent):
    """answers ─▶ results | fallback: the judge of remote answers."""

    def __init__(self, judge: RemoteSupervisor, tracing: Tracing | None = None) -> None:
        async def answer(records: Sequence[Incoming]) -> list[Outgoing]:
            return judge.judge(records)

        self._judge = judge
        self._answer = (tracing or Tracing()).step("judge", answer)

    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """Judge batch by batch."""
        async for batch in batches:
            with batch:
                batch.resolve(await self._answer(batch.records))

    def adopt(self, terms: Terms) -> None:
        """Judge by the second threshold."""
        self._judge.judge_by(terms.remote, terms.version, joint=terms.joint, arbitration=terms.arbitration)
