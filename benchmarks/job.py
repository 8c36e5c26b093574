"""The job of the contest: requests of 300 bytes, a model that takes no time, and a check of the outcomes.

A request contains the answer of the model, so that every candidate makes the same decisions without inference.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

#: a score below it is doubtful
THRESHOLD = 0.5
#: share of the requests that are doubtful
DOUBTFUL = 0.2
CLASSES = 3
VALUE_BYTES, KEYS = 300, 1000


class FreeModel:
    """The model of our worker: the likely class of an input gets the score that the input names."""

    def __call__(self, inputs: Sequence[Any]) -> NDArray[np.float64]:
        """Probabilities of three classes."""
        scores = np.array([said["score"] for said in inputs])
        answers = np.repeat((1.0 - scores)[:, None] / (CLASSES - 1), CLASSES, axis=1)
        answers[np.arange(len(inputs)), [said["likely"] for said in inputs]] = scores
        return answers


def scores(records: int) -> list[float]:
    """The scores of the first requests, the same each time. The likely class always has the highest probability."""
    dice = random.Random(0)
    return [
        round(dice.uniform(0.4, 0.49) if dice.random() < DOUBTFUL else dice.uniform(0.51, 1.0), 3)
        for _ in range(records)
    ]


def requests(records: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the first requests."""
    for number, score in enumerate(scores(records)):
        said = {"likely": number % CLASSES, "score": score, "text": ""}
        bare = len(orjson.dumps({"id": number, "input": said}))
        said["text"] = "x" * (VALUE_BYTES - bare)
        yield b"key %d" % (number % KEYS), orjson.dumps({"id": number, "input": said})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One record of an output topic."""

    doubtful: bool  #: which of the two topics
    value: bytes
    appended_ms: int  #: when the broker wrote it


def faults(records: int, outcomes: Sequence[Outcome], *, decides: bool = True) -> list[str]:
    """What is wrong. Each request must have one outcome in the right topic, with the right prediction where trusted.

    A candidate that does not decide must have copied every request into `results`.
    """
    doubts = [decides and score < THRESHOLD for score in scores(records)]
    seen: set[int] = set()
    wrong = 0
    for outcome in outcomes:
        said = orjson.loads(outcome.value)
        number = said["id"]
        seen.add(number)
        predicted = said["prediction"] if decides and not outcome.doubtful else number % CLASSES
        wrong += outcome.doubtful != doubts[number] or predicted != number % CLASSES
    told = {"lost": records - len(seen), "more than once": len(outcomes) - len(seen), "wrong": wrong}
    return [f"{count:,} {what}" for what, count in told.items() if count]
