"""The recorded case studies with what is known of the local answers: what `make fit-check` and `make trust` learn on.

imdb and SQuADv2 are the paper's. For many classes there is a third: handwritten digits, shifted and under noise, as a
coarse logistic regression and a support vector machine see them. It is computed here, the same each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bisupervised.agents.supervision.choosing.evidence import Evidence
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.streams.offline.replicate import load_case, present
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: images that both models of the digits are trained on; the others are recorded, each in some versions
_TRAINED = 600
_VERSIONS = 10


@dataclass(frozen=True, slots=True)
class Recorded:
    """A case study as a population."""

    name: str
    recording: Recording
    evidence: Evidence
    default: str  #: name of the score that is recorded


def recorded_cases(folder: Path) -> list[Recorded]:
    """All of them; those of the paper whose files are in the folder."""
    found = []
    for case in present(folder):
        recording = load_case(case, folder)
        if recording.local.predictions is None:
            found.append(Recorded(case.name, recording, Evidence({_TOKENS: recording.local.scores}), _TOKENS))
        else:
            evidence = Evidence({}, _of_two(recording.local))
            found.append(Recorded(case.name, recording, evidence, "max_softmax"))
    return [*found, digits()]


#: the span's probability is what a model of answers in words gives
_TOKENS = "token_product"


def _of_two(side: Side) -> Floats:
    """The probabilities of two classes, from the answered one and its confidence."""
    answered = np.asarray(side.predictions, dtype=np.intp)[:, None] == np.arange(2)
    return np.where(answered, side.scores[:, None], 1.0 - side.scores[:, None])


def digits() -> Recorded:
    """Ten classes. The remote model sees all of an image, the local one sixteen numbers of it."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    chance = np.random.default_rng(0)
    known = load_digits()
    order = chance.permutation(len(known.target))
    images, labels = known.images[order] / 16.0, known.target[order]
    train, fresh = images[:_TRAINED], np.repeat(images[_TRAINED:], _VERSIONS, axis=0)
    truth = np.repeat(labels[_TRAINED:], _VERSIONS)
    moves = chance.integers(-1, 2, (len(fresh), 2)) * (chance.random((len(fresh), 1)) < 0.4)
    fresh = np.stack([np.roll(image, move, axis=(0, 1)) for image, move in zip(fresh, moves, strict=True)])
    fresh = fresh + chance.normal(0.0, 1.0, fresh.shape) * chance.uniform(0.0, 0.35, (len(fresh), 1, 1))
    small = LogisticRegression(C=3.0, max_iter=2000).fit(_coarse(train), labels[:_TRAINED])
    large = SVC(gamma=0.03, C=10.0).fit(_flat(train), labels[:_TRAINED])
    probabilities = small.predict_proba(_coarse(fresh))
    decided = np.sort(large.decision_function(_flat(fresh)), axis=1)
    local, remote = probabilities.argmax(axis=1), large.predict(_flat(fresh))
    sides = (
        Side(probabilities.max(axis=1), local == truth, local),
        Side(decided[:, -1] - decided[:, -2], remote == truth, remote),
    )
    return Recorded("digits", Recording(*sides), Evidence({}, probabilities), "max_softmax")


def _flat(images: Floats) -> Floats:
    return images.reshape(len(images), -1)


def _coarse(images: Floats) -> Floats:
    """Means over squares of four."""
    return _flat(images.reshape(len(images), 4, 2, 4, 2).mean(axis=(2, 4)))
