"""Which requests are audited: a share of all, drawn by a keyed hash, so that nobody without the key can tell which.

The same request is drawn again after a crash, a rebalance, or in another worker, and never another one in its place.
One hash gives the draws of a block of neighbouring offsets: an event costs a look into a set.
"""

from __future__ import annotations

import hashlib

import numpy as np

#: offsets that one hash decides about
_BLOCK = 1024
#: blocks that are remembered, of all partitions together: they are few, for offsets come one after the other
_REMEMBERED = 4096
_NONE: frozenset[int] = frozenset()


class Draw:
    """The draw of one pipeline."""

    def __init__(self, share: float, secret: bytes, pipeline: str) -> None:
        """`share`: of all requests, 0..1. Raises `ValueError` for another, or for an empty secret."""
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"a share lies between 0 and 1, and {share:g} does not")
        if not secret:
            raise ValueError("a draw without a secret could be foreseen")
        self.share = share
        self._key = hashlib.blake2b(secret, digest_size=32, person=b"audit draw").digest()
        self._pipeline = pipeline
        self._blocks: dict[tuple[str, int, int], frozenset[int]] = {}

    def drawn(self, topic: str, partition: int, first: int, last: int) -> frozenset[int]:
        """The offsets that are drawn of these: from `first` to `last`, and perhaps some around them.

        `topic`: the id that the broker gave it, or its name where there is none.
        """
        begin, end = first // _BLOCK, last // _BLOCK
        if begin == end:
            return self._block(topic, partition, begin)
        return _NONE.union(*(self._block(topic, partition, number) for number in range(begin, end + 1)))

    def _block(self, topic: str, partition: int, number: int) -> frozenset[int]:
        place = (topic, partition, number)
        found = self._blocks.get(place)
        if found is None:
            if len(self._blocks) >= _REMEMBERED:
                self._blocks.clear()
            found = self._blocks[place] = self._drawn_in(place)
        return found

    def _drawn_in(self, place: tuple[str, int, int]) -> frozenset[int]:
        topic, partition, number = place
        text = f"{self._pipeline}\0{topic}\0{partition}\0{number}".encode()
        seed = hashlib.blake2b(text, key=self._key).digest()
        numbers = np.frombuffer(hashlib.shake_128(seed).digest(8 * _BLOCK), dtype="<u8")
        chosen = np.flatnonzero(numbers < self.share * 2.0**64) if self.share < 1.0 else np.arange(_BLOCK)
        return frozenset((chosen + number * _BLOCK).tolist())
