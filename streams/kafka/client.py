"""What every client of aiokafka has: a version, connections that break, what is known of topics.

A write to a connection that the broker has just cut is swallowed by asyncio's own transport; the read beside it says
what happened. uvloop's raises `RuntimeError`, which the client takes for a fault of its own (aiokafka issue 1038): the
task that wrote ends for good, the one that fetches or, without a word, the one that looks up who leads a partition.

A broker that starts answers, and knows no broker yet, not even itself. The client takes that for a start, and whatever
then needs a broker ends with an `AssertionError`.

The client gives up joining a group after the time of any request, though the broker answers only when all have joined.

It leaves errors in futures and tasks that nobody waits for any more, and asyncio tells of each with a traceback.

While a broker is away, the client says so hundreds of times, and never that it is back. Our connections say both, once.
Each client of a process, and each of its tasks, tries to connect to it for itself, dozens of times a second. Our
connections try four times a second, all together; whoever comes in between is told what the last try was told.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aiokafka import conn
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.group import JoinGroupRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiokafka import AIOKafkaConsumer
    from aiokafka.admin import AIOKafkaAdminClient

#: the version of aiokafka whose private parts are known; `tests/contract/test_client.py` looks at each of them
KNOWN_VERSION = "0.14.0"
_CLIENTS_FOLDER = Path(conn.__file__).parent
#: seconds beyond the rebalance timeout in which a broker tells that a group has formed; as Kafka's own client has it
_JOIN_LAPSE_S = 5.0
#: seconds after a try to connect to a broker in which there is no other
_TRY_AGAIN_S = 0.25


log = logging.getLogger(__name__)


class Reach:
    """Which brokers took no connection of ours the last time, since when, and how often."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._away: dict[str, tuple[float, int]] = {}  # by host:port: since when, and tries that failed
        self._refusals: dict[str, tuple[float, Exception]] = {}  # by host:port: the last try, and what it was told

    def __repr__(self) -> str:
        return f"<Reach away={sorted(self._away)}>"

    def failed(self, broker: str, error: Exception) -> None:
        """A connection did not come about. Whoever is refused for what it comes with has reached the broker."""
        if not isinstance(error, (KafkaConnectionError, OSError)) or isinstance(error, ssl.SSLError):
            return
        since, tries = self._away.get(broker, (self._clock(), 0))
        self._away[broker] = since, tries + 1
        tried, _ = self._refusals.get(broker, (self._clock(), error))
        self._refusals[broker] = tried, error
        facts = {"action": "broker_away", "broker": broker}
        log.warning("no connection to the broker %s: %s", broker, error, extra=facts)

    def spare(self, broker: str) -> None:
        """Raise what another connection was told, where one has tried a moment ago, or is trying."""
        if broker not in self._refusals:
            return
        tried, error = self._refusals[broker]
        now = self._clock()
        if now - tried < _TRY_AGAIN_S:
            raise type(error)(*error.args)
        self._refusals[broker] = now, error

    def connected(self, broker: str) -> None:
        """A connection came about."""
        self._refusals.pop(broker, None)
        if broker not in self._away:
            return
        since, tries = self._away.pop(broker)
        away_s = self._clock() - since
        facts = {"action": "broker_back", "broker": broker, "away_s": round(away_s, 1), "tries": tries}
        log.info("the broker %s is back after %.0f s; %d tries to connect failed", broker, away_s, tries, extra=facts)


_reach = Reach()


class Renewing(Protocol):
    """Gives a connection what to come in with, and hears whether the broker let it in."""

    async def renew(self) -> tuple[str, ssl.SSLContext | None]: ...
    def refused(self, error: BaseException, username: str) -> None: ...
    def accepted(self) -> None: ...


