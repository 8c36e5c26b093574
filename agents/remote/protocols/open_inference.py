"""Open Inference Protocol v2, as KServe, Seldon and Triton speak it: `POST /v2/models/{model}/infer`."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from ....schemas.errors import InvalidRequest
from ...answers import Answer, ClassReading, read_classes, read_rows
from ...supervision.scores import usable
from ..protocol import SAID_CHARS, Call, Reply, brief, complaint_in, raise_for_status
from ..retry import NotAnAnswer
from ..transport import Response
from .labels import one_of
from .lenient_json import decoded
from .text_classes import are_classified, number_of, read_classified, read_texts

#: data types of the protocol that we can send, with numpy's names; BYTES are strings
DATATYPES: dict[str, str] = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "str",
}
#: kinds of numpy arrays that may become a data type, by the kind of the latter
_TAKES = {"b": "b", "u": "ui", "i": "ui", "f": "uif", "U": "U"}
#: what a number of JSON is to Python; to Python, a truth is a number as well
_NUMBERS = {int, float}
#: data types that hold any number up to this one, in either direction; no whole number is rounded below it
_ROOMY, _EXACT_UP_TO = ("FP32", "FP64"), 2.0**53
#: most numbers of one input that are looked at one by one: beyond it numpy is the faster way
_FEW = 64


# read what is needed: what has no type here may have any shape


class _Output(msgspec.Struct):
    name: Any = None
    shape: Any = None
    data: msgspec.Raw = msgspec.Raw(b"")  # a list, flat or nested, as servers please; read where it is wanted


class _Answered(msgspec.Struct):
    outputs: list[_Output]
    model_name: Any = None
    model_version: Any = None


class _Tensor(NamedTuple):
    """An output that is wanted."""

    shape: list[int]
    data: bytes


_answered = msgspec.json.Decoder(_Answered)
_pieces = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class OpenInference:
    """Inputs are batched along the first axis of one tensor; one named output holds the classes.

    An output of texts holds them as JSON or a mapping, a text an input. With `score_output`, that output holds
    predictions as they stand, and another one a score for each.
    """

    model: str  #: the remote's name of the model
    input_name: str = "input"  #: the remote's name of the input tensor
    datatype: str = "FP32"  #: a key of `DATATYPES`
    output_name: str = "probabilities"  #: the remote's name of the output tensor, (n, classes) or, if scored, (n, ...)
    reading: ClassReading = field(default_factory=lambda: ClassReading(logits=False))
    score_output: str = ""  #: the remote's name of the tensor with its own scores, (n,); '' scores the classes
    column: bool = False  #: inputs of one value each are sent as (n, 1), not as (n,)
    exact_labels: bool = False  #: classes that are named in texts are named to the letter
    #: what is the same in every call; made here, once
    _path: str = field(init=False, repr=False, compare=False)
    _outputs: list[dict[str, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [name for name in (self.output_name, self.score_output) if name]
        object.__setattr__(self, "_path", f"/v2/models/{quote(self.model, safe='')}/infer")  # frozen
        object.__setattr__(self, "_outputs", [{"name": name} for name in names])

    def build(self, inputs: Sequence[Any]) -> Call:
        plain = _plain(inputs, self.datatype)
        tensor = _tensor(inputs, self.datatype) if plain is None else plain
        if self.column and tensor.ndim == 1:
            tensor = tensor.reshape(-1, 1)
        document = {
            "inputs": [
                {
                    "name": self.input_name,
                    "shape": tensor.shape,
                    "datatype": self.datatype,
                    "data": tensor.ravel().tolist() if self.datatype == "BYTES" else tensor.ravel(),
                }
            ],
            "outputs": self._outputs,
        }
        body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        return Call(self._path, body, {"content-type": "application/json"})

    def shape_of(self, given: Any) -> Hashable:  # noqa: ANN401  # an input is any JSON value
        """Only inputs of equal shape make one tensor. What makes none is asked alone, and refused alone."""
        try:
            return tuple(np.shape(given))
        except ValueError:
            return None

    def in_detail(self) -> OpenInference:
        """The same; every score of the classes, and their probabilities, come along."""
        return replace(self, reading=replace(self.reading, detailed=True))

    def most_answer_tokens(self, asked: int) -> int:
        """Nothing is written: there are no tokens of an answer."""
        return 0

    def estimate(self, inputs: Sequence[Any]) -> int:
        """None: tensors are not counted in tokens."""
        return 0

    def raise_for(self, response: Response) -> None:
        if not response.succeeded:
            raise_for_status(response, *complaint_in(response.body))

    def read(self, response: Response, asked: int) -> Reply:
        try:
            document = decoded(_answered.decode, response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            said = complaint_in(response.body).text
            raise NotAnAnswer(f"the answer cannot be read: {error}{said and ': ' + said}") from error
        try:
            answers = self._answers(document, asked)
        except (ValueError, TypeError, OverflowError) as error:
            raise NotAnAnswer(f"the output {self.output_name!r} is no answer: {error}") from error
        name = document.model_name if isinstance(document.model_name, str) and document.model_name else self.model
        version = document.model_version
        told = isinstance(version, str | int | float) and version != ""
        model = f"{name}@{version}" if told else name
        return Reply(answers, model[:SAID_CHARS])

    def _answers(self, document: _Answered, asked: int) -> list[Answer]:
        wanted = _named(document, self.output_name)
        if wanted is None:
            raise ValueError(f"it is missing; there are {[brief(output.name)[:40] for output in document.outputs][:8]}")
        if not self.score_output:
            elements = _elements(wanted)
            if asked == 1 and _is_row(elements, wanted.shape):  # sooner than by what follows, and to the same end
                return read_rows([elements], self.reading)
            if (rows := _classified(elements, wanted.shape, asked)) is not None:
                return read_classified(rows, self.reading, exact=self.exact_labels)
            if (texts := _texts(elements, wanted.shape)) is not None:
                return read_texts(texts, asked, self.reading, exact=self.exact_labels)
            return read_classes(_as_rows(_numbers(elements, wanted.shape), asked), asked, self.reading)
        predicted = _predictions(wanted, asked)
        return list(map(Answer, predicted, _scores(_named(document, self.score_output), asked)))


def _named(document: _Answered, name: str) -> _Tensor | None:
    for output in document.outputs:
        if output.name == name:
            return _Tensor(_sizes(output.shape), bytes(output.data))
    return None


def _sizes(shape: Any) -> list[int]:  # noqa: ANN401  # any JSON value
    """A shape's whole numbers; some servers write 2.0."""
    if type(shape) is list and {*map(type, shape)} == {int}:  # as most write it
        return shape
    sizes: list[Any] = shape if isinstance(shape, list) else [None]
    if any(isinstance(size, bool) or not isinstance(size, int | float) or size != int(size) for size in sizes):
        raise ValueError("its shape is no list of whole numbers")
    return list(map(int, sizes))


