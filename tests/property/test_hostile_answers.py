"""Whatever a remote answers, reading it gives a whole answer, or the one error that says that it is none."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from bisupervised.agents.remote.protocol import RemoteProtocol
from bisupervised.agents.remote.protocols.generic_json import GenericJson
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.protocols.tei import Tei
from bisupervised.agents.remote.protocols.templates import parse_json
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.errors import InvalidAnswer, RecordError, Refused
from hypothesis import given
from hypothesis import strategies as st
from support.remotes import chat_completion, choice


def deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = [found]
    return found


STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    2**64,
    10**400,
    1e308,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "NaN",
    "high",
    "\ud800",
]
STRANGE += [
    "x" * 100_000,
    [],
    {},
    [[]],
    [{}],
    deep(90),
    deep(400),
    deep(900),
    [1, [2]],
    {"a": {"b": []}},
    [None, 0.5],
    [1e308] * 3,
]


def tensor(name: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": shape, "data": data}


CASES: dict[str, tuple[RemoteProtocol, Any]] = {
    "open_inference": (
        OpenInference("big"),
        {"model_name": "big", "model_version": "7", "outputs": [tensor("probabilities", [1, 2], [0.9, 0.1])]},
    ),
    "open_inference scored": (
        OpenInference("big", output_name="label", score_output="score"),
        {"model_name": "big", "outputs": [tensor("label", [1], [3]), tensor("score", [1], [0.9])]},
    ),
    "openai_chat": (OpenAIChat("large", score="token_mean"), chat_completion(choice("yes", [-0.1, -0.2]))),
    "openai_chat json": (
        OpenAIChat("large", response_format="json_object", answer_path="a.0"),
        chat_completion(choice('{"a": ["yes"]}')),
    ),
    "tei": (Tei(), [[{"label": "yes", "score": 0.9}, {"label": "no", "score": 0.1}]]),
    "generic_json": (
        GenericJson(
            parse_json({"x": "{input}"}), "a.text", score="a.p", transform="max", model_path="m", prompt_tokens="u.p"
        ),
        {"a": {"text": "yes", "p": [0.9, 0.1]}, "m": "large", "u": {"p": 7}},
    ),
}


def places(document: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in the document."""
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [above, *(place for key, value in inside for place in places(value, (*above, key)))]


def replaced(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at this place."""
    if not place:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[place[0]] = replaced(document[place[0]], place[1:], value)
    return copy


def reads_or_refuses(protocol: RemoteProtocol, body: bytes) -> None:
    """An answer with a score that can be compared, or none; or a refusal. And as an error, only what is known."""
    try:
        [answer] = protocol.read(Response(200, {}, body), 1).answers
    except (InvalidAnswer, Refused):
        pass
    else:
        assert answer.prediction is not None
        assert msgspec.json.decode(msgspec.json.encode(answer.prediction)) == answer.prediction
        assert answer.score is None or math.isfinite(answer.score)
    with pytest.raises(RecordError):
        protocol.raise_for(Response(500, {}, body))


@pytest.mark.parametrize("case", CASES)
def test_every_place_of_an_answer_may_hold_anything(case: str) -> None:
    protocol, good = CASES[case]
    protocol.read(Response(200, {}, json.dumps(good).encode()), 1)
    for place in places(good):
        for value in STRANGE:
            reads_or_refuses(protocol, json.dumps(replaced(good, place, value)).encode())
        marked = json.dumps(replaced(good, place, "@")).encode()
        reads_or_refuses(protocol, marked.replace(b'"@"', b'[{"a":' * 500 + b"1" + b"}]" * 500))


@pytest.mark.parametrize("case", CASES)
@given(st.data())
def test_bytes_that_are_cut_changed_or_put_in(case: str, data: st.DataObject) -> None:
    protocol, good = CASES[case]
    body = bytearray(json.dumps(good).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at, length = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 8))
        body[at : at + length] = data.draw(st.binary(max_size=8))
    reads_or_refuses(protocol, bytes(body))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"a":' * 100_000, b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}", b"\xff", b""]
)
def test_depth_without_end_is_no_answer(case: str, body: bytes) -> None:
    reads_or_refuses(CASES[case][0], body)
