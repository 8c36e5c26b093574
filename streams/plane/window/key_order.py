"""The order of keys: outcomes of one key leave in the order of their offsets, whenever they are answered.

While records are answered in the order in which they were handed out, this needs no look at keys: a window makes a
`KeyOrder` of what is unanswered when that ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from .slots import ANSWERED, Slot


class KeyOrder:
    """What waits behind the first record of its key. That one leads: its outcome may leave."""

    def __init__(self) -> None:
        self._followers: dict[bytes, deque[Slot] | None] = {}

    def add_all(self, slots: Iterable[Slot]) -> None:
        """Records that are not answered, in the order of their offsets. Each leads, or waits for those before it."""
        for slot in slots:
            key = slot.record.key
            if key is not None:
                self._add(slot, key)

    def _add(self, slot: Slot, key: bytes) -> None:
        if key not in self._followers:
            self._followers[key] = None  # most keys come once in a while: no queue is made for them
            return
        slot.leads = False
        waiting = self._followers[key]
        if waiting is None:
            self._followers[key] = deque((slot,))
        else:
            waiting.append(slot)

    def behind(self, key: bytes) -> Sequence[Slot]:
        """The record that leads this key is answered: those behind it that are answered, too. The next one leads."""
        waiting = self._followers[key]
        if not waiting:
            del self._followers[key]
            return ()
        answered: list[Slot] = []
        while waiting:
            slot = waiting.popleft()
            if slot.state != ANSWERED:
                slot.leads = True
                return answered
            answered.append(slot)
        del self._followers[key]
        return answered
