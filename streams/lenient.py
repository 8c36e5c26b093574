"""Reading records whose headers have names that are not UTF-8, which some producers write.

The client's compiled parser raises on them, and would do so for ever: one such record would end every worker that
meets it. Its parser in Python can be told to put U+FFFD in their place. It is slower (some 20 µs a record), so it is
taken once it is needed, until the process ends.
"""

from __future__ import annotations

import logging
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

log = logging.getLogger(__name__)

_MAGIC = 2


class _Forgiving(bytes):
    """Bytes whose text may be damaged."""

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401  # an index or a slice
        found = super().__getitem__(place)
        return _Forgiving(found) if isinstance(found, bytes) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc]  # marked final, which is about its types
    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        buffer: Any = self._buffer  # type: ignore[has-type]  # aiokafka has no types
        self._buffer = buffer if isinstance(buffer, _Forgiving) else _Forgiving(buffer)


class _Records(_MemoryRecordsPy):  # type: ignore[misc]  # aiokafka has no types
    def next_batch(self) -> Any:  # noqa: ANN401  # as above
        piece = self._next_slice
        batch = super().next_batch()
        return _Batch(piece) if piece is not None and piece[self.MAGIC_OFFSET] >= _MAGIC else batch


def read_any_header() -> None:
    """From the next fetch on, every consumer of this process reads such records. What is fetched is to be dropped."""
    if fetcher.MemoryRecords is _Records:
        return
    fetcher.MemoryRecords = _Records
    text = "a record has a header whose name is not UTF-8: it is read with U+FFFD in its place, all records more slowly"
    log.warning(text, extra={"action": "header_name_damaged"})
