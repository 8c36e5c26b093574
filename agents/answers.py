"""What a model says about one input, and how what it puts out becomes that, local or remote.

Every reader raises `ValueError` or `TypeError` where that is not what it should be; the caller says whose it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from .supervision.class_scores import likeliest, probabilities
from .supervision.learned.deferral import DeferralModel, Features
from .supervision.sample_scores import agreement, modal
from .supervision.scores import SCORES, Kind, every_score, fitting, max_softmax, predictions, usable
from .supervision.temperature import scaled

#: what a model puts out for each input:
#:   logits, probabilities   a row of classes
#:   scored                  a pair of a prediction and a score of its own making
#:   tokens                  a pair of a text and the log-probabilities of its tokens
#:   samples                 a list of answers to the same input
Output = Literal["logits", "probabilities", "scored", "tokens", "samples"]
#: what a score can read of it; several samples of class outputs can be had by asking several times
_KINDS: dict[Output, tuple[Kind, ...]] = {
    "logits": ("classes", "samples"),
    "probabilities": ("classes", "samples"),
    "scored": (),
    "tokens": ("tokens",),
    "samples": ("samples",),
}
_CLASSES = ("logits", "probabilities")
#: what a learned score can be made of
_LEARNED = (*_CLASSES, "tokens")


class Details(msgspec.Struct, frozen=True):
    """What else a model's output says: read for a recording, never on an event's way."""

    scores: dict[str, float] = {}  #: every score that fits and could be computed, by its name
    probabilities: list[float] | None = None  #: of all classes; None where there are none
    labels: list[Any] | None = None  #: what these classes are called, in their order; None: their indices
    features: list[float] | None = None  #: what the model puts out besides; None where it puts out none


class Answer(msgspec.Struct, frozen=True, gc=False):  # made per event, and holds JSON, which has no cycles
    """One answer."""

    prediction: Any  #: any JSON value
    score: float | None  #: higher is more trustworthy; None when there is none
    unscored: str = ""  #: why there is none, where that is known
    details: Details | None = None  #: None where nobody asked for them


@dataclass(frozen=True, slots=True)
class Besides:
    """What a learned score reads of n inputs besides their answers."""

    lengths: NDArray[np.float64] | None = None  #: (n,); None where nobody reads them
    features: Features | None = None  #: (n, k); None where the model gives none, or nobody reads them


_NOTHING = Besides()


@dataclass(frozen=True, slots=True)
class ClassReading:
    """How rows of class outputs are read."""

    logits: bool  #: False: they are probabilities
    labels: tuple[Any, ...] = ()  #: what the classes are called; empty: their indices
    score: str = "max_softmax"  #: a name in `SCORES`
    temperature: float = 1.0  #: logits are divided by it before they are scored
    detailed: bool = False  #: every score, and the probabilities, come along


def scores_for(output: Output) -> list[str]:
    """The names of the scores that fit what a model puts out; none for "scored", whose scores are its own."""
    return fitting(*_KINDS[output])


def unfit(
    output: Output, score: str, samples: int, temperature: float, *, features: bool = False
) -> list[tuple[str, str]]:
    """Which of these settings do not fit the others: each one's key, and what it must be."""
    fit = scores_for(output)
    found = [
        (
            "supervisor",
            bool(fit) and score not in fit,
            f'must be one of {", ".join(fit)} for output = "{output}" (got {score!r})',
        ),
        (
            "samples",
            samples > 1 and not (score == "agreement" and output in _CLASSES),
            f'must be 1 unless supervisor = "agreement" judges class outputs (got {samples})',
        ),
        (
            "samples",
            samples < 2 and score == "agreement" and output in _CLASSES,
            f'must be at least 2 for supervisor = "agreement" (got {samples})',
        ),
        (
            "temperature",
            temperature != 1.0 and not (output == "logits" and score != "agreement"),
            f'must be 1 unless output = "logits", and for supervisor = "agreement" (got {temperature})',
        ),
        (
            "features",
            features and (samples > 1 or output not in _LEARNED),
            f"must be false: a learned score reads {', '.join(_LEARNED)} of a model that is asked once",
        ),
    ]
    return [(key, text) for key, is_unfit, text in found if is_unfit]


