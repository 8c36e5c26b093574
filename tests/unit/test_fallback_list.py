"""`fallback list` reads partitions in any order, and shows the latest records all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bisupervised.schemas.codec import fall_back
from bisupervised.schemas.records import Facts, Source
from bisupervised.streams.tools import commands
from support.configurations import SMALLEST
from support.records import Record


def fallen(offset: int, requested_ms: int) -> Any:
    out = fall_back(
        Record(b"{}", offset, "requests"),
        Facts(Source("requests", 0, offset), requested_ms=requested_ms, id=f"order-{offset}"),
        "timeout",
        "late",
        "remote",
    )
    return Record(out.value, offset, "fallback", headers=out.headers)


def test_the_latest_are_shown_whatever_partition_is_read_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text(SMALLEST)

    async def read_all(settings: Any, topic: str, see: Callable[[Any], None]) -> None:
        for offset, requested_ms in ((7, 3000), (8, 5000), (1, 1000), (2, 2000)):
            see(fallen(offset, requested_ms))

    monkeypatch.setattr(commands, "read_all", read_all)
    assert commands.fallback_list(config=tmp_path / "c.toml", limit=2) == 0
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()] == ["requests-0-7", "requests-0-8"]
    assert [line.split("  ")[3] for line in shown.out.splitlines()] == ["id order-7", "id order-8"], (
        "what people look for"
    )
    assert "4 records: 4 timeout" in shown.out + shown.err
