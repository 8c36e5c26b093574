"""A question that any broker can answer is put to the next one where one is not there.

The client chooses one at random and asks no other. While one of three brokers was down, most commands and most starts
of a worker failed, though two answered.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    NoError,
    NotControllerError,
    RequestTimedOutError,
    for_code,
)
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.api import Request
from aiokafka.protocol.coordination import FindCoordinatorRequest

#: how a broker is not there
_AWAY = (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError)
#: seconds before the controller is asked for again: a cluster that has lost one chooses another
_AGAIN_S = 0.2
#: seconds in which a broker that is there says so
_HEARD_S = 5.0

#: in this version TxnOffsetCommit came with Kafka 2.5, and with it what exactly once relies on
_TXN_OFFSET_COMMIT, _SINCE_2_5 = 28, 3
#: came with Kafka 3.0
_DESCRIBE_TRANSACTIONS = 65
#: what to do about a broker that is too old for exactly once
TOO_OLD = (
    'the broker is older than Kafka 2.5, which exactly once needs: set [stream] delivery = "at_least_once", or take a '
    "newer broker"
)


class Asked(NamedTuple):
    """What was answered, and by whom."""

    answer: Any
    node: int


async def ask_any(client: AIOKafkaClient, request: Request) -> Asked:
    """Ask one broker after another, those with a connection first. Raises `KafkaError` where none answers."""
    nodes = [broker.nodeId for broker in client.cluster.brokers()]
    random.shuffle(nodes)
    nodes.sort(key=lambda node: not connected(client, node))
    away: KafkaError = KafkaConnectionError("no broker is known")
    for node in nodes:
        try:
            return Asked(await client.send(node, request), node)
        except _AWAY as error:
            away = error
    raise away


def connected(client: AIOKafkaClient, node: int) -> bool:
    """A connection to this broker stands."""
    lines = client._conns  # noqa: SLF001  # nothing public tells
    return any(number == node and line.connected() for (number, _), line in lines.items())


async def _coordinator_lookup(client: AIOKafkaClient, coordinator_type: CoordinationType, coordinator_key: str) -> int:
    """The node of the coordinator. Raises `KafkaError`.

    That no broker is there is told in the way that makes producers and consumers of the client ask again.
    """
    try:
        answer = (await ask_any(client, FindCoordinatorRequest(coordinator_key, coordinator_type))).answer
    except KafkaConnectionError as error:
        raise NodeNotReadyError(*error.args) from error
    error_type = for_code(answer.error_code)
    if error_type is not NoError:
        raise error_type
    return int(answer.coordinator_id)


class AskingClient(AIOKafkaClient):  # type: ignore[misc]  # aiokafka has no types
    """A client that is told by any broker who a coordinator is."""

    coordinator_lookup = _coordinator_lookup


def look_up_coordinators_anywhere() -> None:
    """From now on, the clients of all producers and consumers of this process are told by any broker, too.

    A producer of the client's own that asks a broker which has just gone is lost, and its transaction with it.
    """
    AIOKafkaClient.coordinator_lookup = _coordinator_lookup


class AskingAdmin(AIOKafkaAdminClient):  # type: ignore[misc]  # aiokafka has no types
    """An admin client whose questions any broker may answer."""

    async def _send_request(self, request: Request, node_id: int | None = None) -> Any:  # noqa: ANN401  # as above
        if node_id is not None:
            return await super()._send_request(request, node_id)
        return (await ask_any(self._client, request)).answer

    async def _send_to_controller(self, request: Request) -> Any:  # noqa: ANN401  # as above
        """The controller of now: the one that is known may be the one that is gone."""
        async with asyncio.timeout(self._request_timeout_ms / 1000):
            while True:
                controller = self._client.cluster.controller
                try:
                    if controller is not None:
                        return await self._client.send(controller.nodeId, request)
                except (*_AWAY, NotControllerError):
                    await asyncio.sleep(_AGAIN_S)
                await self._client.force_metadata_update()


class Present(NamedTuple):
    """Which brokers of a cluster answer."""

    there: list[str]  #: host:port
    away: list[str]


async def who_answers(client: AIOKafkaClient) -> Present:
    """Ask each broker that the cluster names, all at once."""
    brokers = sorted(client.cluster.brokers(), key=lambda broker: broker.nodeId)
    heard = await asyncio.gather(*(_answers(client, broker.nodeId) for broker in brokers))
    places = [(f"{broker.host}:{broker.port}", is_heard) for broker, is_heard in zip(brokers, heard, strict=True)]
    return Present([place for place, there in places if there], [place for place, there in places if not there])


async def _answers(client: AIOKafkaClient, node: int) -> bool:
    try:
        async with asyncio.timeout(_HEARD_S):
            await client.send(node, ApiVersionRequest())
    except (KafkaError, OSError, TimeoutError):
        return False
    return True


# how old a broker is


class Capabilities(NamedTuple):
    """What of a broker the worker depends on."""

    exactly_once: bool  #: it says whether a transaction may still change a committed offset
    tells_endings: bool  #: it says how the last transaction of a producer ended


async def capabilities(client: AIOKafkaClient) -> Capabilities:
    """Ask a broker that answers. Raises `KafkaError` where none does."""
    told: Any = (await ask_any(client, ApiVersionRequest())).answer
    highest = {key: most for key, _, most in told.api_versions}
    return Capabilities(highest.get(_TXN_OFFSET_COMMIT, -1) >= _SINCE_2_5, _DESCRIBE_TRANSACTIONS in highest)