def read_classes(
    outputs: NDArray[Any],
    asked: int,
    reading: ClassReading,
    learned: DeferralModel | None = None,
    besides: Besides = _NOTHING,
) -> list[Answer]:
    """One answer per row of `outputs` (n, classes); with a learned score in place of the reading's, where there is one.

    Raises `ValueError` where there are more or fewer rows than were asked for, for a shape that is not
    (n, classes), for probabilities that are none, and for labels that do not name every class.
    """
    _check_rows(outputs, asked)
    table = scaled(outputs, reading.temperature) if reading.logits and reading.temperature != 1.0 else outputs
    if learned is None:
        scores = SCORES[reading.score].compute(table, logits=reading.logits)
    else:
        rows = probabilities(table, logits=reading.logits)
        scores = learned.of_classes(rows, besides.lengths, besides.features)
    _check_labels(outputs.shape[1], reading.labels)
    answers = _answers(_named(predictions(outputs).tolist(), reading.labels), scores)
    return _detailed(answers, table, reading, besides.features) if reading.detailed else answers


def read_rows(rows: Sequence[Sequence[Any]], reading: ClassReading) -> list[Answer]:
    """`read_classes` of rows that are lists of numbers, in the way that is the shorter one for them."""
    answer = _likely(rows[0], reading) if len(rows) == 1 else None
    if answer is not None:
        return [answer]
    return read_classes(np.array(rows, dtype=np.float64), len(rows), reading)


def _likely(row: Sequence[Any], reading: ClassReading) -> Answer | None:
    """The answer of one row of probabilities by the usual score; None where `read_classes` is to see to it."""
    if reading.logits or reading.detailed or reading.score != "max_softmax":
        return None
    found = likeliest(row)
    if found is None or (reading.labels and len(reading.labels) != len(row)):
        return None
    index, score = found
    return Answer(reading.labels[index] if reading.labels else index, score)


def _detailed(
    answers: list[Answer], table: NDArray[Any], reading: ClassReading, features: Features | None
) -> list[Answer]:
    rows = probabilities(table, logits=reading.logits).tolist()
    labels = list(reading.labels) or None
    every = every_score("classes", table, logits=reading.logits)
    return [
        msgspec.structs.replace(answer, details=Details(scores, row, labels, numbers))
        for answer, scores, row, numbers in zip(answers, every, rows, _shortest(features, len(answers)), strict=True)
    ]


def _shortest(features: Features | None, n: int) -> Sequence[list[float] | None]:
    """The features of n inputs in as few digits as tell them apart; None for an input with one that is not finite."""
    if features is None:
        return [None] * n
    rows: list[list[float]] = orjson.loads(orjson.dumps(features, option=orjson.OPT_SERIALIZE_NUMPY))
    finite: list[bool] = np.isfinite(features).min(axis=1).tolist()
    return [row if is_finite else None for row, is_finite in zip(rows, finite, strict=True)]


def unreadable(
    learned: DeferralModel, output: Output, samples: int, labels: tuple[Any, ...] | None, *, features: bool = False
) -> list[tuple[str, str]]:
    """Why a learned score cannot be made of what a model puts out: the settings that say so, and what each must be.

    `labels`: what the model's classes are called, () for their indices; None where that is not known yet. `features`:
    whether what it puts out besides is read.
    """
    wanted = _CLASSES if learned.reads == "classes" else ("tokens",)
    outputs = " or ".join(f'"{name}"' for name in wanted)
    needs = f"the learned score of [thresholds] file reads {learned.needs}"
    found = [
        ("output", output not in wanted, f'must be {outputs}: {needs} (got "{output}")'),
        ("samples", samples != 1, f"must be 1: {needs} (got {samples})"),
        ("labels", labels is not None and not _same_classes(learned, labels), f"must be those: {needs} (got {labels})"),
        ("features", learned.features is not None and not features, f"must be true: {needs}"),
    ]
    return [(key, text) for key, is_unfit, text in found if is_unfit]


