"""From a configuration to who asks the remote in batches: the provider, what is asked, and what pays for it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from mode import Service

from ...agents.remote.bulk.anthropic_batch import AnthropicBatch
from ...agents.remote.bulk.closing import ClosePolicy
from ...agents.remote.bulk.exchange import BulkPolicy as ExchangePolicy
from ...agents.remote.bulk.gate import BulkGate
from ...agents.remote.bulk.inputs import BulkInputs, BulkInputsPolicy
from ...agents.remote.bulk.openai_batch import OpenAIBatch
from ...agents.remote.bulk.pace import PacePolicy
from ...agents.remote.bulk.provider import BulkProvider
from ...agents.remote.bulk.queue import TokenQueue
from ...agents.remote.endpoint import shown_address
from ...agents.remote.protocol import RemoteProtocol
from ...agents.remote.spending.advances import Advances
from ...agents.remote.spending.budget import BudgetPolicy
from ...agents.remote.transport import StreamingTransport
from ...agents.tasks import begin, end, persistently
from ...schemas.budget import NANO
from ...schemas.codec import EncodeResult, encode_result
from ...schemas.errors import ConfigurationError, InvalidRequest
from ..bulk.membership import BulkMembership
from ..bulk.owner import Owner
from ..bulk.policy import BulkPolicy, Means
from ..bulk.standing import BulkStanding
from ..events.making import request_format
from ..flow import accepts_local, group_of
from ..settings.broker import outbox_policy
from .budget_topic import BudgetTopic
from .making import breaker_policy, budgets, client_policy, make_auditing, make_router, make_transport
from .protocols import make_protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...agents.events.results import ResultWriter
    from ..flow import Step
    from ..settings.file import Configuration
    from ..settings.tables import Settings
    from .preflight import TopicFacts

_MEGABYTE = 1_000_000


def make_provider(settings: Settings, protocol: RemoteProtocol) -> BulkProvider:
    """The batch interface of the settings. Reads its key."""
    remote, batch = settings.remote, settings.batch
    transport = make_transport(remote)
    if not isinstance(transport, StreamingTransport):
        raise ConfigurationError(["[remote] credentials: cannot sign what is sent and fetched for batches"])
    policy = ExchangePolicy(
        remote.url,
        remote.headers,
        batch.call_timeout_s,
        batch.transfer_timeout_s,
        max(remote.max_response_bytes, ExchangePolicy("").most_line_bytes),
    )
    if batch.interface == "anthropic_batch":
        return AnthropicBatch(transport, policy)
    return OpenAIBatch(transport, policy, path_of(settings, protocol), endpoint=batch.endpoint)


def path_of(settings: Settings, protocol: RemoteProtocol) -> str:
    """The path of a direct call."""
    send = settings.remote.send
    try:
        return protocol.build([dict.fromkeys(send, "") if send else ""]).path
    except InvalidRequest:
        return ""


def make_batches(
    configuration: Configuration,
    step: Step,
    facts: TopicFacts,
    own_ms: Mapping[str, int],
    standing: BulkStanding,
    writer: ResultWriter | None,
    *,
    begin_anew: bool = False,
) -> BatchParts:
    """Who asks in batches in this worker. `standing` is kept up to date. `writer`: of results that are no JSON.
    `begin_anew`: partitions that a person must say something about go on. Raises `ConfigurationError`.
    """
    settings = configuration.settings
    protocol = make_protocol(settings.remote)
    provider = make_provider(settings, protocol)
    standing.enabled, standing.late_s = True, settings.batch.late_hours * 3600.0
    advances = _advances(settings)
    gate = BulkGate(
        breaker_policy(settings.remote),
        waits=settings.remote.while_open == "wait",
        asked=shown_address(settings.remote.url),
    )
    standing.stopped = lambda: gate.stopped
    means = Means(
        provider,
        _inputs(settings, protocol, writer or encode_result),
        TokenQueue(),
        gate,
        standing,
        advances=advances,
        companions=None if (auditing := make_auditing(settings, step)) is None else auditing(step.facts),
    )
    money = None
    if advances is not None:
        money = BudgetTopic(
            configuration.connection, settings.topics.budget, settings.name, advances, lambda: None, now=time.time
        )
        means.need = money.need
    policy = _policy(configuration, facts, provider, begin_anew=begin_anew)
    router = make_router(settings, step, facts, own_ms)
    membership = BulkMembership(policy, lambda number: Owner(policy, means, number, router), standing)
    return BatchParts(membership, provider, money, gate, writer)


def _policy(configuration: Configuration, facts: TopicFacts, provider: BulkProvider, *, begin_anew: bool) -> BulkPolicy:
    settings, connection = configuration.settings, configuration.connection
    batch, topics = settings.batch, settings.topics
    folder = batch.folder or tempfile.gettempdir()
    if not os.access(folder, os.W_OK):
        raise ConfigurationError([f"[batch] folder: {folder} cannot be written to: name one that can"])
    return BulkPolicy(
        connection=connection,
        outbox=outbox_policy(settings, connection, group_of(settings, "bulk")),
        pipeline=settings.name,
        batched=topics.batched,
        batches=topics.batches,
        batches_bytes=facts.message_bytes[topics.batches],
        interface=batch.interface,
        by=f"{socket.gethostname()}:{os.getpid()}",
        session_timeout_s=settings.kafka.session_timeout_s,
        in_flight=batch.in_flight,
        close=ClosePolicy(
            records=min(batch.records, provider.most_lines),
            bytes=min(round(batch.megabytes * _MEGABYTE), provider.most_bytes),
            tokens=batch.tokens,
            money=round(batch.money * NANO),
            age_s=batch.age_s,
        ),
        pace=PacePolicy(batch.poll_first_s, batch.poll_most_s),
        call_timeout_s=batch.call_timeout_s,
        folder=batch.folder,
        waits_for_budget=settings.budget.when_spent == "wait",
        begin_anew=begin_anew,
    )


def _inputs(settings: Settings, protocol: RemoteProtocol, encode: EncodeResult) -> BulkInputs:
    remote, batch = settings.remote, settings.batch
    policy = BulkInputsPolicy(
        pipeline=settings.name,
        price=client_policy(remote).price,
        price_share=batch.price_share,
        most_answer_tokens=remote.most_answer_tokens,
        supervisor=remote.own_score,
        send=remote.send,
        tries=batch.tries,
        expired_again=batch.on_expired == "again",
        accepts_local=accepts_local(settings),
    )
    return BulkInputs(protocol, request_format(settings), policy, encode=encode)


def _advances(settings: Settings) -> Advances | None:
    budget = settings.budget
    if not budget.limited:
        return None
    policy = BudgetPolicy(budgets(settings)[0], budget.per, budget.lease_share)
    return Advances(policy, f"{socket.gethostname()}:{os.getpid()}")


class BatchParts(NamedTuple):
    """What asks in batches, and what ends with it."""

    membership: BulkMembership
    provider: BulkProvider
    money: BudgetTopic | None
    gate: BulkGate
    writer: ResultWriter | None = None

    async def run(self) -> None:
        """Be an owner until cancelled, once it is known how results are written."""
        if self.writer is not None:
            await self.writer.settle()
        await self.membership.run()

    def renewed(self) -> None:
        """Somebody may have mended what the provider refused us for."""
        self.gate.renewed(time.monotonic())


class BatchService(Service):
    """Asks in batches for as long as the worker lives. Nothing in it ends the worker."""

    logger = logging.getLogger("faust.services")  # as that of the worker's other services: telemetry/logs.py says why

    def __init__(self, parts: BatchParts, **kwargs: Any) -> None:  # noqa: ANN401  # for mode
        super().__init__(**kwargs)
        self._parts = parts
        self._running: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Join the group."""
        if self._parts.money is not None:
            await self._parts.money.start()
        self._running = begin(persistently(self._parts.run, "batches"), "batches")

    async def on_stop(self) -> None:
        """Leave it: another worker goes on with the batches at once."""
        if self._running is not None:
            await end([self._running])
        if self._parts.money is not None:
            await self._parts.money.close()
        await self._parts.provider.close()
