"""What a broker's transaction coordinator has written to its log, read from the files as they are."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from aiokafka.record.memory_records import MemoryRecords

#: the state of a transaction that is decided, while its markers are written
PREPARE_COMMIT = 2
#: of a value: version, producer id, epoch and timeout; then comes the state
_BEFORE_STATE = struct.Struct(">hqhi")


def decided(data: Path) -> list[str]:
    """Transactional ids whose last transaction is to be committed, and is not said to be complete.

    `data`: where the broker keeps its logs. Stop its process meanwhile.
    """
    states: dict[bytes, int] = {}
    for segment in sorted(data.glob("__transaction_state-*/*.log")):
        for record in _records(segment.read_bytes()):
            if record.key is not None and record.value is not None:
                states[bytes(record.key)] = record.value[_BEFORE_STATE.size]
    return [key[4:].decode() for key, state in states.items() if state == PREPARE_COMMIT]


def _records(raw: bytes) -> list[Any]:
    pages: Any = MemoryRecords(raw)
    found: list[Any] = []
    while pages.has_next():
        found += list(pages.next_batch())
    return found
