"""What a commit says comes back as it was said, and always fits."""

from __future__ import annotations

import pytest
from bisupervised.streams.plane.window.marks import METADATA_CHARS, SPAN, MarksError, Progress, decode
from hypothesis import given
from hypothesis import strategies as st

OFFSETS = st.integers(0, 2**62)
PHASES = st.one_of(st.sampled_from("cnb"), st.integers(1, 999).map("a{}".format))
TOPIC_IDS = st.one_of(st.just(""), st.uuids().map(lambda identity: identity.hex))
PLACES = st.one_of(st.sets(st.integers(0, SPAN - 1), max_size=50), st.just(set(range(SPAN))), st.just({SPAN - 1}))


@given(OFFSETS, PLACES, PHASES, TOPIC_IDS)
def test_round_trip(offset: int, places: set[int], phase: str, topic_id: str) -> None:
    progress = Progress(offset, frozenset(offset + place for place in places), phase, topic_id)
    metadata = progress.metadata()
    assert len(metadata) <= METADATA_CHARS
    assert metadata.isascii()
    assert decode(offset, metadata) == progress


@given(OFFSETS, st.sampled_from((-1, SPAN, SPAN + 1, -SPAN)))
def test_a_mark_out_of_reach_is_an_error_and_never_dropped(offset: int, place: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Progress(offset, frozenset({offset + place})).metadata()


@given(st.text(min_size=1))
def test_what_is_not_ours_is_refused_or_harmless(text: str) -> None:
    """A string that somebody else left is refused; it is never a crash of another kind, nor an invented mark."""
    try:
        progress = decode(7, text)
    except MarksError:
        return
    assert text.startswith("1;")
    assert progress.offset == 7


@pytest.mark.parametrize("metadata", [None, ""])
def test_an_offset_set_by_hand_has_no_marks(metadata: str | None) -> None:
    assert decode(5, metadata) == Progress(5)


@pytest.mark.parametrize(
    "metadata", ["x", "1;;c", "1;;c;***", "1;;c;A", "2;;c;", "1;;c;;", "NO_METADATA", "1;;c;\u00e9", "0;;c;"]
)
def test_foreign_metadata_is_refused(metadata: str) -> None:
    with pytest.raises(MarksError):
        decode(5, metadata)


@pytest.mark.parametrize("phase", ["", "z", "a", "ax", "a-1", "a1.5", "cc", "n1"])
def test_a_phase_we_do_not_know_is_refused(phase: str) -> None:
    with pytest.raises(MarksError):
        decode(5, f"1;;{phase};")


def test_trailing_zeros_are_cut() -> None:
    assert len(Progress(0, frozenset({1}), "n").metadata()) == len("1;;n;Ag==")
