"""Answers to equal inputs, so that they need not be paid twice. In memory, of one worker: a restart forgets them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from ....schemas.errors import InvalidRequest
from ..asking import RemoteAnswer
from ..protocol import RemoteProtocol

#: bytes that an entry takes besides its answer, a rough constant
_ENTRY_BYTES = 300


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How much is remembered, and for how long."""

    records: int  #: answers, at most; 0 remembers nothing
    bytes: int = 67_108_864  #: bytes of theirs, at most
    age_s: float = 86_400.0  #: seconds after which an answer is forgotten


class _Entry(NamedTuple):
    answer: RemoteAnswer
    size: int  #: bytes
    at: float  #: when it was given


class AnswerCache:
    """Keeps the answers that were asked for last. Not even a hit makes one older than `age_s`."""

    def __init__(self, policy: CachePolicy) -> None:
        self._policy = policy
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.bytes = 0  #: of what is kept
        self.hits = 0  #: times an answer was there
        self.misses = 0  #: times it was not

    def __repr__(self) -> str:
        return f"<AnswerCache {len(self)} answers, {self.bytes} bytes, hits={self.hits} misses={self.misses}>"

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes, now: float) -> RemoteAnswer | None:
        """The answer to what has this digest, None where there is none that is young enough."""
        entry = self._entries.get(digest)
        if entry is not None and now - entry.at >= self._policy.age_s:
            self._drop(digest)
            entry = None
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(digest)
        return entry.answer

    def put(self, digest: bytes, answer: RemoteAnswer, now: float) -> None:
        """Remember a valid answer. What was not asked for longest goes; what is larger than all room is not kept."""
        if digest in self._entries:
            self._drop(digest)
        size = _ENTRY_BYTES + len(orjson.dumps(answer.prediction)) + len(answer.model)
        if size > self._policy.bytes or not self._policy.records:
            return
        self._entries[digest] = _Entry(answer, size, now)
        self.bytes += size
        while len(self) > self._policy.records or self.bytes > self._policy.bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, digest: bytes) -> None:
        self.bytes -= self._entries.pop(digest).size

    def statistics(self) -> dict[str, Any]:
        """A snapshot, in the words of `__repr__`."""
        return {"answers": len(self), "bytes": self.bytes, "hits": self.hits, "misses": self.misses}


def digest_of(protocol: RemoteProtocol, model_input: Any) -> bytes | None:  # noqa: ANN401  # any JSON value
    """Of all that would be sent for this input alone: path, method, model, prompt, fields, settings of sampling.

    None where it cannot be asked. The server's address and the reading of its answers are one worker's settings, and
    so the same for all that a cache holds.
    """
    try:
        call = protocol.build([model_input])
    except InvalidRequest:
        return None
    told = [call.method, call.path, str(call.samples), *map(str, sorted(call.headers.items()))]
    return blake2b("\n".join(told).encode() + b"\n\n" + call.body, digest_size=16).digest()
