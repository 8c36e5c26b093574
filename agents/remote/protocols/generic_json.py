"""Any server that takes JSON and answers with JSON: a template makes the body, paths find the answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ....schemas.errors import InvalidAnswer, InvalidRequest, RecordError, Refused
from ...answers import Answer, Details
from ...supervision.scores import SCORES, every_score, fitting, max_softmax, usable
from ..protocol import Call, Reply, Usage, brief, complaint_in, complaint_of, raise_for_status, tokens_in
from ..retry import NotAnAnswer
from ..transport import Response
from .endings import is_withheld
from .json_paths import find
from .labels import one_of
from .lenient_json import decoded
from .templates import fill_json, names_in, parse, values_of

#: in a body, stands for the list of all inputs of a call
INPUTS = "inputs"

#: a number as JSON writes it
_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,40})?(?:[eE][-+]?[0-9]{1,3})?")

_Numbers = NDArray[np.float64]


def _single(transform: Callable[[float], float]) -> Callable[[_Numbers], float]:
    def of_one(numbers: _Numbers) -> float:
        if numbers.ndim:
            raise ValueError("the score is not one number")
        return transform(float(numbers))

    return of_one


def _listed(transform: Callable[[_Numbers], float]) -> Callable[[_Numbers], float]:
    def of_several(numbers: _Numbers) -> float:
        if numbers.ndim != 1 or numbers.size < 2:
            raise ValueError("the score is no list of two numbers or more")
        return transform(numbers)

    return of_several


def _margin(numbers: _Numbers) -> float:
    second, first = np.sort(numbers)[-2:]
    return float(first - second)


def _of_tokens(name: str) -> Callable[[_Numbers], float]:
    def of_tokens(numbers: _Numbers) -> float:
        if numbers.ndim != 1:
            raise ValueError("the score is no list of log-probabilities")
        return float(SCORES[name].compute([numbers.tolist()])[0])

    return of_tokens


#: what makes a score, higher is more trustworthy, of what stands at its path: a number, or a list of them
TRANSFORMS: dict[str, Callable[[_Numbers], float]] = {
    "identity": _single(lambda number: number),
    "exp": _single(lambda number: float(np.exp(number))),  # of a log-probability
    "1-x": _single(lambda number: 1.0 - number),  # of an uncertainty
    "max": _listed(lambda numbers: float(numbers.max())),  # of probabilities
    "softmax-max": _listed(lambda numbers: float(max_softmax(numbers[None], logits=True)[0])),  # of logits
    "margin": _listed(_margin),  # of probabilities: the first less the second
    **{name: _of_tokens(name) for name in fitting("tokens")},  # of the log-probabilities of an answer's tokens
}


@dataclass(frozen=True, slots=True)
class GenericJson:
    """The body is JSON with `{input}` in it, or with `{inputs}`, which makes one call of many inputs.

    A text that is one field alone becomes its value as it is: "{input}" may be a list of numbers. For `{inputs}`,
    `item` says what each becomes.
    """

    body: Any  #: JSON with templates in its texts, as `parse_json` gives it
    prediction: str  #: path, from each answer
    model: str = "remote"  #: for the records, where `model_path` finds nothing
    path: str = "/"
    method: str = "POST"
    item: Any = field(default_factory=lambda: parse("{input}"))  #: as body
    fields: tuple[str, ...] = ()  #: what inputs are made of; (): they are the model's input itself
    labels: tuple[str, ...] = ()  #: the answer is one of these; (): any JSON value
    exact: bool = False  #: to the letter
    answers: str = ""  #: path of the list of answers in a response to many inputs, of the answer in one to one input
    score: str | None = None  #: path, from each answer; None: there is none
    transform: str = "identity"  #: a name in `TRANSFORMS`
    require: Mapping[str, Sequence[Any]] = field(default_factory=dict)  #: path from each answer -> what may stand there
    model_path: str | None = None
    prompt_tokens: str | None = None  #: path, as are the next; + between several adds them
    completion_tokens: str | None = None
    cached_tokens: str | None = None
    cache_write_tokens: str | None = None
    detailed: bool = False  #: every score that what stands there allows comes along
    batched: bool = field(init=False, repr=False, compare=False)  #: a call takes many inputs

    def __post_init__(self) -> None:
        object.__setattr__(self, "batched", INPUTS in names_in(self.body))  # frozen

    def in_detail(self) -> GenericJson:
        """The same; every score of the log-probabilities, where those stand at the score's path, comes along."""
        return replace(self, detailed=True)

    def build(self, inputs: Sequence[Any]) -> Call:
        body = orjson.dumps(self._document(inputs))
        return Call(self.path, body, {"content-type": "application/json"}, self.method)

    def _document(self, inputs: Sequence[Any]) -> Any:  # noqa: ANN401  # any JSON value
        if self.batched:
            items = [fill_json(self.item, values_of(given, self.fields)) for given in inputs]
            return fill_json(self.body, {INPUTS: items})
        if len(inputs) != 1:
            raise InvalidRequest(f"the body takes one input a call, not {len(inputs)}: it has no {{{INPUTS}}}")
        return fill_json(self.body, values_of(inputs[0], self.fields))

    def estimate(self, inputs: Sequence[Any]) -> int:
        """A token per four bytes of the body. What the answers take is not known here."""
        return tokens_in(len(orjson.dumps(self._document(inputs))))

    def raise_for(self, response: Response) -> None:
        if not response.succeeded:
            raise_for_status(response, *complaint_in(response.body))

    def read(self, response: Response, asked: int) -> Reply:
        try:
            document = decoded(orjson.loads, response.body)
        except orjson.JSONDecodeError as error:
            said = complaint_in(response.body).text
            raise NotAnAnswer(f"the answer is not JSON: {error}{said and ': ' + said}") from error
        found = self._found(document, asked)
        model = _optional(document, self.model_path)
        return Reply([self._answer(each) for each in found], brief(model or self.model), self._usage(document))

    def _usage(self, document: Any) -> Usage | None:  # noqa: ANN401  # any JSON value
        paths = (self.prompt_tokens, self.completion_tokens, self.cached_tokens, self.cache_write_tokens)
        read, written, cached, kept = (_summed(document, path) for path in paths)
        if read is None and written is None:
            return None
        return Usage(read or 0, written or 0, cached or 0, cache_write_tokens=kept or 0)

    def _found(self, document: Any, asked: int) -> list[Any]:  # noqa: ANN401  # any JSON value
        try:
            found = find(document, self.answers)
        except LookupError as error:
            raise NotAnAnswer(f"the response has no {self.answers!r}{_said(document)}") from error
        if not self.batched:
            return [found]
        if not isinstance(found, list) or len(found) != asked:
            count = len(found) if isinstance(found, list) else "no list of"
            raise NotAnAnswer(f"{count} answers to {asked} inputs")
        return found

    def _answer(self, each: Any) -> Answer:  # noqa: ANN401  # any JSON value
        for path, allowed in self.require.items():
            if (standing := _optional(each, path)) not in allowed:
                raise _unmet(standing)(f"{path} is {brief(standing)[:40]!r}, not one of {list(allowed)}")
        try:
            prediction = find(each, self.prediction)
        except LookupError as error:
            raise NotAnAnswer(f"the answer has no {self.prediction!r}{_said(each)}") from error
        if prediction is None:
            raise InvalidAnswer(f"{self.prediction} is null")
        named = one_of(prediction, self.labels, exact=self.exact)
        return Answer(named, self._score(each), details=self._details(each) if self.detailed else None)

    def _details(self, each: Any) -> Details | None:  # noqa: ANN401  # any JSON value
        """Of the log-probabilities of an answer's tokens; of anything else there is the one score."""
        standing = _optional(each, self.score)
        if self.transform not in fitting("tokens") or not isinstance(standing, list):
            return None
        [scores] = every_score("tokens", [standing])
        return Details(scores)

    def _score(self, each: Any) -> float | None:  # noqa: ANN401  # any JSON value
        """None where the remote gave none; it is never made up."""
        standing = _number_in(_optional(each, self.score))
        if standing is None:
            return None
        try:
            if not _is_numeric(standing):
                raise ValueError("the score is not made of numbers")
            return usable(TRANSFORMS[self.transform](np.asarray(standing, dtype=np.float64)))
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidAnswer(f"{self.score}: {error}") from error


