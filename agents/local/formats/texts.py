"""Texts of unequal length in batches with little padding, and which positions go together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: tokens from which on a bound means that there is none
_ENORMOUS = 1_000_000
#: positions that some models keep for themselves (RoBERTa and its like)
_RESERVED = 2
#: tokens that are read where nobody says how many
_USUAL = 512


def text_of(value: Any) -> str | tuple[str, str]:  # noqa: ANN401  # any JSON value
    """A text, or a pair of texts. Raises `ValueError` for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return value[0], value[1]
    raise ValueError(f"the model takes a text, or a list of two texts, and not {type(value).__name__}")


def cut_by_length(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions in pieces, the shortest first. A piece holds one at least, and takes at most `budget` tokens once all
    are padded to its longest.
    """
    pieces: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        longest = lengths[position]  # so far: they grow
        if pieces and (len(pieces[-1]) + 1) * longest <= budget:
            pieces[-1].append(position)
        else:
            pieces.append([position])
    return pieces


def in_order(pieces: Sequence[Sequence[int]], outputs: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """The rows of all pieces, (n, …), each at its position."""
    rows = np.concatenate(list(outputs))
    ordered = np.empty_like(rows)
    ordered[[position for piece in pieces for position in piece]] = rows
    return ordered


def all_in_order(pieces: Sequence[Sequence[int]], outputs: Iterable[Sequence[NDArray[Any]]]) -> Any:  # noqa: ANN401  # an array, or a tuple of several
    """The same for all that each piece puts out: an array where it puts out one, else a tuple of several."""
    columns = [in_order(pieces, column) for column in zip(*outputs, strict=True)]
    return columns[0] if len(columns) == 1 else tuple(columns)


def encoded_by_kind(
    inputs: Sequence[Any], encode: Callable[[list[str], list[str] | None], Mapping[str, list[list[int]]]]
) -> dict[str, list[list[int]]]:
    """Every column that `encode` makes of texts, and of pairs, each row at its input's position.

    `encode` takes the first texts and the second ones, None where there are none.
    """
    texts = [text_of(value) for value in inputs]
    columns: dict[str, list[list[int]]] = {}
    for paired in (False, True):
        positions = [position for position, text in enumerate(texts) if isinstance(text, tuple) == paired]
        if positions:
            parts = [(text, "") if isinstance(text, str) else text for text in (texts[at] for at in positions)]
            seconds = [second for _, second in parts] if paired else None
            for name, rows in encode([first for first, _ in parts], seconds).items():
                column = columns.setdefault(name, [[] for _ in texts])
                for position, row in zip(positions, rows, strict=True):
                    column[position] = row
    return columns


def longest_of(told: float | None, positions: int | None) -> int:
    """Tokens of the longest text that a model reads: what its tokenizer says, else what it has positions for.

    A tokenizer that does not know says so with an enormous number, or not at all.
    """
    if told is not None and told < _ENORMOUS:
        return int(min(told, positions or told))
    return positions - _RESERVED if positions else _USUAL
