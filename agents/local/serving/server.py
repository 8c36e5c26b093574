"""The server that is the local model: how it is asked, and what is done while it does not answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import random as uniform
from typing import Any

from ....schemas.errors import InvalidAnswer, InvalidRequest, ModelError, RecordError
from ...answers import Answer, Output, unreadable
from ...remote.batching import BatchPolicy, Shaped, cut
from ...remote.endpoint import shown_address
from ...remote.protocol import Negotiation, OptionRefused, RemoteProtocol, Reply, failure_in
from ...remote.retry import RetryPolicy
from ...remote.samples import agreed
from ...remote.transport import Response, Transport
from ...supervision.learned.deferral import DeferralModel
from ...tasks import begin
from .blame import is_useless, may_be_input, wait_s
from .rescoring import rescored

log = logging.getLogger(__name__)

Said = Answer | Exception


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """Where and how the server is asked."""

    url: str  #: of the server, without the protocol's path
    name: str  #: name and version of its model, for the records
    inputs: int = 32  #: in one call, at most
    in_flight: int = 8  #: calls under way at once
    timeout_s: float = 30.0  #: seconds for one try
    retry: RetryPolicy = field(default_factory=RetryPolicy)  #: how long between tries; they end with an answer only
    output: Output = "probabilities"  #: what its answers are read of
    labels: tuple[Any, ...] = ()  #: what its classes are called; empty where that is not known
    detailed: bool = False  #: answers come with their `Details`
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  #: sent along; may hold a secret


class ServerAway(Exception):
    """The server does not answer, and the partitions go: their records are given back, and nobody is to blame."""


class Server:
    """Asks until there is an answer. An input alone is given up only while another one is answered.

    That other one is the last that was answered, or the first of those to warm up with. Where there is none, and the
    server refuses every input, it waits: nobody can say who is to blame.
    """

    def __init__(
        self,
        transport: Transport,
        protocol: RemoteProtocol,
        policy: ServerPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = uniform,
    ) -> None:
        self._transport = transport
        self._negotiation = Negotiation(protocol)
        self._shaped = protocol if isinstance(protocol, Shaped) else None  # asked once: it is slow
        self.policy = policy
        self._clock = clock
        self._random = random
        self._room = asyncio.Semaphore(policy.in_flight)
        self._leaving = asyncio.Event()
        self._known: list[Any] = []
        self._watching: asyncio.Task[None] | None = None
        self._down_since = 0.0
        self.trouble = ""  #: why it does not answer; '' where it does
        self.waited_s = 0.0  #: seconds in which it did not
        self.no_use = ""  #: why an answer to those to warm up with is of no use; '' where none is

    def __repr__(self) -> str:
        return f"<Server {shown_address(self.policy.url)} {self.trouble or 'well'}>"

    @property
    def name(self) -> str:
        """Name and version of its model, as records have it."""
        return self.policy.name

    @property
    def labels(self) -> tuple[Any, ...]:
        """What its classes are called; empty where that is not known."""
        return self.policy.labels

    def unreadable(self, learned: DeferralModel) -> list[tuple[str, str]]:
        """Why that learned score cannot be made of its answers; see `answers.unreadable`."""
        if not self.policy.detailed:
            return [("protocol", "needs a restart of the worker before it can tell what a learned score reads")]
        return unreadable(learned, self.policy.output, 1, self.policy.labels or None)

    async def answers(self, inputs: Sequence[Any], learned: DeferralModel | None = None) -> list[Said]:
        """For each input its answer, or why it has none of its own. Raises `ServerAway`."""
        items = [(at, _sendable(given)) for at, given in enumerate(inputs)]
        groups = cut(items, lambda _: 1, self._shape_of, BatchPolicy(self.policy.inputs))
        async with asyncio.TaskGroup() as calls:
            tasks = [calls.create_task(self._ask_in_turn([given for _, given in group])) for group in groups]
        found: dict[int, Said] = {}
        for group, task in zip(groups, tasks, strict=True):
            found |= zip((at for at, _ in group), task.result(), strict=True)
        said = [found[at] for at in range(len(inputs))]
        if any(isinstance(each, ServerAway) for each in said):
            self._watch()  # nobody else would notice that it is back
            raise ServerAway
        return said if learned is None else _rescored(said, inputs, learned)

    async def warm_up(self, inputs: Sequence[Any]) -> None:
        """Ask these once. Where that fails, `trouble` says why, and the first is asked until it is answered."""
        asked = [_sendable(given) for given in inputs]
        self._known = asked[:1]
        try:
            heard = [await self._heard([given]) for given in asked]
            self.no_use = next(filter(None, heard), "")
        except RecordError as error:
            self._is_down(error)
            self._watch()

    def leave(self) -> None:
        """Partitions go: until `stay`, who would wait for the server gives up."""
        self._leaving.set()

    def stay(self) -> None:
        """The partitions are settled."""
        self._leaving.clear()

    async def close(self) -> None:
        """Ask no more."""
        self._leaving.set()
        if self._watching is not None:
            self._watching.cancel()
        await self._transport.close()

    # asking

    def _shape_of(self, item: tuple[int, Any]) -> Any:  # noqa: ANN401  # whatever must be equal
        return None if self._shaped is None else self._shaped.shape_of(item[1])

    async def _ask_in_turn(self, inputs: list[Any]) -> list[Said]:
        async with self._room:
            return await self._ask(inputs)

    async def _ask(self, inputs: list[Any]) -> list[Said]:
        tried = 0
        while True:
            try:
                return list(await self._call(inputs))
            except RecordError as error:
                tried += 1
                settled = await self._settled(inputs, error, tried)
                if settled is not None:
                    return settled
                if not await self._wait(error, tried):
                    return [ServerAway() for _ in inputs]

    async def _settled(self, inputs: list[Any], error: RecordError, tried: int) -> list[Said] | None:
        """What this failure comes to; None where they are to be asked again."""
        doubted = may_be_input(error, tried, self.policy.retry.tries)
        if doubted and len(inputs) > 1:  # one may have spoilt it for the others
            middle = len(inputs) // 2
            return await self._ask(inputs[:middle]) + await self._ask(inputs[middle:])
        if isinstance(error, InvalidRequest):
            return [error]
        if is_useless(error):  # it is doubtful, and others may know better
            self._is_well()
            return [Answer(None, None, str(error))]
        if doubted and await self._answers_another(inputs[0]):
            return [ModelError(f"the local server fails on this input, and answers another: {error}")]
        return None

    async def _answers_another(self, given: Any) -> bool:  # noqa: ANN401  # any JSON value
        """Whether the server is well, by an input that it answers when it is."""
        if not self._known or self._known[0] == given:
            return False
        try:
            await self._heard(self._known)
        except RecordError:
            return False
        return True

    async def _heard(self, inputs: list[Any]) -> str:
        """Ask for any answer. Returns why it is of no use; '' where it is of some. Raises a `RecordError` for none."""
        try:
            await self._call(inputs)
        except RecordError as error:
            if not is_useless(error):
                raise
            self._is_well()
            return str(error)
        return ""

    async def _call(self, inputs: list[Any]) -> list[Answer]:
        """One answer per input. Raises a `RecordError`."""
        form = self._negotiation.form
        while True:
            try:
                reply = await self._replied(form, inputs)
                break
            except OptionRefused:  # raised only where there is another
                form = self._negotiation.after(form) or form
        self._known = inputs[:1]
        self._is_well()
        return reply.answers

    async def _replied(self, form: RemoteProtocol, inputs: list[Any]) -> Reply:
        call = form.build(inputs)
        url, headers = self.policy.url.rstrip("/") + call.path, {**self.policy.headers, **call.headers}
        replies = []
        for _ in range(call.samples):
            response = await self._transport.post(url, call.body, headers, self.policy.timeout_s, method=call.method)
            replies.append(self._read(response, form, len(inputs)))
        return replies[0] if len(replies) == 1 else agreed(replies)

    def _read(self, response: Response, form: RemoteProtocol, asked: int) -> Reply:
        self._negotiation.hear(response, form)
        try:
            return form.read(response, asked)
        except InvalidAnswer as error:
            raise failure_in(response, error) from error

    # waiting

    def _watch(self) -> None:
        if self._known and (self._watching is None or self._watching.done()):
            self._watching = begin(self._until_well(), "local server")

    async def _until_well(self) -> None:
        for tried in range(1, 1 << 62):
            try:
                await self._heard(self._known)
            except RecordError as error:
                await asyncio.sleep(wait_s(self.policy.retry, tried, self._random(), error))
            else:
                return

    async def _wait(self, error: RecordError, tried: int) -> bool:
        """Wait until the next try. False where the partitions go."""
        self._is_down(error)
        try:
            async with asyncio.timeout(wait_s(self.policy.retry, tried, self._random(), error)):
                await self._leaving.wait()
        except TimeoutError:
            return True
        return False

    def _is_down(self, error: RecordError) -> None:
        if not self.trouble:
            self._down_since = self._clock()
            facts = {"action": "local_server_down", "error": str(error)}
            log.warning("the local model's server does not answer; inputs wait for it: %s", error, extra=facts)
        self.trouble = f"the local model's server at {shown_address(self.policy.url)} does not answer: {error}"

    def _is_well(self) -> None:
        if self.trouble:
            took_s = self._clock() - self._down_since
            self.waited_s += took_s
            self.trouble = ""
            facts = {"action": "local_server_up", "seconds": math.ceil(took_s)}
            log.info("the local model's server answers again", extra=facts)


def _sendable(given: Any) -> Any:  # noqa: ANN401  # any JSON value, or bytes
    return b64encode(given).decode() if isinstance(given, bytes) else given


def _rescored(said: Sequence[Said], inputs: Sequence[Any], learned: DeferralModel) -> list[Said]:
    answered = [at for at, each in enumerate(said) if isinstance(each, Answer)]
    answers = [each for each in said if isinstance(each, Answer)]
    scored = dict(zip(answered, rescored(answers, [inputs[at] for at in answered], learned), strict=True))
    return [scored.get(at, each) for at, each in enumerate(said)]
