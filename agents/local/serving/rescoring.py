"""The learned score of answers that came over a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...answers import Answer, Details
from ...supervision.learned.deferral import DeferralModel, length_of
from ...supervision.scores import usable


def rescored(answers: Sequence[Answer], inputs: Sequence[Any], learned: DeferralModel) -> list[Answer]:
    """The answers with the learned score in place of their own; none where an answer lacks what that reads.

    The answers have their `Details`.
    """
    told = [
        at for at, answer in enumerate(answers) if answer.details is not None and _suffices(answer.details, learned)
    ]
    scores: list[float | None] = [None] * len(answers)
    if told:
        details = [answers[at].details or Details() for at in told]
        lengths = np.array([length_of(inputs[at]) for at in told], np.float64) if learned.length else None
        for at, score in zip(told, _scores(details, learned, lengths).tolist(), strict=True):
            scores[at] = usable(score)
    return [msgspec.structs.replace(answer, score=score) for answer, score in zip(answers, scores, strict=True)]


def _suffices(details: Details, learned: DeferralModel) -> bool:
    if learned.features is not None:  # a server puts out none
        return False
    if learned.reads == "classes":
        return details.probabilities is not None and len(details.probabilities) == len(learned.gains)
    return all(name in details.scores for name in learned.scores)


def _scores(
    details: Sequence[Details], learned: DeferralModel, lengths: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    if learned.reads == "classes":
        return learned.of_classes(np.array([each.probabilities for each in details], np.float64), lengths)
    columns = {name: np.array([each.scores[name] for each in details], np.float64) for name in learned.scores}
    return learned.of_tokens(columns, lengths)
