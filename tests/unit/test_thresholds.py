from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from bisupervised.agents.supervision.thresholds import (
    Line,
    Part,
    Target,
    Thresholds,
    read_thresholds,
    signed,
    write_thresholds,
)
from bisupervised.schemas.errors import ConfigurationError


def made(version: str = "") -> Thresholds:
    return signed(
        Thresholds(
            version=version,
            local=Line(0.1 + 0.2, "max_softmax", "small@1"),
            remote=Line(0.7, "max_softmax"),
            first="30 % of the inputs go to the remote",
            method="clopper-pearson",
            target=Target("false_positive_rate", 0.05, 0.1),
            seed=0,
            parts={"report": Part(100, 0.3, 0.9, 0.95, 0.05, None)},
            made="2026-11-25T00:00:00Z",
        )
    )


def test_the_file_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    write_thresholds(tmp_path / "t.json", made())
    assert read_thresholds(tmp_path / "t.json") == made()
    assert read_thresholds(tmp_path / "t.json").local.threshold == 0.1 + 0.2
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


def test_a_version_is_made_of_date_and_digest_where_none_is_given() -> None:
    assert made().version.startswith("2026-11-25-")
    assert made("mine").version == "mine"
    assert made("mine").digest != made("yours").digest


def test_a_file_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    write_thresholds(path, made())
    path.write_text(path.read_text().replace("0.7", "0.1"))
    with pytest.raises(ConfigurationError, match=r"was changed after it was made.*\[remote\] threshold"):
        read_thresholds(path)


@pytest.mark.parametrize(
    ("document", "match"),
    [
        (None, "cannot read"),
        (b"\xff", "is no thresholds file"),
        (b"{}", "is no thresholds file"),
        (msgspec.json.encode(made()).replace(b'"seed":0', b'"seed":0,"more":1'), "is no thresholds file"),
        (msgspec.json.encode(made()).replace(b'"format":1', b'"format":2'), "has the format 2"),
    ],
)
def test_what_is_no_thresholds_file_is_refused(tmp_path: Path, document: bytes | None, match: str) -> None:
    path = tmp_path / "t.json"
    if document is not None:
        path.write_bytes(document)
    with pytest.raises(ConfigurationError, match=match):
        read_thresholds(path)
