from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from bisupervised.schemas.versions import ThresholdsEntry, decode_version, encode_version
from bisupervised.streams.versions.fold import fold, unfit
from support.versions import LADDER, PIPELINE, chosen


def chain_of(*rungs: int) -> list[ThresholdsEntry]:
    entries: list[ThresholdsEntry] = []
    for rung in rungs:
        entries.append(chosen(entries, rung))
    return entries


def fates(entries: list[ThresholdsEntry]) -> list[str]:
    return [fate for _, fate in fold(entries, PIPELINE, LADDER).fates]


def test_an_empty_topic_is_the_file() -> None:
    standing = fold([], PIPELINE, LADDER)
    assert (standing.version, standing.rung, standing.entry, standing.pinned) == ("made", 3, None, False)
    assert standing.foreign is None


def test_each_entry_follows_the_one_in_force() -> None:
    entries = chain_of(4, 2, 4)
    standing = fold(entries, PIPELINE, LADDER)
    assert (standing.version, standing.rung) == (entries[-1].version, 4)
    assert list(standing.chain) == entries
    assert fates(entries) == ["former", "former", "in force"]
    assert [entry.version.rpartition("-")[0] for entry in entries] == ["1-rung-4", "2-rung-2", "3-rung-4"]


def test_of_two_at_once_the_first_wins() -> None:
    first, second = chosen([], 4, by="ann"), chosen([], 2, by="ben")
    assert first.version != second.version
    assert fold([first, second], PIPELINE, LADDER).version == first.version
    assert fold([second, first], PIPELINE, LADDER).version == second.version
    assert fates([first, second]) == ["in force", "void"]


def test_what_follows_a_void_entry_is_void() -> None:
    first, void = chosen([], 4), chosen([], 2, by="ben")
    after_void = chosen([void], 1)
    assert fates([first, void, after_void]) == ["in force", "void", "void"]


def test_under_a_pin_only_a_person_changes_it() -> None:
    pin = chosen([], 2, "pin")
    tighten, put, unpin = chosen([pin], 4, "tighten"), chosen([pin], 1), chosen([pin], 2, "unpin")
    standing = fold([pin, tighten, put], PIPELINE, LADDER)
    assert (standing.version, standing.pinned) == (pin.version, True)
    standing = fold([pin, tighten, put, unpin], PIPELINE, LADDER)
    assert (standing.version, standing.rung, standing.pinned) == (unpin.version, 2, False)
    assert fates([pin, tighten, put, unpin]) == ["former", "void", "void", "in force"]
    assert fold([pin, chosen([pin], 4, "pin")], PIPELINE, LADDER).rung == 4


def test_another_file_begins_at_its_own_pair() -> None:
    """A file that is made anew has a history of its own; the entries of the former one stay where they are."""
    entries = chain_of(4)
    anew = replace(LADDER, digest="anew", version="made-anew")
    standing = fold(entries, PIPELINE, anew)
    assert (standing.version, standing.rung, standing.foreign) == ("made-anew", 3, entries[0])
    entries.append(chosen([], 1, ladder=anew))
    assert fold(entries, PIPELINE, anew).rung == 1
    assert fold(entries, PIPELINE, anew).foreign is None
    assert fold(entries, PIPELINE, LADDER).rung == 4
    assert fold(entries, PIPELINE, LADDER).foreign == entries[1]


def test_pipelines_share_a_topic() -> None:
    other = chosen([], 1, pipeline="bank")
    standing = fold([other, chosen([], 4)], PIPELINE, LADDER)
    assert (standing.rung, len(standing.fates)) == (4, 1)
    assert fold([other], "bank", LADDER).rung == 1


@pytest.mark.parametrize(
    "change", [{"local": 0.1}, {"remote": 0.1}, {"rung": 0}, {"rung": 5}, {"rung": -1}, {"version": "made"}]
)
def test_a_pair_that_is_no_rung_is_never_in_force(change: dict[str, float]) -> None:
    damaged = msgspec.structs.replace(chosen([], 4), **change)
    assert fold([damaged], PIPELINE, LADDER).version == "made"
    assert fates([damaged]) == ["damaged"]


def test_a_circle_ends() -> None:
    """Only by hand: a name holds a digest of `previous`, so none can be named before it is made."""
    first = msgspec.structs.replace(chosen([], 4), version="a")
    second = msgspec.structs.replace(first, version="b", previous="a")
    assert fold([first, second, msgspec.structs.replace(first, version="a", previous="b")], PIPELINE, LADDER).chain == (
        first,
        second,
    )


def test_thresholds_are_for_one_model_and_one_score() -> None:
    entry = chosen([], 4)
    assert unfit(entry, LADDER) == ""
    assert "small@1 there and large here" in unfit(entry, replace(LADDER, model="large"))
    assert "scores are made otherwise (scored there, other here" in unfit(entry, replace(LADDER, score="other"))


def test_a_rung_that_the_file_does_not_have() -> None:
    with pytest.raises(ValueError, match="there is no rung 5: the file has 1 to 4"):
        chosen([], 5)


def test_an_entry_comes_back_as_it_was_written() -> None:
    entry = chosen([], 4, "tighten", evidence={"labels": 170, "log_r": 9.21}, why="the alarm")
    assert decode_version(encode_version(entry)) == entry
    with pytest.raises(msgspec.DecodeError, match="of version 2; 1 is read here"):
        decode_version(encode_version(msgspec.structs.replace(entry, v=2)))
    with pytest.raises(msgspec.DecodeError):
        decode_version(b"{}")
