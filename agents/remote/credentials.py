"""The key to a remote: added to calls on their way out, and taken out of whatever comes back."""

from __future__ import annotations

from collections.abc import Mapping

from ...schemas.errors import RemoteFailure
from .transport import Response, Transport

_REMOVED = "[key removed]"
#: a key of this many characters stands in no answer by chance
_UNMISTAKABLE = 16


class Authorized:
    """A transport with a key. Nobody else ever holds it: not the client, no log, no error, no record.

    Servers quote keys in their errors, and some proxies echo whole requests. A key that is shorter than 16
    characters, such as "test", is left in successful answers, where it may be a word of the answer.
    """

    def __init__(self, inner: Transport, key: str, *, header: str = "authorization", scheme: str = "Bearer") -> None:
        self._inner = inner
        self._key = key
        self._header = header.lower()
        self._scheme = scheme

    def __repr__(self) -> str:
        return f"<Authorized by {self._header}: {self._inner!r}>"

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response:
        keyed = {**headers, self._header: f"{self._scheme} {self._key}".strip()}
        try:
            response = await self._inner.post(url, body, keyed, timeout_s, method=method)
        except RemoteFailure as error:
            if self._key not in str(error):
                raise
            failed = type(error)(str(error).replace(self._key, _REMOVED), retry_after_s=error.retry_after_s)
        else:
            return self._cleaned(response)
        raise failed  # outside the handler: as a cause, the original would carry the key

    async def close(self) -> None:
        await self._inner.close()

    def _cleaned(self, response: Response) -> Response:
        if response.succeeded and len(self._key) < _UNMISTAKABLE:
            return response
        headers = {name: value.replace(self._key, _REMOVED) for name, value in response.headers.items()}
        body = response.body
        for written in (self._key, self._key.replace("/", r"\/")):
            body = body.replace(written.encode(), _REMOVED.encode())
        return Response(response.status, headers, body)
