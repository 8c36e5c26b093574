from __future__ import annotations

import pytest
from bisupervised.agents.remote.batching import BatchPolicy, Shaped, cut
from bisupervised.agents.remote.protocols.open_inference import OpenInference


def groups(words: list[str], most: int) -> list[list[str]]:
    """Words are their own size; their first letter is their shape."""
    return cut(words, len, lambda word: word[0], BatchPolicy(most))


@pytest.mark.parametrize(
    ("words", "most", "expected"),
    [
        ([], 10, []),
        (["a1", "a2"], 10, [["a1", "a2"]]),
        (["a1", "b1", "a2", "b2"], 10, [["a1", "a2"], ["b1", "b2"]]),
        (["a1", "a2", "a3"], 4, [["a1", "a2"], ["a3"]]),
        (["a1", "a2", "a3"], 3, [["a1"], ["a2"], ["a3"]]),
        (["a1", "a-long-one", "a2"], 4, [["a1"], ["a-long-one"], ["a2"]]),  # larger than the bound: alone
        (["a1", "b1", "a2", "a3", "b2"], 4, [["a1", "a2"], ["b1", "b2"], ["a3"]]),
    ],
)
def test_a_batch_is_cut_by_shape_and_bytes(words: list[str], most: int, expected: list[list[str]]) -> None:
    assert groups(words, most) == expected


def test_what_fills_the_bound_exactly_still_fits() -> None:
    assert groups(["a123", "a4567"], 9) == [["a123", "a4567"]]
    assert groups(["a123", "a4567"], 8) == [["a123"], ["a4567"]]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ([0.5, 0.5], [1, 0], True),
        ([0.5, 0.5], [0.5], False),
        ([[1], [2]], [[1, 2]], False),
        ("text", "longer text", True),
        ("text", [0.5], False),
        ([[1], [2, 3]], [[4], [5, 6]], True),  # neither is a tensor; both are refused
    ],
)
def test_open_inference_sends_only_equal_shapes_together(one: object, other: object, together: bool) -> None:
    protocol = OpenInference("big")
    assert isinstance(protocol, Shaped)
    assert (protocol.shape_of(one) == protocol.shape_of(other)) is together
