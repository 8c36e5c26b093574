"""Where tokens come from: a token endpoint, a file that others keep fresh, a function of the user's own."""

from __future__ import annotations

import asyncio
import inspect
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

import msgspec

from ...agents.remote.credentials import Authorized
from ...agents.remote.transport import Response, Transport
from ...schemas.encodings import NotText, text_of
from ...schemas.errors import RemoteFailure
from .tokens import NoToken, Token

Fetch = Callable[[], Awaitable[Token]]
#: from here on a time is of milliseconds: as seconds it would be in the year 5138
_MILLISECONDS = 1e11


class _Granted(msgspec.Struct):
    """https://www.rfc-editor.org/rfc/rfc6749#section-5.1."""

    access_token: str
    expires_in: float | str | None = None  #: seconds; some write a text


class _Refused(msgspec.Struct):
    error: str = ""


def client_credentials(
    url: str,
    client: str,
    secret: Callable[[], str],
    scope: str,
    connect: Callable[[], AbstractAsyncContextManager[Transport]],
    *,
    timeout_s: float,
    clock: Callable[[], float] = time.time,
) -> Fetch:
    """OAuth 2.0's grant for programs, the client shown as HTTP Basic.

    `secret` is read for each token, and raises `ValueError` where it cannot be had.
    https://www.rfc-editor.org/rfc/rfc6749#section-4.4
    """
    form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}

    async def fetch() -> Token:
        try:
            shown = await asyncio.to_thread(secret)
            basic = b64encode(f"{quote_plus(client)}:{quote_plus(shown)}".encode()).decode()
            async with connect() as transport:
                asking = Authorized(transport, basic, scheme="Basic")
                began = clock()
                response = await asking.post(url, urlencode(form).encode(), headers, timeout_s)
        except (ValueError, RemoteFailure) as error:
            raise NoToken(f"the token endpoint cannot be asked: {error}") from error
        return _granted(response, began)

    return fetch


def _granted(response: Response, began: float) -> Token:
    if not response.succeeded:
        try:
            said = msgspec.json.decode(response.body, type=_Refused).error
        except ValueError:
            said = ""
        raise NoToken(f"the token endpoint answers {response.status}{f' ({said[:100]})' if said else ''}")
    try:
        granted = msgspec.json.decode(response.body, type=_Granted)
        life_s = None if granted.expires_in is None else float(granted.expires_in)
    except ValueError as error:
        raise NoToken(f"the token endpoint answers something else than a token: {error}") from error
    return Token(granted.access_token, None if life_s is None else began + life_s)


def token_file(path: Path) -> Fetch:
    """A file that somebody keeps fresh, such as a projected token of Kubernetes. Ask `Tokens` not to keep it."""

    def read() -> str:
        try:
            return text_of(path.read_bytes()).strip()
        except (OSError, NotText) as error:
            raise NoToken(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error

    async def fetch() -> Token:
        return Token(await asyncio.to_thread(read))

    return fetch


def own_provider(call: Callable[[], Any], name: str) -> Fetch:
    """A function of the user's own, asynchronous or not. It gives a token, or a pair of it and when it ends, seconds or
    milliseconds since epoch.
    """

    async def fetch() -> Token:
        try:
            given = await asyncio.to_thread(call)
            if inspect.isawaitable(given):
                given = await given
            text, ends = given if isinstance(given, tuple | list) else (given, None)
            if not isinstance(text, str):
                raise TypeError(f"gave {type(text).__name__}, not a text")  # told as what it raises is
            return Token(text, None if ends is None else _seconds(float(ends)))
        except Exception as error:  # it is the user's own code
            raise NoToken(f"{name} gives no token: {type(error).__name__}: {error}") from error

    return fetch


def _seconds(when: float) -> float:
    return when / 1000 if when > _MILLISECONDS else when