def _elements(output: _Tensor) -> list[Any]:
    """The data, parsed only where it can be as many elements as the shape says: each but the last has a comma, and
    only what has quotes has others; that is cut into pieces first, for 100,000 objects take tens of milliseconds.

    By orjson, for msgspec takes 8 µs for a number such as 1e300, and a hostile server sends many of them.
    """
    raw, wanted = output.data, math.prod(output.shape)
    surplus = raw.count(b",") + 1 - wanted if raw.startswith(b"[") else -1
    if surplus < 0 or (surplus and (b'"' not in raw or len(_pieces.decode(raw)) != wanted)):
        raise ValueError(f"it holds no list of {output.shape} elements")
    found: list[Any] = orjson.loads(raw)
    return found


def _is_row(elements: list[Any], shape: list[int]) -> bool:
    """Whether these are numbers, and the shape is that of one row of them, as in most answers."""
    return shape == [1, len(elements)] and {*map(type, elements)} <= _NUMBERS


def _classified(elements: list[Any], shape: list[int], asked: int) -> list[list[str]] | None:
    """The elements where they are classes as texts, a row an input; else None."""
    flat = [text for each in elements for text in (each if isinstance(each, list) else [each])]
    if not flat or not asked or not all(isinstance(text, str) for text in flat) or not are_classified(flat):
        return None
    rows = np.asarray(flat, dtype=object).reshape(shape)
    listed: list[list[str]] = _as_rows(rows.reshape(-1, 1) if shape == [asked] else rows, asked).tolist()
    if len(listed) != asked:
        raise ValueError(f"{len(listed)} answers to {asked} inputs")
    return listed


