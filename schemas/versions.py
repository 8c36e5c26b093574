"""What is written into the topic `thresholds`: each record is a version of both thresholds, and says who chose it.

A version is written once, under a name that only this record has, which is its key too: compaction keeps all of them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

import msgspec

from .decoding import decoded

#: version of the struct below
VERSION = 1
#: hex digits of the digest in a version's name
_DIGEST_CHARS = 10
#: the name of a version by which more requests are drawn
_RAISED = re.compile(rf"\d+-rung-\d+-raised-[0-9a-f]{{{_DIGEST_CHARS}}}")

#: why a rung was chosen: by the auditor (tighten, loosen, and set where only the share of audits falls again), or by a
#: person; a pin holds until somebody unpins it
Reason = Literal["tighten", "loosen", "set", "pin", "unpin"]


def _version() -> int:
    return VERSION


class ThresholdsEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a record in `thresholds`. It is void unless `previous` is the version that is in force."""

    version: str  #: its name, which is the record's key and which the records that it judges carry
    pipeline: str  #: name of the pipeline whose thresholds these are
    ladder: str  #: digest of the thresholds file whose rungs these are
    model: str  #: local model that the file was made for; '' for any
    score: str  #: digest of all that makes the scores which these thresholds judge
    rung: int  #: of that file, counted from 1, the laxest
    local: float  #: first threshold: of the local score
    remote: float  #: second threshold: of the score of the remote's answer
    reason: Reason  #: why it was chosen: tighten and loosen by the auditor, set, pin and unpin by a person; see `by`
    previous: str  #: version that was in force when it was chosen
    by: str  #: who chose it
    at_ms: int  #: when, milliseconds since epoch
    why: str = ""  #: in words
    evidence: dict[str, Any] = {}  #: numbers that it was chosen by
    raised: bool = False  #: the requests that it judges are drawn by [audit] alarm_share; its name says so, too
    # a factory: `omit_defaults` would leave out a plain default, and no reader could tell one version from another
    v: int = msgspec.field(default_factory=_version)  #: version of this struct


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(ThresholdsEntry)


def named(entry: ThresholdsEntry, number: int) -> ThresholdsEntry:
    """The same under its name: the how-manieth version it is, its rung, whether more requests are drawn, and a digest
    of all that it says.
    """
    digest = hashlib.sha256(_encoder.encode(msgspec.structs.replace(entry, version=""))).hexdigest()
    raised = "raised-" if entry.raised else ""
    return msgspec.structs.replace(entry, version=f"{number}-rung-{entry.rung}-{raised}{digest[:_DIGEST_CHARS]}")


def is_raised(version: str) -> bool:
    """The requests that this version judged first were drawn by the raised share: each record tells it by this name."""
    return _RAISED.fullmatch(version) is not None


def encode_version(entry: ThresholdsEntry) -> bytes:
    """The value of a record."""
    return _encoder.encode(entry)


def decode_version(value: bytes) -> ThresholdsEntry:
    """Raises `msgspec.DecodeError`, also for another version: what it means is not known here."""
    entry = decoded(_decoder, value)
    if entry.v != VERSION:
        raise msgspec.ValidationError(f"the entry is of version {entry.v}; {VERSION} is read here")
    return entry
