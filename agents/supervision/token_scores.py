"""Scores of a free-text answer, from the log-probabilities (natural logarithm) of its tokens.

Each takes one list of log-probabilities per answer, of any lengths, and gives (n,) scores. All are turned into
probabilities, 0..1, so that thresholds mean the same for every score and higher is more trustworthy.

An answer has no score, NaN, where it has no tokens, or one whose log-probability is not known: None, NaN, or
the -9999.0 that servers write for a token outside their top list (so -inf, too). A positive log-probability is a
`ValueError`: there is none, so something else was sent, and taken for one it would pass every threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .class_scores import PROBABILITY_SLACK

#: written by OpenAI's and similar servers for a token whose log-probability they do not tell
UNKNOWN = -9999.0

#: the log-probabilities of one answer's tokens; None where the model gave none
Tokens = Sequence[float | None] | NDArray[np.floating] | None


def token_mean(logprobs: Sequence[Tokens]) -> NDArray[np.float64]:
    """The geometric mean of the tokens' probabilities, exp(mean): the likelihood, made fair to long answers.

    Source: Malinin and Gales, Uncertainty Estimation in Autoregressive Structured Prediction, ICLR 2021.
    """
    return _scores(logprobs, lambda tokens: float(tokens.mean()))


def token_min(logprobs: Sequence[Tokens]) -> NDArray[np.float64]:
    """The probability of the least likely token.

    Source: Weiss and Tonella, Adopting Two Supervisors, 2023, for GPT-3's answers to SQuADv2.
    """
    return _scores(logprobs, lambda tokens: float(tokens.min()))


def token_product(logprobs: Sequence[Tokens]) -> NDArray[np.float64]:
    """The likelihood of the whole answer, exp(sum): the product of the tokens' probabilities.

    Source: Malinin and Gales, Uncertainty Estimation in Autoregressive Structured Prediction, ICLR 2021.
    """
    return _scores(logprobs, lambda tokens: float(tokens.sum()))


def token_first(logprobs: Sequence[Tokens]) -> NDArray[np.float64]:
    """The probability of the first token, for answers that it decides, such as the name of a class.

    Source: Weiss and Tonella, Adopting Two Supervisors, 2023, for GPT-3's answers to imdb.
    """
    return _scores(logprobs, lambda tokens: float(tokens[0]))


def _scores(logprobs: Sequence[Tokens], reduce: Callable[[NDArray[np.float64]], float]) -> NDArray[np.float64]:
    return np.array([_score(_known(tokens), reduce) for tokens in logprobs], dtype=np.float64)


def _score(tokens: NDArray[np.float64] | None, reduce: Callable[[NDArray[np.float64]], float]) -> float:
    return math.nan if tokens is None else math.exp(reduce(tokens))


def _known(tokens: Tokens) -> NDArray[np.float64] | None:
    """The log-probabilities of one answer; None where one of them is not known, or there are none."""
    if tokens is None or len(tokens) == 0:
        return None
    if all(isinstance(token, float) and UNKNOWN < token <= 0.0 for token in tokens):  # as in most answers
        return np.array(tokens, dtype=np.float64)
    known = np.asarray(tokens, dtype=np.float64)  # None becomes NaN
    if known.ndim != 1 or any(isinstance(token, str | bool) for token in tokens):
        raise ValueError("an answer's log-probabilities must be one list of numbers")
    if (known > PROBABILITY_SLACK).any():
        raise ValueError(f"a log-probability must be 0 or less, not {known.max():.6g}")
    if np.isnan(known).any() or (known <= UNKNOWN).any():
        return None
    return np.minimum(known, 0.0)
