"""What anybody may write is refused, never followed until the stack ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from bisupervised.schemas import budget, closings, codec, versions
from bisupervised.schemas.audits import MOST_LABEL_BYTES, Label, decode_audit, decode_label, encode_label
from bisupervised.schemas.decoding import MOST_LEVELS
from bisupervised.schemas.encodings import verbatim
from bisupervised.schemas.errors import InvalidRequest
from bisupervised.schemas.records import FACTS_HEADER, REPLAY_HEADER
from support.records import request

DEEP = b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}"


def label(levels: int) -> bytes:
    return b'{"source":"requests-0-1","by":"ann","truth":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize(
    "decode",
    [
        decode_audit,
        decode_label,
        codec.decode_result,
        budget.decode_entry,
        closings.decode_closing,
        versions.decode_version,
    ],
)
def test_a_document_of_endless_levels_is_one_that_cannot_be_read(decode: Callable[[bytes], Any]) -> None:
    with pytest.raises(msgspec.DecodeError, match="too deep"):
        decode(DEEP)


def test_a_producers_headers_of_endless_levels_are_not_ours() -> None:
    assert codec.replayed(request(1, headers=[(REPLAY_HEADER, DEEP)])) is None
    damaged = request(1, headers=[(FACTS_HEADER, DEEP)])
    assert codec.foreign_version(damaged) is None
    with pytest.raises(InvalidRequest, match="too deep"):
        codec.decode_facts(damaged)


def test_what_stands_in_a_document_of_endless_levels_is_not_read_on() -> None:
    assert verbatim(DEEP, "y") is None


def test_a_truth_of_many_levels_is_refused_by_all_who_read_it_wherever_their_stack_stands() -> None:
    assert decode_label(label(MOST_LEVELS)).by == "ann"
    with pytest.raises(msgspec.DecodeError, match="lie in each other"):
        decode_label(label(MOST_LEVELS + 1))
    with pytest.raises(msgspec.DecodeError):
        decode_label(label(5000))


@pytest.mark.parametrize("field", ["source", "truth", "by"])
def test_a_label_that_would_fill_the_memory_of_its_readers_is_refused(field: str) -> None:
    fields: dict[str, Any] = {"source": "requests-0-1", "truth": "cat", "by": "ann"}
    room = MOST_LABEL_BYTES - len(encode_label(Label(**fields | {field: ""})))
    assert decode_label(encode_label(Label(**fields | {field: "x" * room})))
    with pytest.raises(msgspec.DecodeError, match="65,537 bytes"):
        decode_label(encode_label(Label(**fields | {field: "x" * (room + 1)})))
