"""Classes that a server writes as text: JSON, or a mapping as Python writes it.

{"label": "positive", "score": 0.99}            one class and its probability, as pipelines of Hugging Face write it
[{"label": "positive", "score": 0.99}, …]       all of them, or the likeliest
{"negative": 0.01, "positive": 0.99}            a mapping by name
{0: 0.01, 1: 0.99}                              a mapping by index, as KServe writes it
[0.01, 0.99]                                    in the order of the classes

Triton's classification writes a text a class: 0.99:1:positive.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ....schemas.errors import InvalidAnswer
from ...answers import Answer, ClassReading, read_rows
from ..protocol import brief
from .labels import one_of
from .lenient_json import document_in

#: a class as Triton writes it: its value, its index and its name, if it has one
_CLASSIFIED = re.compile(r"\s*([-+.\deE]{1,40}|-?inf|nan):(\d{1,9})(?::(.*))?", re.DOTALL)
#: a number in a text; a percentage is one, too
_NUMBER = re.compile(r"\s*([-+]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][-+]?\d{1,3})?)\s*(%?)\s*")
#: digits of a class's number
_MOST_DIGITS = 9
#: names that pipelines give to classes without one
_NUMBERED = re.compile(r"(?:LABEL|CLASS)_(\d+)", re.IGNORECASE)


def read_texts(texts: Sequence[Any], asked: int, reading: ClassReading, *, exact: bool) -> list[Answer]:
    """One answer per text. Raises `ValueError` where there are more or fewer, or one holds no classes."""
    if len(texts) != asked:
        raise ValueError(f"{len(texts)} answers to {asked} inputs")
    return [_answer(_parsed(text), text, reading, exact=exact) for text in texts]


def are_classified(texts: Sequence[str]) -> bool:
    """Whether each is a class as Triton writes it."""
    return all(map(_CLASSIFIED.fullmatch, texts))


def read_classified(rows: Sequence[Sequence[str]], reading: ClassReading, *, exact: bool) -> list[Answer]:
    """One answer per row of texts, each a class. Raises `ValueError` where they are none."""
    found = [[_CLASSIFIED.fullmatch(text) for text in row] for row in rows]
    return [
        _answer(
            [{"label": each[3] or each[2], "score": float(each[1])} for each in row if each], row, reading, exact=exact
        )
        for row in found
    ]


def number_of(value: Any) -> float | None:  # noqa: ANN401  # whatever stands for a score
    """A finite number, or one that is written as text; None for null. Raises `ValueError` for anything else."""
    if value is None:
        return None
    written = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if written:
        return float(written[1]) / (100.0 if written[2] else 1.0)
    if not _is_number(value):
        raise ValueError(f"a score is {_shown(value)}")
    return float(value)


def _parsed(text: Any) -> Any:  # noqa: ANN401  # whatever stands in it
    if not isinstance(text, str):
        return text
    try:
        return document_in(text)
    except ValueError as error:
        raise ValueError(
            f'a text is neither JSON nor a mapping: {_shown(text)}; for plain texts set output = "scored"'
        ) from error


def _answer(found: Any, text: Any, reading: ClassReading, *, exact: bool) -> Answer:  # noqa: ANN401  # as above
    while isinstance(found, list) and len(found) == 1:  # pipelines write a list for each of a list
        found = found[0]
    if isinstance(found, list) and found and all(_is_number(each) for each in found):
        [answer] = read_rows([found], reading)
        return answer
    classes = _classes(found)
    if None in classes.values() and _are_rows(found if isinstance(found, list) else [found]):
        name = next(iter(classes))  # the likeliest comes first
        return Answer(_name(name, reading.labels, exact=exact), None, "the remote told no score of a class")
    if not classes or not all(_is_number(value) for value in classes.values()):
        raise ValueError(f"a text holds no classes with their scores: {_shown(text)}")
    names = {name: _name(name, reading.labels, exact=exact) for name in classes}
    if len(classes) > 1 and len(set(names.values())) == len(classes) and not _incomplete(classes, reading):
        return _of_all({names[name]: float(value) for name, value in classes.items()}, reading)
    return _of_one(classes, names, reading)


def _classes(found: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
    """The classes by name, each with its score."""
    rows = found if isinstance(found, list) else [found]
    if _are_rows(rows):
        return {str(row["label"]): _as_number(row.get("score")) for row in rows}
    if len(rows) == 1 and isinstance(rows[0], dict):
        return {str(name): _as_number(value) for name, value in rows[0].items()}
    return {}


def _are_rows(rows: Sequence[Any]) -> bool:
    return all(isinstance(row, dict) and "label" in row and "score" in row for row in rows)


def _as_number(value: Any) -> Any:  # noqa: ANN401  # as above
    """The number that a text writes; anything else as it is."""
    try:
        return number_of(value)
    except ValueError:
        return value


def _name(name: str, labels: tuple[Any, ...], *, exact: bool) -> Any:  # noqa: ANN401  # as the settings have it
    """What a class is called in the settings: by its place there, or by its own name."""
    if not labels:
        return int(name) if name.isdecimal() else name
    try:
        return class_named(name, labels, exact=exact)
    except InvalidAnswer as error:
        raise ValueError(str(error)) from error


def class_named(name: str, labels: tuple[Any, ...], *, exact: bool) -> Any:  # noqa: ANN401  # as the settings have it
    """The label of a class: by the class's own name, or by its place where it has no name but a number. Raises
    `InvalidAnswer` where it is none.
    """
    numbered = _NUMBERED.fullmatch(name)
    if name in labels or not (name.isdecimal() or numbered):
        return one_of(name, labels, exact=exact)
    digits = numbered.group(1) if numbered else name
    if len(digits) > _MOST_DIGITS or int(digits) >= len(labels):
        raise InvalidAnswer(f"the class {name[:40]!r} is none of the {len(labels)} labels")
    return labels[int(digits)]


def _incomplete(classes: Mapping[str, Any], reading: ClassReading) -> bool:
    """Whether classes are missing: of probabilities the rest of 1, of logits those that the settings name."""
    if reading.labels and len(classes) != len(reading.labels):
        return True
    return not reading.logits and math.fsum(classes.values()) < 1.0 - 0.02


def _of_all(classes: Mapping[Any, float], reading: ClassReading) -> Answer:
    """By the same scores as numbers, in the order of the settings' labels, or else of the classes."""
    names = reading.labels or tuple(sorted(classes) if all(isinstance(name, int) for name in classes) else classes)
    named = reading if reading.labels else replace(reading, labels=names)
    [answer] = read_rows([[classes[name] for name in names]], named)
    return answer


def _of_one(classes: Mapping[str, Any], names: Mapping[str, Any], reading: ClassReading) -> Answer:
    """The likeliest class, where not all are told: its probability is the score, and no other score is known."""
    name = max(classes, key=lambda each: float(classes[each]))
    if reading.logits:
        return Answer(names[name], None, "the remote told the logit of one class, and a score needs those of all")
    return of_one_class(names[name], float(classes[name]), reading.score)


def of_one_class(label: Any, probability: float, score: str) -> Answer:  # noqa: ANN401  # as the settings have it
    """The likeliest class, where no other is told."""
    if not 0.0 <= probability <= 1.0 + 1e-3:
        raise ValueError("probabilities must lie in 0..1")
    if score != "max_softmax":
        return Answer(label, None, f"the remote told one class, and {score} needs all")
    return Answer(label, min(probability, 1.0))


def _is_number(value: Any) -> bool:  # noqa: ANN401  # as above
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(text: Any) -> str:  # noqa: ANN401  # as above
    return repr(brief(text)[:100])
