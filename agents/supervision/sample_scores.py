"""Agreement of several answers to the same input: samples of a language model, or of a model with dropout.

Samples are JSON values, and equal where their JSON is: 1 is not true, and "Paris" is not "paris". An input with
fewer than two samples, or one that is missing (None, NaN), has no score: one answer always agrees with itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray


def agreement(samples: Sequence[Sequence[Any]]) -> NDArray[np.float64]:
    """The share of an input's k samples that give its modal answer, (n,) in 1/k..1; NaN where there is no score.

    That is 1 - the variation ratio, so higher is more trustworthy. Where two answers are equally frequent, the
    share is that of either. Sources: Freeman, Elementary Applied Statistics, 1965; Gal and Ghahramani, Dropout
    as a Bayesian Approximation, ICML 2016, for models with dropout. Raises `ValueError` where an input comes
    with something else than a list of samples, `TypeError` for a sample that is no JSON value.
    """
    return np.array([_agreement(answers) for answers in samples], dtype=np.float64)


def modal(samples: Sequence[Sequence[Any]]) -> list[Any]:
    """Each input's most frequent answer, the earliest of equally frequent ones; None where there is none.

    Raises as `agreement` does.
    """
    return [_modal(answers) for answers in samples]


def _agreement(answers: Sequence[Any]) -> float:
    votes = _votes(answers)
    if len(votes) < 2 or None in votes:
        return math.nan
    return max(Counter(votes).values()) / len(votes)


def _modal(answers: Sequence[Any]) -> Any:  # noqa: ANN401 - any JSON value
    votes = _votes(answers)
    given = Counter(vote for vote in votes if vote is not None)
    if not given:
        return None
    [(winner, _)] = given.most_common(1)  # of equals, the one that was counted first
    return answers[votes.index(winner)]


def _votes(answers: Sequence[Any]) -> list[bytes | None]:
    if isinstance(answers, str | bytes) or not isinstance(answers, Sequence | np.ndarray):
        raise ValueError(f"the samples of an input must be a list of answers, not {type(answers).__name__}")
    return [_vote(answer) for answer in answers]


def _vote(answer: Any) -> bytes | None:  # noqa: ANN401 - any JSON value
    # compared as text, for JSON's lists and objects cannot be counted, and Python takes 1 for True
    vote = orjson.dumps(answer, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return None if vote == b"null" else vote  # NaN, which JSON does not have, is null, too
