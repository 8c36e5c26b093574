"""What the parent asks of one process: it has a small web server of its own, on loopback, for the parent alone."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout

from ...agents.tasks import begin, end, persistently

#: seconds that a process may take to answer; the page waits three
PATIENCE_S = 2.0
#: seconds between two looks at how a process is
LOOK_S = 1.0


class SilentError(Exception):
    """A process does not answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process has answered."""

    status: int
    body: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Health:
    """How a process was when it was last looked at."""

    answers: bool = False
    live: bool = False
    reasons: tuple[str, ...] = ("does not answer yet",)  #: why it is not ready; empty where it is

    @property
    def state(self) -> str:
        """In a word, for the page."""
        if not self.answers:
            return "silent"
        return "unready" if self.reasons else "ready"


class Door:
    """One process's own page."""

    def __init__(self, number: int, secret: str) -> None:
        self.number = number
        self.health = Health()
        # bound here, so that its port is known before the process listens; what comes until then waits
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._secret = secret
        self._session: ClientSession | None = None
        self._looking: asyncio.Task[None] | None = None

    def open(self) -> None:
        """From now on the process listens, and is looked at. Where it ends, nobody listens."""
        self.listener.close()
        headers = {"Authorization": f"Bearer {self._secret}"}
        self._session = ClientSession(self._address, headers=headers, timeout=ClientTimeout(PATIENCE_S))
        self._looking = begin(persistently(self._look_on, "door"), "door")

    async def close(self) -> None:
        """Ask no more."""
        if self._looking is not None:
            await end([self._looking])
        if self._session is not None:
            await self._session.close()

    async def ask(self, path: str) -> Answer:
        """Raises `SilentError`."""
        if self._session is None:
            raise SilentError
        try:
            async with self._session.get(path, allow_redirects=False) as answer:
                return Answer(answer.status, await answer.read(), answer.content_type)
        except (ClientError, TimeoutError, OSError) as error:
            raise SilentError from error

    async def _look_on(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """See how it is."""
        try:
            live, ready = await self.ask("/live"), await self.ask("/ready")
            reasons = tuple(orjson.loads(ready.body)["reasons"])
        except SilentError:
            if self.health.answers:
                self.health = Health(reasons=("does not answer any more",))
        else:
            self.health = Health(True, live.status == 200, reasons)
