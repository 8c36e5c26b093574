"""The key to a remote: added to calls on their way out, and taken out of whatever comes back. Or a signature of each
call, made by a function of the user's own.
"""

from __future__ import annotations

import asyncio
import logging
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from ...schemas.errors import RemoteError, RemoteFailure
from .transport import Download, Response, StreamingTransport, Transport, Upload

log = logging.getLogger(__name__)

_REMOVED = "[key removed]"
#: statuses by which a server says that it does not take the key
_NOT_TAKEN = (401, 403)
#: a key of this many characters stands in no answer by chance
_UNMISTAKABLE = 16
#: characters of Base64 that are looked for; fewer say nothing of the key
_LEAST = 4
#: of a longer line, its parts are looked through one by one
_LINE_BYTES = 1024 * 1024
_URL_SAFE = str.maketrans("+/", "-_")


class _Key:
    """A key, and all the ways in which servers write it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._forms = [
            re.compile(form)
            for form in (_escaped(text), *map(_base64_escaped, _base64(text.encode(errors="surrogatepass"))))
        ]

    def taken_out(self, of: bytes) -> bytes:
        for form in self._forms:
            of = form.sub(_REMOVED.encode(), of)
        return of

    def taken_out_of_text(self, of: str) -> str:
        return self.taken_out(of.encode(errors="surrogatepass")).decode(errors="surrogatepass")


def _escaped(text: str) -> bytes:
    """A pattern of the text in which each character may be escaped as in JSON, a URL or HTML, once or within another
    text that is.
    """
    return b"".join(map(_character, text))


def _base64_escaped(text: str) -> bytes:
    """The same, but that nobody escapes a letter of Base64: a pattern that begins with plain letters is found fast."""
    return b"".join(char.encode() if char.isalnum() else _character(char) for char in text)


def _character(character: str) -> bytes:
    code, plain = ord(character), character.encode(errors="surrogatepass")
    ways = [
        re.escape(plain),
        rb"\\{1,4}" + re.escape(plain),  # bounded: what has no bound makes the search of a hostile body slow
        rb"\\{1,4}u(?i:%04x)" % code,
        b"".join(rb"%%(?:25){0,2}(?i:%02x)" % byte for byte in plain),
        rb"&#(?:0{0,4}%d|[xX]0{0,4}(?i:%x));" % (code, code),
    ]
    return b"(?:" + b"|".join(ways) + b")"


def _base64(key: bytes) -> set[str]:
    """The characters of Base64 that stand for the key alone, wherever in a text it begins, in both alphabets."""
    found = set()
    for before in range(3):
        first, end = -(-before * 8 // 6), (before + len(key)) * 8 // 6
        found.add(b64encode(bytes(before) + key)[first:end].decode())
    return {form for each in found if len(each) >= _LEAST for form in (each, each.translate(_URL_SAFE))}


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
        self._key = _Key(key)
        self._read = read
        self._header = header.lower()
        self._scheme = scheme

    def __repr__(self) -> str:
        return f"<Authorized by {self._header}: {self._inner!r}>"

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response:
        async def send(keyed: Mapping[str, str]) -> Response:
            return await self._inner.post(url, body, keyed, timeout_s, method=method)

        return await self._sent(send, headers)

    async def upload(
        self, url: str, body: Upload, headers: Mapping[str, str], silence_s: float, within_s: float
    ) -> Response:
        async def send(keyed: Mapping[str, str]) -> Response:
            return await _streaming(self._inner).upload(url, body, keyed, silence_s, within_s)

        return await self._sent(send, headers)

    @asynccontextmanager
    async def download(
        self, url: str, headers: Mapping[str, str], silence_s: float, within_s: float
    ) -> AsyncIterator[Download]:
        key = self._key
        for last in (False, True):
            inner = _streaming(self._inner)
            async with inner.download(url, self._keyed(headers, key), silence_s, within_s) as download:
                if last or download.status not in _NOT_TAKEN or not await self._is_another(key):
                    yield _cleaned_download(download, key)
                    return
            key = self._key

    async def _sent(
        self, send: Callable[[Mapping[str, str]], Awaitable[Response]], headers: Mapping[str, str]
    ) -> Response:
        key = self._key
        response = await self._guarded(key, send(self._keyed(headers, key)))
        if response.status not in _NOT_TAKEN or not await self._is_another(key):
            return response
        key = self._key
        return await self._guarded(key, send(self._keyed(headers, key)))

    async def _is_another(self, key: _Key) -> bool:
        """Whether there is another key by now than this one, which was not taken."""
        if key == self._key:
            await self.renew()
        return key != self._key  # compared after the wait: another call may have had it read meanwhile

    def _keyed(self, headers: Mapping[str, str], key: _Key) -> dict[str, str]:
        return {**headers, self._header: f"{self._scheme} {key.text}".strip()}

    async def renew(self) -> bool:
        """Read the key again. True where it is another one, which is used from now on."""
        if self._read is None:
            return False
        try:
            key = await asyncio.to_thread(self._read)
        except ValueError as error:
            log.warning("the key to the remote %s: the old one stays", error, extra={"action": "remote_key_unread"})
            return False
        if not key or key == self._key.text:
            return False
        self._key = _Key(key)
        log.info("the remote is asked with another key from now on", extra={"action": "remote_key_renewed"})
        return True

    async def _guarded(self, key: _Key, sending: Awaitable[Response]) -> Response:
        try:
            response = await sending
        except RemoteFailure as error:
            cleaned = key.taken_out_of_text(str(error))
            if cleaned == str(error):
                raise
            failed = type(error)(cleaned, retry_after_s=error.retry_after_s)
        else:
            return _cleaned(response, key)
        raise failed  # outside the handler: as a cause, the original would carry the key

    async def close(self) -> None:
        await self._inner.close()


#: gives the headers that a call needs, of its method, address, headers and body
Sign = Callable[[str, str, Mapping[str, str], bytes], Mapping[str, str]]


class Signed:
    """A transport whose every call is signed by a function of the user's own. It may block: it runs in a thread.

    What it adds is taken out of errors: servers quote what they do not take.
    """

    def __init__(self, inner: Transport, sign: Sign, name: str) -> None:
        self._inner = inner
        self._sign = sign
        self._name = name

    def __repr__(self) -> str:
        return f"<Signed by {self._name}: {self._inner!r}>"

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response:
        try:
            added = dict(await asyncio.to_thread(self._sign, method, url, dict(headers), body))
        except Exception as error:  # it is the user's own code
            raise RemoteError(f"{self._name} cannot sign the call: {type(error).__name__}: {error}") from error
        response = await self._inner.post(url, body, {**headers, **added}, timeout_s, method=method)
        if response.succeeded:
            return response
        for value in added.values():
            if len(value) >= _UNMISTAKABLE:
                response = _cleaned(response, _Key(value))
        return response

    async def close(self) -> None:
        await self._inner.close()


def _streaming(inner: Transport) -> StreamingTransport:
    if not isinstance(inner, StreamingTransport):
        raise TypeError(f"{inner!r} streams no bodies")
    return inner


def _cleaned(response: Response, key: _Key) -> Response:
    if not _is_cleaned(response, key):
        return response
    return Response(response.status, _cleaned_headers(response, key), key.taken_out(response.body))


def _cleaned_download(download: Download, key: _Key) -> Download:
    if not _is_cleaned(download, key):
        return download
    return Download(download.status, _cleaned_headers(download, key), _cleaned_lines(download.chunks, key))


def _is_cleaned(response: Response | Download, key: _Key) -> bool:
    return not response.succeeded or len(key.text) >= _UNMISTAKABLE


def _cleaned_headers(response: Response | Download, key: _Key) -> Mapping[str, str]:
    return {name: key.taken_out_of_text(value) for name, value in response.headers.items()}


async def _cleaned_lines(chunks: AsyncIterator[bytes], key: _Key) -> AsyncIterator[bytes]:
    """The chunks without the key, whole lines at a time as far as they are of a bearable length."""
    begun = b""
    async for chunk in chunks:
        whole, end, begun = (begun + chunk).rpartition(b"\n")
        if len(begun) > _LINE_BYTES:
            whole, end, begun = whole + end + begun, b"", b""
        if whole or end:
            yield key.taken_out(whole) + end
    if begun:
        yield key.taken_out(begun)
