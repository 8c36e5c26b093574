"""Scores of free text: from the log-probabilities of its tokens, or from the agreement of several answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

#: written by servers for a token outside their top list, whose log-probability they do not tell
UNKNOWN = -9999.0

#: one score per list of log-probabilities, NaN for none
TokenScore = Callable[[Sequence[Sequence[float | None]]], NDArray[np.float64]]


def _scored(reduce: Callable[[NDArray[np.float64]], float]) -> TokenScore:
    def compute(logprobs: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
        return np.array([_score(tokens, reduce) for tokens in logprobs], dtype=np.float64)

    return compute


def _score(tokens: Sequence[float | None], reduce: Callable[[NDArray[np.float64]], float]) -> float:
    known = np.array(tokens, dtype=np.float64)
    if not known.size or not (known > UNKNOWN).all():  # NaN is not
        return math.nan
    return math.exp(min(reduce(known), 0.0))


TOKEN_SCORES: dict[str, TokenScore] = {
    "token_mean": _scored(lambda tokens: float(tokens.mean())),
    "token_min": _scored(lambda tokens: float(tokens.min())),
    "token_product": _scored(lambda tokens: float(tokens.sum())),
    "token_first": _scored(lambda tokens: float(tokens[0])),
}


def agreement(samples: Sequence[Any]) -> tuple[Any, float]:
    """The most frequent answer, the earliest of equally frequent ones, and the share of `samples` that give it."""
    votes = [orjson.dumps(sample, option=orjson.OPT_SORT_KEYS) for sample in samples]
    [(winner, count)] = Counter(votes).most_common(1)
    return samples[votes.index(winner)], count / len(votes)
