"""A remote that misbehaves: an HTTP server on bare sockets, in a process of its own, with a seed.

    python -m support.hostile SEED

Prints `{"port": …}`. It speaks Open Inference, one input a call, whose row is `support.models`' with two more columns:
the input's number, and a trick. Trick 0 leaves it to the seed what each call of this input meets, and for a while the
server is down for these; trick `n` is `TRICKS[n - 1]`, every time. `GET /did` tells what was done to each input, call
by call, and how often a redirect was followed.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Any

MIB = 2**20
#: the bound of the worker under test, bytes
MOST_BYTES = MIB
#: seconds that a worker waits for one answer; what is slow takes longer
PATIENCE_S = 3.0
JSON = "content-type: application/json\r\n"
HTML = b"<!doctype html><html><body><h1>It works!</h1></body></html>"


@dataclass(frozen=True)
class Trick:
    """One way to misbehave, and what an input that meets it last must end with."""

    name: str
    ends: str  #: reason in fallback, or "remote"
    may_pass: bool = False  #: the worker may ask again; else it must not
    weight: float = 1.0  #: how often it is chosen by chance


def _transient(reason: str, *names: str, weight: float = 1.0) -> list[Trick]:
    return [Trick(name, reason, True, weight) for name in names]


def _final(reason: str, *names: str, weight: float = 1.0) -> list[Trick]:
    return [Trick(name, reason, False, weight) for name in names]


def _soon(seconds: float = 0.0) -> str:
    return format_datetime(datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds), usegmt=True)


def _limits(limit: str, remaining: str, reset: str, of: str = "x-ratelimit-{}-requests") -> dict[str, str]:
    values = {"limit": limit, "remaining": remaining, "reset": reset}
    return {of.format(name): value for name, value in values.items()}


_ANTHROPIC = "anthropic-ratelimit-requests-{}"


def _forms_of_429() -> dict[str, dict[str, str]]:
    """Every way to say when to come back, and every way to say it wrongly. None of them asks for a real wait."""
    now = _soon()
    long_ago = "Wed, 21 Oct 2015 07:28:00 GMT"
    return {
        "none": {},
        "seconds": {"retry-after": "0"},
        "fraction": {"retry-after": "0.05"},
        "negative": {"retry-after": "-30"},
        "garbage": {"retry-after": "soon, I hope"},
        "nan": {"retry-after": "nan"},
        "infinite": {"retry-after": "inf"},
        "beyond numbers": {"retry-after": "9" * 400},
        "date": {"retry-after": now, "date": now},
        "past date": {"retry-after": long_ago, "date": now},
        "no such date": {"retry-after": "Mon, 99 Foo 99999 99:99:99 +99999999", "date": now},
        "date without a date": {"retry-after": _soon(3600)},
        "milliseconds": {"retry-after-ms": "30"},
        "negative milliseconds": {"retry-after-ms": "-5", "retry-after": "0"},
        "garbage milliseconds": {"retry-after-ms": "x", "retry-after": "0.01"},
        "should retry": {"x-should-retry": "true", "retry-after-ms": "10"},
        "duration": _limits("600000", "600000", "12ms"),
        "long duration": _limits("600000", "599999", "6m0s"),
        "unknown": _limits("-1", "-1", "-1"),
        "zeros": _limits("0", "0", "0"),
        "spent": _limits("600000", "0", "20ms"),
        "words": _limits("many", "some", "soon"),
        "endless": _limits("600000", "599999", "9" * 400 + "s"),
        "next to nothing": _limits("1e-300", "1", "0"),
        "tokens": _limits("100000000", "99999999", "1s", "x-ratelimit-{}-tokens"),
        "anthropic": {"date": now} | _limits("600000", "599999", datetime.now(UTC).isoformat(), _ANTHROPIC),
        "anthropic garbage": _limits("600000", "7", "2026-13-45T99:99:99Z", _ANTHROPIC),
    }


GOOD = Trick("good", "remote")
TRICKS: list[Trick] = [
    GOOD,
    Trick("large answer", "remote", weight=0.05),  # odd, and an answer
    Trick("gzip", "remote"),
    Trick("lone surrogate", "remote"),  # in the name of the model, which nobody needs
    *_transient("rate_limited", *(f"429 {form}" for form in _forms_of_429()), weight=0.3),
    *_transient("remote_error", "409", "500", "502 html", "503 empty", "503 retry garbage", "504", "529", "599"),
    *_transient("remote_error", "418 should retry"),
    *_transient("timeout", "408"),
    *_transient("remote_error", "reset at once", "reset in headers", "reset in body", "closed at once"),
    *_transient("remote_error", "closed in headers", "truncated body", "length too long", "chunks cut short"),
    *_transient(
        "remote_error", "bad chunks", "no HTTP", "bad status line", "bad header", "long header", "many headers"
    ),
    *_transient("remote_error", "length is no number", "two lengths", "length too short", "500 huge", weight=0.3),
    *_transient("timeout", "hangs", "drips", "drips headers", weight=0.05),
    *_final("invalid_answer", "html", "1e999"),
    *_transient("remote_error", "error inside", "error text", "nothing", "204", "null", "no outputs", "two responses"),
    *_final("invalid_answer", "a list", "a text", "wrong name", "two answers"),
    *_final("invalid_answer", "no answers", "wrong shape", "negative shape", "huge shape", "shape of text"),
    *_final("invalid_answer", "score of text", "score of truth", "score of digits", "prediction null"),
    *_final("invalid_answer", "latin-1", "utf-16", "zero bytes"),
    *_final("invalid_answer", "deep", "deep data", "cut JSON", "claims gzip", "claims br"),
    *_final("invalid_answer", "gzip bomb", "huge", "huge chunks", weight=0.1),
    *_final(
        "invalid_answer", "large dicts", "large lists", "large floats", "large objects", "large error", weight=0.05
    ),
    *_final("no_confidence", "no score", "score null", "NaN", "Infinity", "minus Infinity"),
    *_final("remote_error", "301", "302", "303", "307", "308", "302 elsewhere", "307 elsewhere", "302 nowhere"),
    *_final("refused", "400", "404", "405", "410", "413", "418", "422", "431"),
    *_final("remote_error", "500 do not retry", "304", "101"),
]
BY_NAME: Mapping[str, Trick] = {trick.name: trick for trick in TRICKS}
#: the call with which it goes down, and for how many seconds
_DOWN_FROM, _DOWN_S = 5000, 1.5
_DOWN = "503 empty"
#: the share of calls that go well, by chance
_GOOD_SHARE = 0.8
_BAD = TRICKS[1:]
_WEIGHTS = [trick.weight * (3.0 if trick.may_pass else 1.0) for trick in _BAD]


def chosen(seed: int, number: int, call: int) -> Trick:
    """What this call about this input meets, where its trick is 0."""
    chance = random.Random(f"{seed} {number} {call}")
    return GOOD if chance.random() < _GOOD_SHARE else chance.choices(_BAD, _WEIGHTS)[0]


def _document(row: list[float], **changes: Any) -> dict[str, Any]:
    outputs = {
        "label": {"name": "label", "datatype": "INT64", "shape": [1, 1], "data": [int(row[0])]},
        "score": {"name": "score", "datatype": "FP32", "shape": [1], "data": [row[2]]},
    }
    outputs = {
        name: output | changes.get(name, {}) for name, output in outputs.items() if name not in changes or changes[name]
    }
    return {"model_name": "big", "model_version": "7", "outputs": list(outputs.values())}


def _response(body: bytes, status: str = "200 OK", headers: str = JSON) -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


def _json(document: Any, status: str = "200 OK", headers: str = JSON) -> bytes:
    return _response(json.dumps(document).encode(), status, headers)


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _with_score(row: list[float], raw: bytes) -> bytes:
    """A document whose score is this text, which need not be JSON."""
    return json.dumps(_document(row, score={"data": ["@"]})).encode().replace(b'"@"', raw)


def _filled(unit: bytes, size: int = MOST_BYTES - 300) -> bytes:
    """A document below the bound, full of one thing."""
    head, tail = b'{"outputs": [{"name": "label", "shape": [1, 1], "data": [', b"0]}]}"
    return head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail


@cache
def _bomb() -> bytes:
    """256 MiB of one digit. Made by the server alone: it takes as long as all else that the tests here import."""
    return gzip.compress(b"0" * (256 * MIB), 9)


_LARGE = {
    "large dicts": _filled(b"{},"),
    "large lists": _filled(b"[],"),
    "large floats": _filled(b"1e300,"),
    "large objects": _filled(b'{"a":[]},'),
    "large error": b'{"error": {"message": [' + b"{}," * (MOST_BYTES // 3 - 20) + b"{}]}}",
}


class Hostile:
    """The server. What it does to an input is kept, for the test to judge by."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.did: defaultdict[int, list[str]] = defaultdict(list)
        self.trapped = 0
        self.calls = 0
        self.up_again = 0.0  # on the loop's clock
        self.port = 0
        self.elsewhere = 0

    async def run(self) -> None:
        """Until killed."""
        _bomb()  # before it is asked for: to make it blocks
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        other = await asyncio.start_server(self._trap, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.elsewhere = other.sockets[0].getsockname()[1]
        print(json.dumps({"port": self.port}), flush=True)
        await asyncio.Event().wait()

    async def _trap(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.trapped += 1
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async for path, body in _requests(reader):
                if not await self._answer(path, body, writer):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass  # the worker has had enough
        finally:
            writer.close()

    async def _answer(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection lives on."""
        if path.endswith("/infer"):
            row = json.loads(body)["inputs"][0]["data"]
            return await self._play(self._next(row), row, writer)
        if path == "/did":
            writer.write(_json({"did": self.did, "trapped": self.trapped}))
        else:
            self.trapped += 1
            writer.write(_json({}))
        await writer.drain()
        return True

    def _next(self, row: list[float]) -> str:
        number, trick = int(row[4]), int(row[5])
        calls = self.did[number]
        by_chance = _DOWN if self._is_down() else chosen(self.seed, number, len(calls)).name
        calls.append(TRICKS[trick - 1].name if trick else by_chance)
        return calls[-1]

    def _is_down(self) -> bool:
        now = asyncio.get_running_loop().time()
        self.calls += 1
        if self.calls == _DOWN_FROM:
            self.up_again = now + _DOWN_S
        return now < self.up_again

    async def _play(self, name: str, row: list[float], writer: asyncio.StreamWriter) -> bool:
        slow = _SLOW.get(name)
        if slow is not None:
            async for piece in slow(row):
                writer.write(piece)
                await writer.drain()
            return False
        if "reset" in name:
            writer.write({"reset at once": b"", "reset in headers": b"HTTP/1.1 200 OK\r\ncont"}.get(name, _HALF))
            await asyncio.sleep(0)
            writer.transport.abort()
            return False
        if name in _BROKEN:
            writer.write(_BROKEN[name](row))
            await writer.drain()
            return False
        writer.write(self._whole(name, row))
        await writer.drain()
        return name not in ("101", "500 huge")

    def _whole(self, name: str, row: list[float]) -> bytes:
        """A whole HTTP response."""
        if name.startswith("429 "):
            return _json({"error": {"message": "slow down"}}, "429 Too Many", JSON + _lines(_forms_of_429()[name[4:]]))
        if name in _LARGE:
            return _response(_LARGE[name])
        if name in _ANSWERS:
            return _ANSWERS[name](row)
        return self._status(name)

    def _status(self, name: str) -> bytes:
        code, _, how = name.partition(" ")
        if how == "html":
            return _response(HTML, f"{code} Bad Gateway", "content-type: text/html\r\n")
        if how == "huge":
            return _response(b"x" * (2 * MOST_BYTES), f"{code} Sorry")
        where = {"elsewhere": f"http://localhost:{self.elsewhere}/", "nowhere": "http://[::bad"}.get(how, "/trap")
        headers = {
            "should retry": "x-should-retry: true\r\n",
            "do not retry": "x-should-retry: false\r\n",
            "retry garbage": "retry-after: Thu, 99 Nov\r\n",
        }.get(how, f"location: {where}\r\n" if code.startswith("30") else "")
        if code == "101":
            return b"HTTP/1.1 101 Switching Protocols\r\nupgrade: gopher\r\nconnection: upgrade\r\n\r\n"
        if code in ("204", "304"):
            return f"HTTP/1.1 {name} Nothing\r\n\r\n".encode()
        return _response(b"" if how == "empty" else b'{"error": "no"}', f"{code} Sorry", headers)


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[tuple[str, bytes]]:
    while not reader.at_eof():
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        yield first.split()[1], await reader.readexactly(int(headers.get("content-length", "0")))


_HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"
_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def _hangs(row: list[float]) -> AsyncIterator[bytes]:
    yield b""
    await asyncio.sleep(2 * PATIENCE_S)


async def _drips(row: list[float]) -> AsyncIterator[bytes]:
    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n":
        yield bytes([byte])
    for _ in range(int(20 * PATIENCE_S)):
        yield b" "
        await asyncio.sleep(0.1)


async def _drips_headers(row: list[float]) -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    for number in range(int(20 * PATIENCE_S)):
        yield f"x-{number}: x\r\n".encode()
        await asyncio.sleep(0.1)


async def _huge(row: list[float]) -> AsyncIterator[bytes]:
    yield f"HTTP/1.1 200 OK\r\ncontent-length: {1024 * MIB}\r\n\r\n".encode()
    for _ in range(16 * 256):  # 256 MiB, if anybody reads them
        yield b" " * 65_536


async def _huge_chunks(row: list[float]) -> AsyncIterator[bytes]:
    yield _CHUNKED
    for _ in range(16 * 256):
        yield b"10000\r\n" + b" " * 65_536 + b"\r\n"


_SLOW: dict[str, Callable[[list[float]], AsyncIterator[bytes]]] = {
    "hangs": _hangs,
    "drips": _drips,
    "drips headers": _drips_headers,
    "huge": _huge,
    "huge chunks": _huge_chunks,
}


def _answer_of(row: list[float]) -> bytes:
    return json.dumps(_document(row)).encode()


def _head(row: list[float], extra: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\n{JSON}{extra}\r\n".encode() + _answer_of(row)


#: after these the connection is closed
_BROKEN: dict[str, Callable[[list[float]], bytes]] = {
    "closed at once": lambda row: b"",
    "closed in headers": lambda row: b"HTTP/1.1 200 OK\r\ncontent-",
    "truncated body": lambda row: _response(_answer_of(row))[:-10],
    "length too long": lambda row: _head(row, "content-length: 100000\r\n"),
    "chunks cut short": lambda row: _CHUNKED + b"ff\r\n" + _answer_of(row)[:30],
    "bad chunks": lambda row: _CHUNKED + b"many\r\n" + _answer_of(row) + b"\r\n0\r\n\r\n",
    "no HTTP": lambda row: b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "bad status line": lambda row: b"HTTP/1.1 two-hundred OK\r\n\r\n",
    "bad header": lambda row: b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "long header": lambda row: b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 100_000 + b"\r\n\r\n",
    "many headers": lambda row: b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: x\r\n" % n for n in range(5000)) + b"\r\n",
    "length is no number": lambda row: _head(row, "content-length: some\r\n"),
    "two lengths": lambda row: _head(row, "content-length: 10\r\ncontent-length: 20\r\n"),
}


def _encoded(body: bytes, how: str) -> bytes:
    return _response(body, headers=f"{JSON}content-encoding: {how}\r\n")


def _too_short(row: list[float]) -> bytes:
    whole = _answer_of(row)
    return f"HTTP/1.1 200 OK\r\n{JSON}content-length: {len(whole) - 10}\r\n\r\n".encode() + whole


#: whole responses with status 200
_ANSWERS: dict[str, Callable[[list[float]], bytes]] = {
    "good": lambda row: _json(_document(row)),
    "html": lambda row: _response(HTML, headers="content-type: text/html\r\n"),
    "NaN": lambda row: _response(_with_score(row, b"NaN")),
    "Infinity": lambda row: _response(_with_score(row, b"Infinity")),
    "minus Infinity": lambda row: _response(_with_score(row, b"-Infinity")),
    "1e999": lambda row: _response(_with_score(row, b"1e999")),
    "error inside": lambda row: _json({"error": {"message": "the model is on holiday", "type": "server_error"}}),
    "error text": lambda row: _json({"error": "out of memory"}),
    "nothing": lambda row: _response(b""),
    "204": lambda row: b"HTTP/1.1 204 No Content\r\n\r\n",
    "null": lambda row: _json(None),
    "a list": lambda row: _json([_document(row)]),
    "a text": lambda row: _json("4"),
    "wrong name": lambda row: _json(_document(row, label={"name": "lable"})),
    "no outputs": lambda row: _json(_document(row) | {"outputs": []}),
    "two answers": lambda row: _json(_document(row, label={"shape": [2, 1], "data": [1, 2]})),
    "no answers": lambda row: _json(_document(row, label={"shape": [0, 1], "data": []})),
    "wrong shape": lambda row: _json(_document(row, label={"shape": [3, 5]})),
    "negative shape": lambda row: _json(_document(row, label={"shape": [-2, -2]})),
    "huge shape": lambda row: _json(_document(row, label={"shape": [2**62, 2**62]})),
    "shape of text": lambda row: _json(_document(row, label={"shape": "square"})),
    "score of text": lambda row: _response(_with_score(row, b'"high"')),
    "score of truth": lambda row: _response(_with_score(row, b"true")),
    "score of digits": lambda row: _response(_with_score(row, b"9" * 400)),
    "prediction null": lambda row: _json(_document(row, label={"data": [None]})),
    "latin-1": lambda row: _response('{"outputs": "é"}'.encode("latin-1")),
    "utf-16": lambda row: _response(_answer_of(row).decode().encode("utf-16")),
    "lone surrogate": lambda row: _response(_answer_of(row).replace(b'"big"', b'"\\ud800"')),
    "zero bytes": lambda row: _response(b"\0" * 200),
    "length too short": _too_short,
    "two responses": lambda row: _response(b"[]") + _response(_answer_of(row)),
    "deep": lambda row: _response(b"[" * 200_000),
    "deep data": lambda row: _response(
        b'{"outputs": [{"name": "label", "shape": [1, 1], "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"
    ),
    "cut JSON": lambda row: _response(_answer_of(row)[:-2]),
    "claims gzip": lambda row: _encoded(_answer_of(row), "gzip"),
    "claims br": lambda row: _encoded(_answer_of(row), "br"),
    "gzip": lambda row: _encoded(gzip.compress(_answer_of(row)), "gzip"),
    "gzip bomb": lambda row: _encoded(_bomb(), "gzip"),
    "large answer": lambda row: _json(_document(row, label={"shape": [1, 100_000], "data": [0.125] * 100_000})),
    "no score": lambda row: _json(_document(row, score=None)),
    "score null": lambda row: _response(_with_score(row, b"null")),
}


if __name__ == "__main__":
    asyncio.run(Hostile(int(sys.argv[1])).run())
