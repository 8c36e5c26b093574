"""The shadow agent: asks the large model about trusted local answers, where that is in nobody's way.

    shadows ─▶ audits: the request, what both models say, and what the second supervisor thinks of the remote's answer

Nobody waits for these answers: they show how good both models are, and a late one, or none, holds nothing up. One that
does not come ends as missing, with the reason, and never in `fallback`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Sequence
from typing import Any, NamedTuple

import msgspec

from ..schemas.audits import AUDIT_HEADER, Audit, audit_record, audit_without_value, decode_audit
from ..schemas.codec import decode_facts, encode_facts, facts_of, header
from ..schemas.errors import InvalidRequest, Reason
from ..schemas.records import FACTS_HEADER, Facts, Headers, Incoming, Outgoing, Verdict
from .agents import Agent, BudgetLog
from .batches import Batch
from .in_flight import InFlight
from .remote.agent import Remote
from .remote.gating.lane import Lane
from .remote_supervisor import RemoteSupervisor
from .terms import Terms

log = logging.getLogger(__name__)

#: batches that wait for their turn here; all others wait in Kafka
_WAITING = 32
#: times that the calls of a batch may give way to others, which may be paid in vain
_GIVES_WAY = 5
_MS_PER_HOUR = 3_600_000


class Shadowed(NamedTuple):
    """A record of `shadows` as it was read."""

    record: Incoming
    facts: Facts
    audit: Audit


class _Asked(NamedTuple):
    """The same as the remote agent reads a record, with a time by which nobody asks any more."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Shadow:
    """Turns records of `shadows` into those of `audits`."""

    def __init__(
        self, remote: Remote, judge: RemoteSupervisor, lane: Lane, pipeline: str, within_hours: float = 24.0
    ) -> None:
        """`remote` makes its calls by this lane. `within_hours`: from when a shadow was written until nobody asks."""
        self.judge = judge
        self.lane = lane
        self._remote = remote
        self._pipeline = pipeline
        self._within_ms = within_hours * _MS_PER_HOUR

    async def close(self) -> None:
        await self._remote.close()

    async def answer(self, records: Sequence[Incoming]) -> list[Outgoing]:
        """One record of `audits` for each, in order. Raises `CancelledError` where the partitions go."""
        read = [self._read(record) for record in records]
        shadowed = [one for one in read if isinstance(one, Shadowed)]
        made = iter(await self._all(shadowed) if shadowed else ())
        return [next(made) if isinstance(one, Shadowed) else one for one in read]

    def _read(self, record: Incoming) -> Shadowed | Outgoing:
        try:
            return read_shadow(record)
        except (msgspec.DecodeError, InvalidRequest) as error:
            return unreadable_shadow(record, self._pipeline, str(error))

    async def _all(self, shadowed: Sequence[Shadowed]) -> list[Outgoing]:
        asked = [self._question(one) for one in shadowed]
        for _ in range(_GIVES_WAY):
            outcomes = await self._ask(asked)
            if outcomes is not None:
                return [self._judged(*pair) for pair in zip(shadowed, outcomes, strict=True)]
        detail = f"the calls about it have given way to others {_GIVES_WAY} times"
        return [missing_shadow(one, "timeout", detail) for one in shadowed]

    def _question(self, one: Shadowed) -> _Asked:
        record = one.record
        facts = msgspec.structs.replace(one.facts, deadline_ms=round(record.timestamp + self._within_ms))
        rest = [(name, value) for name, value in record.headers if name not in (FACTS_HEADER, AUDIT_HEADER)]
        headers = [*rest, (FACTS_HEADER, encode_facts(facts))]
        place = (record.topic, record.partition, record.offset)
        return _Asked(*place, record.timestamp, record.key, record.value, headers)

    async def _ask(self, asked: Sequence[_Asked]) -> list[Outgoing] | None:
        """None where the calls gave way to others, which cancels who makes them: so that is a task of its own."""
        asking = asyncio.ensure_future(self._remote.answer(asked))
        try:
            await asyncio.wait({asking})
        finally:
            asking.cancel()
        if not asking.cancelled():
            return asking.result()
        if self.lane.leaving:
            raise asyncio.CancelledError
        return None

    def _judged(self, one: Shadowed, outcome: Outgoing) -> Outgoing:
        about = outcome.about if isinstance(outcome.about, Facts) else one.facts
        if outcome.to != "answers" or about.remote is None:
            return missing_shadow(one, about.reason or "remote_error", about.detail or "", about.remote)
        verdict, judged = self.judge.judged(one.facts.local, about.remote)
        facts = msgspec.structs.replace(one.facts, remote=verdict, detail=about.detail, agent="shadow")
        return audit_record(one.record, facts, msgspec.structs.replace(one.audit, shadow="answered", judged=judged))