def _same_classes(learned: DeferralModel, labels: tuple[Any, ...]) -> bool:
    if learned.labels:
        return labels == learned.labels
    return learned.reads == "tokens" or not labels or len(labels) == len(learned.gains)


def read_class_samples(outputs: Sequence[NDArray[Any]], asked: int, reading: ClassReading) -> list[Answer]:
    """One answer per input from k samples of its class outputs, each (n, classes): the modal class, and how many
    of the k agree on it. A sample with NaN leaves its input without a score.

    Raises as `read_classes` does.
    """
    votes = zip(*(_classes(sample, asked, reading) for sample in outputs), strict=True)
    samples = [list(classes) for classes in votes]
    return _answers(_named(modal(samples), reading.labels), agreement(samples))


def _classes(outputs: NDArray[Any], asked: int, reading: ClassReading) -> list[int | None]:
    _check_rows(outputs, asked)
    known = np.isfinite(max_softmax(outputs, logits=reading.logits)).tolist()
    _check_labels(outputs.shape[1], reading.labels)
    return [index if is_known else None for index, is_known in zip(predictions(outputs).tolist(), known, strict=True)]


def read_tokens(
    outputs: Sequence[Any],
    asked: int,
    score: str,
    learned: DeferralModel | None = None,
    besides: Besides = _NOTHING,
    *,
    detailed: bool = False,
) -> list[Answer]:
    """One answer per pair of a text and its tokens' log-probabilities. Raises as the score does."""
    pairs = _pairs(outputs, asked)
    logprobs = [plain(told) for _, told in pairs]
    if learned is None:
        scores = SCORES[score].compute(logprobs)
    else:
        known = {name: SCORES[name].compute(logprobs) for name in learned.scores}
        scores = learned.of_tokens(known, besides.lengths, besides.features)
    answers = _answers([plain(text) for text, _ in pairs], scores)
    if not detailed:
        return answers
    every = every_score("tokens", logprobs)
    return [
        msgspec.structs.replace(answer, details=Details(scores, features=numbers))
        for answer, scores, numbers in zip(answers, every, _shortest(besides.features, len(answers)), strict=True)
    ]


def read_samples(outputs: Sequence[Any], asked: int) -> list[Answer]:
    """One answer per list of samples: the modal one, the earliest of equally frequent, and the share that agrees."""
    _check_rows(outputs, asked)
    samples = [_plain_samples(answers) for answers in outputs]
    return _answers(modal(samples), agreement(samples))


def _plain_samples(answers: Any) -> Any:  # noqa: ANN401 - what a user's model returns
    return [plain(answer) for answer in answers] if isinstance(answers, list | tuple) else plain(answers)


def read_pairs(outputs: Sequence[Any], asked: int) -> list[Answer]:
    """One answer per pair of a prediction and a score of the model's own."""
    return [Answer(plain(prediction), usable(score)) for prediction, score in _pairs(outputs, asked)]


def plain(value: Any) -> Any:  # noqa: ANN401 - a numpy or torch scalar or array as JSON knows it, else as it is
    """What JSON knows in place of a numpy or torch scalar or array; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def _pairs(outputs: Sequence[Any], asked: int) -> list[tuple[Any, Any]]:
    _check_rows(outputs, asked)
    return [(first, second) for first, second in outputs]


def _answers(named: Sequence[Any], scores: NDArray[np.float64]) -> list[Answer]:
    if np.isfinite(scores).all():
        return list(map(Answer, named, scores.tolist()))
    return list(map(Answer, named, map(usable, scores.tolist())))


def _named(classes: Sequence[int | None], labels: tuple[Any, ...]) -> Sequence[Any]:
    return [None if index is None else labels[index] for index in classes] if labels else classes


def _check_rows(outputs: Sequence[Any] | NDArray[Any], asked: int) -> None:
    rows = 1 if isinstance(outputs, np.ndarray) and not outputs.ndim else len(outputs)
    if rows != asked:
        raise ValueError(f"{rows} answers to {asked} inputs")


def _check_labels(classes: int, labels: tuple[Any, ...]) -> None:
    if labels and len(labels) != classes:
        raise ValueError(f"{len(labels)} labels for {classes} classes")
