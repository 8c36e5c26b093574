"""Header names that are not UTF-8."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from bisupervised.streams.kafka.records import _ForgivingRecords, read_any_header


class NotText(str):
    __slots__ = ()

    def encode(self, _encoding: str = "utf-8", _errors: str = "strict") -> bytes:
        return b"a\xff"


def written(compression: int = 0) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, 100_000)
    for offset in range(20):
        builder.append(offset, 7, b"key", b"value", [(NotText() if offset == 3 else "good", b"\xff"), ("none", None)])
    return bytes(builder.build())


def read(raw: bytes, records: Any) -> list[Any]:
    found, pages = [], records(raw)
    while pages.has_next():
        batch = pages.next_batch()
        assert batch.validate_crc()
        found += list(batch)
    return found


@pytest.mark.parametrize("compression", [0, 1, 2, 3, 4])
def test_they_are_read_with_a_replacement_and_all_else_as_it_is(compression: int) -> None:
    raw = written(compression)
    with pytest.raises((UnicodeDecodeError, ValueError)):
        read(raw * 2, fetcher.MemoryRecords)
    found = read(raw * 2, _ForgivingRecords)
    assert [record.offset for record in found] == [*range(20), *range(20)]
    assert list(found[3].headers) == [("a\ufffd", b"\xff"), ("none", None)]
    assert {(record.key, record.value, record.timestamp) for record in found} == {(b"key", b"value", 7)}
    assert {record.headers[0] for record in found} == {("a\ufffd", b"\xff"), ("good", b"\xff")}


def test_it_is_taken_once_and_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(fetcher, "MemoryRecords", fetcher.MemoryRecords)
    read_any_header()
    read_any_header()
    assert fetcher.MemoryRecords is _ForgivingRecords
    assert [getattr(line, "action", "") for line in caplog.records] == ["header_name_damaged"]