def _as_rows(table: NDArray[Any], asked: int) -> NDArray[Any]:
    """A row an input: without further axes of one element, and with the first one where a single input has none."""
    sizes = [size for size in table.shape if size != 1]
    batch = [asked] if asked > 1 else []
    one = table.ndim == 1 and asked == 1 and table.size > 1
    more = table.ndim > 2 and table.shape[0] in (1, asked) and sizes[: len(batch)] == batch
    return table.reshape(asked, -1) if one or (more and len(sizes) == len(batch) + 1) else table


def _texts(elements: list[Any], shape: list[int]) -> list[str] | None:
    """The elements where they are texts, one a row; else None."""
    flat = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in elements]
    one_a_row = math.prod(shape) == shape[0] == len(flat) if shape else False
    return flat if flat and one_a_row and all(isinstance(each, str) for each in flat) else None


def _numbers(listed: list[Any], shape: list[int]) -> NDArray[np.float64]:
    elements = np.asarray(listed)
    if elements.dtype.kind not in "iufO":  # O: null is among them, and becomes NaN
        raise ValueError("it holds a value that is not a number")
    table = elements.astype(np.float64).reshape(shape)
    if not np.isfinite(table).all():  # null becomes NaN above; JSON cannot say it otherwise
        raise ValueError("it holds a value that is not a number")
    return table


def _predictions(output: _Tensor, asked: int) -> list[Any]:
    """One prediction an input, of whatever type: one value where its row holds one, else the row."""
    table = np.asarray(_elements(output), dtype=object).reshape(output.shape)
    if not table.ndim or len(table) != asked:
        raise ValueError(f"{len(table) if table.ndim else 0} answers to {asked} inputs")
    values: list[Any] = (table.ravel() if table.size == asked else table).tolist()
    if None in table.ravel().tolist():
        raise ValueError("it holds a value that is none")
    return [one_of(value, ()) for value in values]


def _scores(output: _Tensor | None, asked: int) -> list[float | None]:
    """One score an input, None where there is none: the answer is paid for and goes on, to be rejected."""
    if output is None:
        return [None] * asked
    scores = np.asarray(_elements(output), dtype=object).ravel().tolist()
    if len(scores) != asked:
        raise ValueError(f"{len(scores)} scores for {asked} answers")
    return [None if score is None else usable(score) for score in map(number_of, scores)]


def _plain(inputs: Sequence[Any], datatype: str) -> NDArray[Any] | None:
    """`_tensor` of a single input of a few numbers that nothing can bend; None where a closer look is needed."""
    row = inputs[0] if len(inputs) == 1 and datatype in _ROOMY else None
    if type(row) is not list or len(row) > _FEW or not {*map(type, row)} <= _NUMBERS:
        return None
    if not all(abs(number) <= _EXACT_UP_TO for number in row):  # which NaN is not
        return None
    return np.array(inputs, dtype=DATATYPES[datatype])


def _tensor(inputs: Sequence[Any], datatype: str) -> NDArray[Any]:
    """The inputs as one tensor, nothing bent: no text read as a number, no fraction or range cut off."""
    wanted = np.dtype(DATATYPES[datatype])
    try:
        given = np.asarray(inputs)
    except ValueError as error:
        raise InvalidRequest(f"the inputs make no tensor: {error}") from error
    if given.dtype.kind not in _TAKES[wanted.kind]:
        raise InvalidRequest(f"an input is not made of {datatype} values alone")
    if wanted.kind == "U":
        return given
    with np.errstate(over="ignore"):  # told below
        tensor = given.astype(wanted)
    whole = np.isfinite(tensor).all() if wanted.kind == "f" else (tensor == given).all()
    if not whole:
        raise InvalidRequest(f"an input is out of the range of {datatype}")
    return tensor
