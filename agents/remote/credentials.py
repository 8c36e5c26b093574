"""The key to a remote: added to calls on their way out, and taken out of whatever comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from ...schemas.errors import RemoteFailure
from .transport import Response, Transport

log = logging.getLogger(__name__)

_REMOVED = "[key removed]"
#: statuses by which a server says that it does not take the key
_NOT_TAKEN = (401, 403)
#: a key of this many characters stands in no answer by chance
_UNMISTAKABLE = 16


class Authorized:
    """A transport with a key. Nobody else ever holds it: not the client, no log, no error, no record.

    Servers quote keys in their errors, and some proxies echo whole requests. A key that is shorter than 16
    characters, such as "test", is left in successful answers, where it may be a word of the answer.

    Keys are replaced while we run: where the server does not take ours, it is `read` again, and the call is made once
    more where it is another one by now.
    """

    def __init__(
        self,
        inner: Transport,
        key: str,
        *,
        header: str = "authorization",
        scheme: str = "Bearer",
        read: Callable[[], str | None] | None = None,
    ) -> None:
        """`read` gives the key as it is now, and raises `ValueError` where it cannot be had. It may block."""
        self._inner = inner
        self._key = key
        self._read = read
        self._header = header.lower()
        self._scheme = scheme

    def __repr__(self) -> str:
        return f"<Authorized by {self._header}: {self._inner!r}>"

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response:
        key = self._key
        response = await self._post(key, url, body, headers, timeout_s, method)
        if response.status not in _NOT_TAKEN:
            return response
        if key == self._key:
            await self.renew()
        if key == self._key:  # asked after the wait: another call may have had it read meanwhile
            return response
        return await self._post(self._key, url, body, headers, timeout_s, method)

    async def renew(self) -> bool:
        """Read the key again. True where it is another one, which is used from now on."""
        if self._read is None:
            return False
        try:
            key = await asyncio.to_thread(self._read)
        except ValueError as error:
            log.warning("the key to the remote %s: the old one stays", error, extra={"action": "remote_key_unread"})
            return False
        if not key or key == self._key:
            return False
        self._key = key
        log.info("the remote is asked with another key from now on", extra={"action": "remote_key_renewed"})
        return True

    async def _post(
        self, key: str, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, method: str
    ) -> Response:
        keyed = {**headers, self._header: f"{self._scheme} {key}".strip()}
        try:
            response = await self._inner.post(url, body, keyed, timeout_s, method=method)
        except RemoteFailure as error:
            if key not in str(error):
                raise
            failed = type(error)(str(error).replace(key, _REMOVED), retry_after_s=error.retry_after_s)
        else:
            return _cleaned(response, key)
        raise failed  # outside the handler: as a cause, the original would carry the key

    async def close(self) -> None:
        await self._inner.close()


def _cleaned(response: Response, key: str) -> Response:
    if response.succeeded and len(key) < _UNMISTAKABLE:
        return response
    headers = {name: value.replace(key, _REMOVED) for name, value in response.headers.items()}
    body = response.body
    for written in (key, key.replace("/", r"\/")):
        body = body.replace(written.encode(), _REMOVED.encode())
    return Response(response.status, headers, body)
