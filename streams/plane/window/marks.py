"""What a commit says besides its offset: which later offsets are done, and how careful the next owner must be.

Kafka keeps a string of up to 4,096 characters beside each committed offset. Ours reads
`1;<topic id>;<phase>;<marks>;<born>`:

- the id of the topic, so that marks of a recreated topic are refused;
- the phase of the owner (`caution.py`), or how far records may have been handed out (`write_ahead.py`);
- a bitmap of the offsets after the committed one whose outcome has been sent, base64, trailing zeros cut;
- how many partitions the topic had when the group began; left out where that is not known, or does not matter because
  the group began at the earliest records. Workers of record version 1 read the first four parts, and no fifth.

The technique is that of Confluent's Parallel Consumer, here inside a transaction.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

#: longest metadata string a broker takes by default (`offset.metadata.max.bytes`), characters
METADATA_CHARS = 4096
_OVERHEAD_CHARS = 64
#: offsets a bitmap in the metadata can cover; a window never spans more, so marks always fit
SPAN = (METADATA_CHARS - _OVERHEAD_CHARS) // 4 * 3 * 8
_VERSION = "1"
#: how a phase is written
PHASE = re.compile(r"[cnbB]|a[0-9]{1,9}")


class MarksError(ValueError):
    """The metadata of a committed offset was not written by us, or by a version we cannot read."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a commit stores: an offset and its metadata, decoded."""

    offset: int  #: everything below has its outcome
    done: frozenset[int] = frozenset()  #: offsets above it that have theirs, too
    phase: str = "c"  #: state of the owner that wrote it, see `caution.py`
    topic_id: str = ""  #: id of the topic; '' where the broker has none
    born: int = 0  #: partitions of the topic when the group began; 0 where that is not known

    def metadata(self) -> str:
        """The metadata string. Raises `ValueError` when a mark lies more than `SPAN` above the offset."""
        return encode(self.offset, self.done, self.phase, self.topic_id) + (f";{self.born}" if self.born else "")


def encode(offset: int, done: Iterable[int], phase: str, topic_id: str) -> str:
    """The metadata string of a commit at `offset`."""
    bits = bytearray()
    for mark in done:
        place = mark - offset
        if not 0 <= place < SPAN:
            raise ValueError(f"mark {mark} does not fit a commit at {offset}")
        index = place >> 3
        if index >= len(bits):
            bits.extend(bytes(index + 1 - len(bits)))
        bits[index] |= 1 << (place & 7)
    return f"{_VERSION};{topic_id};{phase};{base64.b64encode(bits).decode()}"


def decode(offset: int, metadata: str | None) -> Progress:
    """Read a committed offset and its metadata. No metadata at all is a plain offset, set by hand perhaps."""
    if not metadata:
        return Progress(offset)
    try:
        version, topic_id, phase, marks, *more = metadata.split(";")
        (born,) = (int(text) for text in more) if more else (0,)
        bits = base64.b64decode(marks, validate=True)
    except (ValueError, binascii.Error) as error:
        raise MarksError(f"the metadata {metadata[:40]!r} of the committed offset is not ours") from error
    if version != _VERSION:
        raise MarksError(f"the metadata of the committed offset is of version {version!r}; this worker reads 1")
    if not PHASE.fullmatch(phase):
        raise MarksError(f"the metadata of the committed offset names the phase {phase!r}, which is not ours")
    return Progress(offset, frozenset(_places(bits, offset)), phase, topic_id, born)


def _places(bits: bytes, offset: int) -> Iterable[int]:
    for index, byte in enumerate(bits):
        for bit in range(8):
            if byte >> bit & 1:
                yield offset + index * 8 + bit
