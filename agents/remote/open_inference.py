"""Open Inference Protocol v2, as KServe, Seldon and Triton speak it: `POST /v2/models/{model}/infer`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from ...schemas.errors import InvalidAnswer, InvalidRequest
from ..answers import ClassReading, read_classes
from .protocol import SAID_CHARS, Call, Reply, raise_for_status
from .transport import Response

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


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[Any]  # flat or nested, as servers please


class _Answered(msgspec.Struct):
    outputs: list[_Output]
    model_name: str = ""
    model_version: str | None = None


class _Failed(msgspec.Struct):
    error: str = ""


_answered = msgspec.json.Decoder(_Answered)
_failed = msgspec.json.Decoder(_Failed)


@dataclass(frozen=True, slots=True)
class OpenInference:
    """Inputs are batched along the first axis of one tensor; one named output holds the classes."""

    model: str  #: the remote's name of the model
    input_name: str = "input"  #: the remote's name of the input tensor
    datatype: str = "FP32"  #: a key of `DATATYPES`
    output_name: str = "probabilities"  #: the remote's name of the output tensor (n, classes)
    reading: ClassReading = field(default_factory=lambda: ClassReading(logits=False))

    def build(self, inputs: Sequence[Any]) -> Call:
        tensor = _tensor(inputs, self.datatype)
        document = {
            "inputs": [
                {
                    "name": self.input_name,
                    "shape": list(tensor.shape),
                    "datatype": self.datatype,
                    "data": tensor.ravel().tolist() if self.datatype == "BYTES" else tensor.ravel(),
                }
            ],
            "outputs": [{"name": self.output_name}],
        }
        body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
        return Call(f"/v2/models/{quote(self.model, safe='')}/infer", body, {"content-type": "application/json"})

    def shape_of(self, given: Any) -> Hashable:  # noqa: ANN401  # an input is any JSON value
        """Only inputs of equal shape make one tensor. What makes none is asked alone, and refused alone."""
        try:
            return tuple(np.shape(given))
        except ValueError:
            return None

    def raise_for(self, response: Response) -> None:
        if not response.succeeded:
            raise_for_status(response, _said(response.body))

    def read(self, response: Response, asked: int) -> Reply:
        try:
            document = _answered.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            said = _said(response.body)
            raise InvalidAnswer(f"the answer cannot be read: {error}{said and ': ' + said}") from error
        try:
            table = self._table(document)
            answers = read_classes(table, asked, self.reading)
        except (ValueError, TypeError) as error:
            raise InvalidAnswer(f"the output {self.output_name!r} is no answer: {error}") from error
        name = document.model_name or self.model
        return Reply(answers, f"{name}@{document.model_version}" if document.model_version else name)

    def _table(self, document: _Answered) -> NDArray[np.float64]:
        for output in document.outputs:
            if output.name == self.output_name:
                table = np.asarray(output.data, dtype=np.float64).reshape(output.shape)
                if not np.isfinite(table).all():  # null becomes NaN above; JSON cannot say it otherwise
                    raise ValueError("it holds a value that is not a number")
                return table
        raise ValueError(f"it is missing; there are {[output.name[:40] for output in document.outputs][:8]}")


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


def _said(body: bytes) -> str:
    """The remote's own account of a failure: its field `error`, or the start of whatever it sent."""
    try:
        return _failed.decode(body).error[:SAID_CHARS]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:SAID_CHARS].decode("utf-8", "replace")