def _unmet(standing: Any) -> type[RecordError]:  # noqa: ANN401  # any JSON value
    """What it is that a requirement is not met: nothing stands there, the answer was withheld, or it is not whole."""
    if standing is None:
        return NotAnAnswer
    return Refused if is_withheld(standing) else InvalidAnswer


def _number_in(standing: Any) -> Any:  # noqa: ANN401  # any JSON value
    """The number that a text writes, None for a text that writes none; what is no text as it is."""
    if not isinstance(standing, str):
        return standing
    return float(standing) if _NUMBER.fullmatch(standing.strip()) else None


def _is_numeric(value: Any) -> bool:  # noqa: ANN401  # any JSON value
    """True for a number and for a list of them. Null is allowed in a list: a token's log-probability is not told."""
    if isinstance(value, list):
        return all(item is None or _is_numeric(item) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _summed(document: Any, paths: str | None) -> Any:  # noqa: ANN401  # a count, or what is none and is told so
    """What stands at a path, or at several with + between them, added. None where nothing does."""
    if not paths:
        return None
    found = [_optional(document, path.strip()) for path in paths.split("+") if path.strip()]
    there = [count for count in found if count is not None]
    if not there:
        return None
    return sum(there) if all(isinstance(count, int | float) for count in there) else there[0]


def _optional(document: Any, path: str | None) -> Any:  # noqa: ANN401  # any JSON value
    try:
        return None if path is None else find(document, path)
    except LookupError:
        return None


def _said(document: Any) -> str:  # noqa: ANN401  # any JSON value
    said = complaint_of(document).text
    return said and f": {said}"