def read_shadow(record: Incoming) -> Shadowed:
    """A record of `shadows`. Raises `InvalidRequest` and `msgspec.DecodeError`."""
    audit = decode_audit(header(record.headers, AUDIT_HEADER) or b"")
    return Shadowed(record, decode_facts(record), audit)


def missing_shadow(one: Shadowed, reason: Reason | str, detail: str, paid: Verdict | None = None) -> Outgoing:
    """The record of `audits` where the remote has said nothing, and why. `paid`: what its calls have cost."""
    facts = msgspec.structs.replace(one.facts, remote=paid, reason=reason, detail=detail, agent="shadow")
    return audit_record(one.record, facts, msgspec.structs.replace(one.audit, shadow="missing"))


def unreadable_shadow(record: Incoming, pipeline: str, why: str) -> Outgoing:
    """Of what no worker has written: it is no evidence of anything."""
    text = "%s-%d-%d is no record of a shadow: %s"
    log.error(text, record.topic, record.partition, record.offset, why, extra={"action": "shadow_unreadable"})
    facts = msgspec.structs.replace(facts_of(record), reason="invalid_request", detail=why, agent="shadow")
    return audit_without_value(facts, Audit(pipeline, "failed", 0.0, label=False), f"no record of a shadow: {why}")


class ShadowSubstitute:
    """What the data plane writes into `audits` itself, in place of the agent."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline

    def failed(self, record: Incoming, detail: str) -> Outgoing:
        """After the last try."""
        try:
            return missing_shadow(read_shadow(record), "model_error", detail)
        except (msgspec.DecodeError, InvalidRequest) as error:
            return unreadable_shadow(record, self._pipeline, str(error))

    def too_large(self, record: Incoming, detail: str) -> Outgoing:
        """Without the request and the answers."""
        return self._without_value(record, "too_large", detail)

    def refused(self, record: Incoming, detail: str) -> Outgoing:
        """Likewise."""
        return self._without_value(record, "invalid_request", detail)

    def _without_value(self, record: Incoming, reason: Reason, detail: str) -> Outgoing:
        try:
            one = read_shadow(record)
        except (msgspec.DecodeError, InvalidRequest) as error:
            return unreadable_shadow(record, self._pipeline, str(error))
        facts = msgspec.structs.replace(one.facts, reason=reason, detail=detail, agent="shadow")
        return audit_without_value(facts, msgspec.structs.replace(one.audit, shadow="missing"), detail)


class ShadowAgent(Agent):
    """shadows ─▶ audits: runs beside the remote agent, whose gate it passes when nobody else does."""

    def __init__(self, shadow: Shadow, budget: BudgetLog | None = None) -> None:
        self._shadow = shadow
        self._budget = budget
        self._calls = InFlight(self._answer, _WAITING)

    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """Submit and go on: the lease of a batch outlives the loop body."""
        async for batch in batches:
            await self._calls.submit(batch)

    async def _answer(self, batch: Batch) -> list[Outgoing]:
        return await self._shadow.answer(batch.records)

    async def warm_up(self) -> None:
        """Begin to read what the fleet has spent on shadows."""
        if self._budget is not None:
            await self._budget.start()

    def leaves(self) -> None:
        """Calls under way may end; those that wait for their turn are given back."""
        self._shadow.lane.leave_waiting()

    def owns(self, owned: int, partitions: int) -> None:
        """Calls may wait again; nobody calls for partitions that are gone."""
        self._shadow.lane.stay()
        self._calls.drop_unwanted()

    def adopt(self, terms: Terms) -> None:
        """Judge by the second threshold."""
        self._shadow.judge.judge_by(terms.remote, terms.version, joint=terms.joint, arbitration=terms.arbitration)

    def statistics(self) -> dict[str, Any]:
        """What waits and is under way."""
        return {"in_flight": len(self._calls), **self._shadow.lane.statistics()}

    async def close(self) -> None:
        """The data plane has drained; what is still under way belongs to nobody."""
        await self._calls.close(deadline_s=0.0)
        if self._budget is not None:
            await self._budget.close()
        await self._shadow.close()
