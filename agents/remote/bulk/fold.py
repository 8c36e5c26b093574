"""What the log of a partition's batches says: the last word about each. No I/O."""

from __future__ import annotations

from collections import deque

from ....schemas.bulk import BatchTold, BulkEntry

#: batches that are over, and remembered for people
_REMEMBERED = 50


class BulkLedger:
    """Takes the entries of one partition, in their order. Whoever has taken the same ones knows the same."""

    def __init__(self, topic_id: str, remembered: int | None = _REMEMBERED) -> None:
        """`topic_id`: of the topic `batched` that there is now. Entries about another one tell nothing about it.
        `remembered`: batches that are over, at most; None for all.
        """
        self.open: dict[str, BatchTold] = {}  #: by id, those that are not over
        self.ended: deque[BatchTold] = deque(maxlen=remembered)  #: those that are, the last ones
        self.next: int | None = None  #: offset of `batched` before which all is in a batch; None before any
        self.queue_tokens = 0  #: as `BulkEntry` says
        self.batch_tokens = 0  #: likewise
        self._topic_id = topic_id

    def __repr__(self) -> str:
        return f"<BulkLedger {len(self.open)} open, next {self.next}>"

    def take(self, entry: BulkEntry) -> None:
        """The next one."""
        if entry.topic_id != self._topic_id:
            return
        if entry.whole:
            self.open = {}
        for batch in entry.batches:
            self.open.pop(batch.id, None)
            if batch.state == "ended":
                self.ended.append(batch)
            else:
                self.open[batch.id] = batch
        self.next = entry.next  # lower than before, where a person said to begin anew
        self.queue_tokens = entry.queue_tokens
        self.batch_tokens = entry.batch_tokens
