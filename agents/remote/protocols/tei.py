"""Sequence classification as Text Embeddings Inference serves it: `POST /predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import orjson

from ....schemas.errors import InvalidRequest, RemoteError
from ...answers import Answer, ClassReading, Details, read_rows
from ..protocol import Call, Reply, Usage, complaint_in, raise_for_status, tokens_in
from ..retry import NotAnAnswer
from ..transport import Response
from .labels import one_of
from .lenient_json import decoded
from .text_classes import class_named, number_of, of_one_class


class _Class(msgspec.Struct):
    label: str | int
    score: Any = None


@dataclass(frozen=True, slots=True)
class Tei:
    """Each input is a text, or a pair of texts where `fields` names two. All classes come back, each with its score."""

    model: str = "tei"  #: for the records; the server does not say
    fields: tuple[str, ...] = ()  #: what inputs are made of; (): they are the model's input itself
    labels: tuple[str, ...] = ()  #: the answer is one of these; (): whatever the server's model has
    exact: bool = False  #: to the letter
    score: str = "max_softmax"  #: a name in `SCORES`
    raw_scores: bool = False  #: the server gives logits
    truncate: bool = False  #: the server may cut off an input that is too long; otherwise it refuses it
    path: str = "/predict"
    detailed: bool = False  #: every score, and the probabilities, come along

    def in_detail(self) -> Tei:
        """The same; every score of the classes, and their probabilities, come along."""
        return replace(self, detailed=True)

    def build(self, inputs: Sequence[Any]) -> Call:
        # always lists in a list: a flat list of two texts would be one pair
        document = {
            "inputs": [self._texts(given) for given in inputs],
            "raw_scores": self.raw_scores,
            "truncate": self.truncate,
        }
        return Call(self.path, orjson.dumps(document), {"content-type": "application/json"})

    def _texts(self, given: Any) -> list[str]:  # noqa: ANN401  # any JSON value
        texts = [given[name] for name in self.fields] if self.fields else [given]
        if not all(isinstance(text, str) for text in texts):
            raise InvalidRequest("an input is no text")
        return texts

    def most_answer_tokens(self, asked: int) -> int:
        """Nothing is written: there are no tokens of an answer."""
        return 0

    def estimate(self, inputs: Sequence[Any]) -> int:
        """A token per four bytes of the texts."""
        return sum(tokens_in(len(text.encode())) for given in inputs for text in self._texts(given))

    def raise_for(self, response: Response) -> None:
        """424 is a failure of the model behind the server, and may pass."""
        if response.succeeded:
            return
        said, code = complaint_in(response.body)
        if response.status == 424:
            raise RemoteError(f"the remote answered 424: {said}")
        raise_for_status(response, said, code)

    def read(self, response: Response, asked: int) -> Reply:
        try:
            rows = _rows(decoded(orjson.loads, response.body), asked)
            answers = self._answers(rows, asked)
        except (orjson.JSONDecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotAnAnswer(f"the answer cannot be read: {error}: {complaint_in(response.body).text}") from error
        except ValueError as error:
            raise NotAnAnswer(f"the answer is none: {error}") from error
        return Reply(answers, self.model, _usage(response.headers.get("x-compute-tokens", "")))

    def _answers(self, rows: Sequence[Sequence[_Class]], asked: int) -> list[Answer]:
        if len(rows) != asked:
            raise ValueError(f"{len(rows)} answers to {asked} inputs")
        table = [[number_of(found.score) for found in row] for row in rows]
        if len({len(row) for row in table}) == 1 and len(table[0]) > 1 and not any(None in row for row in table):
            return self._of_all(rows, table)
        return [self._answer(row, scores) for row, scores in zip(rows, table, strict=True)]

    def _answer(self, row: Sequence[_Class], scores: Sequence[float | None]) -> Answer:
        """One that lacks something: the others must not suffer."""
        if not row:
            raise ValueError("an input has no classes")
        likeliest = self._label(str(row[0].label))
        if None in scores:
            return Answer(likeliest, None, "the remote told no score of a class")
        if len(row) > 1:
            return self._of_all([row], [scores])[0]
        [score] = scores
        if self.raw_scores or score is None or len(self.labels) < 2 or score == 1.0:
            return Answer(likeliest, None, "the remote told one class alone, which says nothing")  # its softmax is 1
        return of_one_class(likeliest, score, self.score)

    def _of_all(self, rows: Sequence[Sequence[_Class]], table: Sequence[Sequence[float | None]]) -> list[Answer]:
        """The classes of each input come with the likeliest first, so a label belongs to a row and a column."""
        reading = ClassReading(logits=self.raw_scores, score=self.score, detailed=self.detailed)
        answers = read_rows(table, reading)
        names = [[str(found.label) for found in row] for row in rows]
        return [self._named(*each) for each in zip(answers, names, strict=True)]

    def _named(self, answer: Answer, names: Sequence[str]) -> Answer:
        """The answer by the name of its class, and its details in an order that is the same for every input."""
        details = answer.details
        if details is not None and details.probabilities is not None:
            labels = [self._label(name) for name in names]
            order = sorted(range(len(labels)), key=lambda at: self._place(labels[at]))
            row = [details.probabilities[at] for at in order]
            details = Details(details.scores, row, [labels[at] for at in order])
        return Answer(self._label(names[answer.prediction]), answer.score, details=details)

    def _place(self, label: Any) -> tuple[int, str]:  # noqa: ANN401  # as the settings have it
        return (self.labels.index(label) if label in self.labels else 0), str(label)

    def _label(self, name: str) -> Any:  # noqa: ANN401  # as the settings have it
        return class_named(name, self.labels, exact=self.exact) if self.labels else one_of(name, ())


def _rows(document: Any, asked: int) -> list[list[_Class]]:  # noqa: ANN401  # any JSON value
    """The classes of each input. Those of a single input may come without the list of inputs around them."""
    listed = [document] if isinstance(document, dict) else document
    if asked == 1 and isinstance(listed, list) and listed and all(isinstance(each, dict) for each in listed):
        listed = [listed]
    return msgspec.convert(listed, list[list[_Class]])


def _usage(tokens: str) -> Usage | None:
    try:
        return Usage(int(tokens)) if tokens else None
    except ValueError:  # no number, or one of more digits than Python reads
        return Usage(tokens)  # type: ignore[arg-type]  # no count: whoever reads it says so
