"""What is written into the topic `thresholds`: each record is a version of both thresholds, and says who chose it.

A version is written once, under a name that only this record has, which is its key too: compaction keeps all of them.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from .decoding import decoded

#: version of the struct below
VERSION = 1
#: hex digits of the digest in a version's name
_DIGEST_CHARS = 10

#: why a rung was chosen: by the auditor (tighten, loosen), or by a person; a pin holds until somebody unpins it
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
    reason: Reason  #: why it was chosen: tighten and loosen by the auditor, set, pin and unpin by a person
    previous: str  #: version that was in force when it was chosen
    by: str  #: who chose it
    at_ms: int  #: when, milliseconds since epoch
    why: str = ""  #: in words
    evidence: dict[str, Any] = {}  #: numbers that it was chosen by
    # a factory: `omit_defaults` would leave out a plain default, and no reader could tell one version from another
    v: int = msgspec.field(default_factory=_version)  #: version of this struct


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(ThresholdsEntry)


def named(entry: ThresholdsEntry, number: int) -> ThresholdsEntry:
    """The same under its name: the how-manieth version it is, its rung, and a digest of all that it says."""
    digest = hashlib.sha256(_encoder.encode(msgspec.structs.replace(entry, version=""))).hexdigest()
    return msgspec.structs.replace(entry, version=f"{number}-rung-{entry.rung}-{digest[:_DIGEST_CHARS]}")


def encode_version(entry: ThresholdsEntry) -> bytes:
    """The value of a record."""
    return _encoder.encode(entry)


def decode_version(value: bytes) -> ThresholdsEntry:
    """Raises `msgspec.DecodeError`, also for another version: what it means is not known here."""
    entry = decoded(_decoder, value)
    if entry.v != VERSION:
        raise msgspec.ValidationError(f"the entry is of version {entry.v}; {VERSION} is read here")
    return entry
