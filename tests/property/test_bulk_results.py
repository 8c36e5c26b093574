"""Results of batches, whatever a server writes and however it is cut: lines come whole, and nothing raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import orjson
import pytest
from bisupervised.agents.remote.bulk import anthropic_batch, openai_batch
from bisupervised.agents.remote.bulk.exchange import split
from bisupervised.agents.remote.bulk.provider import LineResult
from hypothesis import given
from hypothesis import strategies as st

READERS: list[Callable[[bytes], LineResult]] = [openai_batch._result_of, anthropic_batch._result_of]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
#: documents that are nearly results
FIELDS = ("custom_id", "response", "error", "result", "status_code", "body", "code", "message", "type", "request_id")
KINDS = st.sampled_from(["succeeded", "errored", "canceled", "expired", "batch_expired", "other", ""])
RESULTS = st.recursive(
    JSON | KINDS | st.sampled_from([200, 0, 99, 600, -1]),
    lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)


def lines_in(chunks: list[bytes], most: int) -> list[bytes | None]:
    async def coming() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def gathered() -> list[bytes | None]:
        return [line async for line in split(coming(), most)]

    return asyncio.run(gathered())


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\n", b"\r\n", b" "]), max_size=12), st.integers(1, 40))
def test_lines_are_the_same_wherever_the_stream_is_cut(chunks: list[bytes], most: int) -> None:
    whole = b"".join(chunks)
    expected = [None if len(line) > most else line.strip() for line in whole.split(b"\n")]
    found = lines_in(chunks, most)
    assert found == [line for line in expected if line is None or line]
    assert found == lines_in([whole[at : at + 1] for at in range(len(whole))], most)


@pytest.mark.parametrize("read", READERS)
@given(line=st.binary(max_size=60) | RESULTS.map(orjson.dumps))
def test_any_line_is_a_result_or_unreadable(read: Callable[[bytes], LineResult], line: bytes) -> None:
    result = read(line)
    assert isinstance(result.custom_id, str)
    if result.response is None:
        assert result.code in ("expired", "cancelled", "failed", "unreadable")
    else:
        assert result.code == ""
        assert 100 <= result.response.status < 600
        assert isinstance(result.response.body, bytes)
    assert len(result.error) <= 200
