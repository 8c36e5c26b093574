from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from bisupervised.agents.supervision.thresholds import (
    Line,
    Part,
    Rung,
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
        (msgspec.json.encode(made()).replace(b'"format":2', b'"format":3'), "has the format 3"),
    ],
)
def test_what_is_no_thresholds_file_is_refused(tmp_path: Path, document: bytes | None, match: str) -> None:
    path = tmp_path / "t.json"
    if document is not None:
        path.write_bytes(document)
    with pytest.raises(ConfigurationError, match=match):
        read_thresholds(path)


RELEASED = Path(__file__).parents[1] / "released" / "thresholds.v1.json"


def test_a_file_of_the_first_format_is_read_to_the_last_bit() -> None:
    known = read_thresholds(RELEASED)
    assert (known.format, known.local.threshold, known.remote.score) == (1, 0.1 + 0.2, "joint")
    assert known.joint is not None
    assert known.joint.fitted_on == 400
    assert (known.also, known.learned, known.rungs) == (None, None, ())


def test_a_file_of_the_first_format_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    for old, new in (
        ('"threshold": 0.7,', '"threshold": 0.1,'),
        ('"format": 1', '"format": 2'),
        ('"format": 1', '"also": null, "format": 2'),
    ):
        assert old in RELEASED.read_text()
        path.write_text(RELEASED.read_text().replace(old, new))
        with pytest.raises(ConfigurationError, match="was changed after it was made"):
            read_thresholds(path)


def test_what_the_second_format_has_cannot_be_slipped_into_a_file_of_the_first(tmp_path: Path) -> None:
    rung = '"rungs": [{"local": 0, "remote": 0, "level": 1, "error": 0, "remote_fraction": 0, "acceptance": 1}]'
    (tmp_path / "t.json").write_text(RELEASED.read_text().replace('"format": 1', f'{rung}, "format": 1'))
    with pytest.raises(ConfigurationError, match="was changed after it was made"):
        read_thresholds(tmp_path / "t.json")


def test_rungs_and_a_second_promise_come_back_to_the_last_bit(tmp_path: Path) -> None:
    more = msgspec.structs.replace(
        made(),
        also=Target("false_positive_rate", 0.05, 0.1),
        rungs=(Rung(0.1, 0.2, 0.3, 0.1 + 0.2, None, 1.0), Rung(0.3, 0.7, 0.1, 0.1, 0.3, 0.9, certified=True)),
    )
    write_thresholds(tmp_path / "t.json", signed(more))
    assert read_thresholds(tmp_path / "t.json") == signed(more)
