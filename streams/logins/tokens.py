"""A token that is there when a connection asks for it, and the next one before it ends.

A broker asks for a token when a connection begins, and may end the connection when the token does: the client then
makes another one, with the token of then. So a token is fetched again once four fifths of its life are over, as Kafka's
own client does. Where that fails, the last one serves for as long as it lives.
"""

from __future__ import annotations

import asyncio
import binascii
import logging
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

log = logging.getLogger(__name__)

#: how much of its life may be over when a token is shown
_WINDOW = 0.8
#: seconds for which a token is kept that does not say how long it lives
_UNKNOWN_LIFE_S = 300.0
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # https://www.rfc-editor.org/rfc/rfc6750#section-2.1


class NoToken(KafkaConnectionError):  # type: ignore[misc]  # aiokafka has no types
    """There is no token now. To the client it is a connection that did not come about, and it tries again."""


class Token(NamedTuple):
    """A token and how long it lives."""

    text: str
    ends: float | None = None  #: seconds since epoch; None where nobody says


class _Claims(msgspec.Struct):
    exp: float | None = None


class Tokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """What connections ask for a token. One is kept for all of them."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Token]],
        extensions: Mapping[str, str] | None = None,
        *,
        keep: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`fetch` raises `NoToken`. `extensions` are shown with each token. Without `keep`, each connection fetches."""
        self._fetch = fetch
        self._extensions = dict(extensions or {})
        self._window = _WINDOW if keep else 0.0
        self._clock = clock
        self._token: Token | None = None
        self._due = 0.0  #: seconds since epoch
        self._ends = 0.0  #: likewise
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<Tokens due in {self._due - self._clock():.0f} s>"

    def extensions(self) -> dict[str, str]:
        """What is shown with the token."""
        return self._extensions

    async def token(self) -> str:
        """A token that lives. Raises `NoToken`."""
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self._token is None or self._clock() >= self._due:
                await self._renew()
            assert self._token is not None  # noqa: S101  # `_renew` raises otherwise
            return self._token.text

    async def _renew(self) -> None:
        began = self._clock()
        try:
            token = await self._fetch()
            if not _TOKEN.fullmatch(token.text):
                raise NoToken("what came is no token: it must be one word of letters, digits and -._~+/=")
        except NoToken as error:
            if self._token is None or began >= self._ends:
                raise
            text = "no new token for the broker, the last one stays for %.0f s: %s"
            log.warning(text, self._ends - began, error, extra={"action": "broker_token_unread"})
            return
        ends = token.ends if token.ends is not None else end_of(token.text)
        life_s = _UNKNOWN_LIFE_S if ends is None else ends - began
        if life_s <= 0:
            raise NoToken("the token that came has ended already: does this machine's clock go right?")
        self._token, self._due, self._ends = token, began + self._window * life_s, began + life_s


def end_of(token: str) -> float | None:
    """When a JSON Web Token ends, seconds since epoch; None where it does not say, or is none. It is not verified."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(claims, type=_Claims).exp
    except (ValueError, binascii.Error):  # msgspec's errors are of the former
        return None