def _riding_on(*values: object) -> Renewing | None:
    found: Iterator[Renewing | None] = (getattr(value, "renewal", None) for value in values)
    return next((one for one in found if one is not None), None)


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no types
    async def connect(self) -> Any:  # noqa: ANN401  # as the client's
        broker = f"{self.host}:{self.port}"
        _reach.spare(broker)
        try:
            connected = await self._connect()
        except Exception as error:
            _reach.failed(broker, error)
            raise
        _reach.connected(broker)
        return connected

    async def _connect(self) -> Any:  # noqa: ANN401  # as the client's
        renewal = _riding_on(self._sasl_plain_password, self._sasl_oauth_token_provider, self._ssl_context)  # type: ignore[has-type]  # as above
        if renewal is None:
            return await super().connect()
        self._sasl_plain_password, self._ssl_context = await renewal.renew()
        try:
            connected = await super().connect()
        except Exception as error:
            renewal.refused(error, self._sasl_plain_username)
            raise
        renewal.accepted()
        return connected

    def send(self, request: Any, expect_response: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002  # as the client's
        patience_s: float = self._request_timeout  # type: ignore[has-type]  # as above
        self._request_timeout = max(patience_s, _patience_s(request))
        try:
            return super().send(request, expect_response)
        except (KafkaError, NotImplementedError):  # RuntimeErrors, too: the broker does not know such a request
            raise
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error
        finally:
            self._request_timeout = patience_s


def _patience_s(request: Any) -> float:  # noqa: ANN401  # aiokafka has no types
    """Seconds that a request may take by its nature: a broker answers who joins a group when all others have joined."""
    if isinstance(request, JoinGroupRequest):
        return request._rebalance_timeout / 1000 + _JOIN_LAPSE_S  # type: ignore[no-any-return]  # noqa: SLF001  # as above
    return 0.0


_bootstrap = AIOKafkaClient.bootstrap


async def _bootstrapped(client: AIOKafkaClient) -> None:
    """The client's own, which has not come about while nobody knows a broker."""
    await _bootstrap(client)
    if not client.cluster.brokers():
        await client.close()
        raise KafkaConnectionError(f"the broker is starting, and knows no broker yet: {client.hosts}")


def notice_broken_connections() -> None:
    """From now on, every client of this process takes such a write for what it is: a connection that has ended.

    It also waits as long for a group to form as the group may take.
    """
    conn.AIOKafkaConnection = _Connection
    AIOKafkaClient.bootstrap = _bootstrapped


def hear_left_errors(loop: asyncio.AbstractEventLoop) -> None:
    """From now on, what the client leaves behind on this loop is a line of the level DEBUG, not a traceback.

    It leaves futures and tasks that nobody waits for any more where a producer is fenced or thrown away, or where we
    have stopped waiting for a commit. Whoever waited has been told, and tells.
    """
    loop.set_exception_handler(_left)


def _left(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error, task = context.get("exception"), context.get("task")
    if isinstance(error, KafkaError) or (error is None and isinstance(task, asyncio.Task) and _is_clients(task)):
        facts = {"action": "client_error_left"}
        log.debug("the Kafka client left to nobody: %s", error or context["message"], extra=facts)
        return
    loop.default_exception_handler(context)


def _is_clients(task: asyncio.Task[Any]) -> bool:
    """It runs code of the client."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and _CLIENTS_FOLDER in Path(code.co_filename).parents


def client_of(owner: AIOKafkaAdminClient | AIOKafkaConsumer) -> AIOKafkaClient:
    """The client that sends any request. Its owner itself has no call for some of them."""
    return owner._client  # noqa: SLF001  # no public call gives it


async def partitions_for(client: AIOKafkaClient, topic: str) -> set[int]:
    """The numbers of a topic's partitions, waited for. Raises `KafkaError`."""
    numbers: set[int] = await client._wait_on_metadata(topic)  # noqa: SLF001  # only producers have it as a public call
    return numbers


def is_gone(client: AIOKafkaClient, topic: str) -> bool:
    """The broker that was asked last does not know the topic. One that has just started may say so for a moment."""
    return client.cluster.partitions_for_topic(topic) is None
