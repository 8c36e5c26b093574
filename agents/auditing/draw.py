"""Which requests are audited: a share of all, drawn by a keyed hash, so that nobody without the key can tell which.

    u < share: a label is wanted       share <= u < shadow_share: only both models' answers       otherwise nothing

The same request is drawn again after a crash, a rebalance, or in another worker, and never another one in its place.
One hash gives the draws of a block of neighbouring offsets: an event costs a look into a set, at most.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

#: offsets that one hash decides about
_BLOCK = 1024
#: blocks that are remembered, of all partitions together: they are few, for offsets come one after the other
_REMEMBERED = 4096
_NONE: frozenset[int] = frozenset()


class _Block(NamedTuple):
    """What is drawn of neighbouring offsets."""

    drawn: frozenset[int]
    labelled: frozenset[int]  #: of these, the ones whose label is wanted


class _Span(NamedTuple):
    """What is drawn of several blocks."""

    begin: int
    end: int
    drawn: frozenset[int]


class Draw:
    """The draw of one pipeline."""

    def __init__(self, share: float, secret: bytes, pipeline: str, shadow_share: float = 0.0) -> None:
        """`share`: of all requests, 0..1; `shadow_share`: likewise, those included; 0 for none but those.

        Raises `ValueError` for others, or for an empty secret.
        """
        for given in (share, shadow_share):
            if not 0.0 <= given <= 1.0:
                raise ValueError(f"a share lies between 0 and 1, and {given:g} does not")
        if not secret:
            raise ValueError("a draw without a secret could be foreseen")
        self.share = share
        self.shadow_share = shadow_share
        self._key = hashlib.blake2b(secret, digest_size=32, person=b"audit draw").digest()
        self._pipeline = pipeline
        self._blocks: dict[tuple[str, int, int], _Block] = {}
        self._spans: dict[tuple[str, int], _Span] = {}  # the last one of each partition

    def drawn(self, topic: str, partition: int, first: int, last: int) -> frozenset[int]:
        """The offsets that are drawn of these: from `first` to `last`, and perhaps some around them.

        `topic`: the id that the broker gave it, or its name where there is none.
        """
        begin, end = first // _BLOCK, last // _BLOCK
        if begin == end:
            return self._block(topic, partition, begin).drawn
        span = self._spans.get((topic, partition))
        if span is None or (span.begin, span.end) != (begin, end):
            blocks = (self._block(topic, partition, number) for number in range(begin, end + 1))
            span = self._spans[topic, partition] = _Span(begin, end, _NONE.union(*(block.drawn for block in blocks)))
        return span.drawn

    def wants_label(self, topic: str, partition: int, offset: int) -> bool:
        """A label is wanted of this one, which is drawn."""
        return offset in self._block(topic, partition, offset // _BLOCK).labelled

    def _block(self, topic: str, partition: int, number: int) -> _Block:
        place = (topic, partition, number)
        found = self._blocks.get(place)
        if found is None:
            if len(self._blocks) >= _REMEMBERED:
                self._blocks.clear()
            found = self._blocks[place] = self._drawn_in(place)
        return found

    def _drawn_in(self, place: tuple[str, int, int]) -> _Block:
        topic, partition, number = place
        text = f"{self._pipeline}\0{topic}\0{partition}\0{number}".encode()
        seed = hashlib.blake2b(text, key=self._key).digest()
        numbers = np.frombuffer(hashlib.shake_128(seed).digest(8 * _BLOCK), dtype="<u8")
        labelled = _below(self.share, numbers, number * _BLOCK)
        more = self.shadow_share > self.share
        return _Block(_below(self.shadow_share, numbers, number * _BLOCK) if more else labelled, labelled)


def _below(share: float, numbers: np.ndarray[tuple[int], np.dtype[np.uint64]], first: int) -> frozenset[int]:
    """The offsets from `first` on whose numbers lie in this share of all."""
    chosen = np.flatnonzero(numbers < share * 2.0**64) if share < 1.0 else np.arange(len(numbers))
    return frozenset((chosen + first).tolist())
