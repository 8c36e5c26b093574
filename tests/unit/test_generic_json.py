from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from bisupervised.agents.answers import Answer
from bisupervised.agents.remote.protocol import Usage
from bisupervised.agents.remote.protocols.generic_json import TRANSFORMS, GenericJson
from bisupervised.agents.remote.protocols.json_paths import find
from bisupervised.agents.remote.protocols.templates import parse_json
from bisupervised.agents.remote.retry import CallRefused, Terminal
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.errors import InvalidAnswer, InvalidRequest, Refused


def one(**more: Any) -> GenericJson:
    return GenericJson(**{"body": parse_json({"text": "{input}"}), "prediction": "label", **more})


def many(**more: Any) -> GenericJson:
    return one(**{"body": parse_json({"model": "m", "texts": "{inputs}"}), "answers": "data", **more})


def answered(document: Any) -> Response:
    return Response(200, {}, orjson.dumps(document))


def read(protocol: GenericJson, document: Any, asked: int = 1) -> list[Answer]:
    return protocol.read(answered(document), asked).answers


def test_a_call_of_one_input() -> None:
    call = one(path="/ask?v=1", method="PUT").build([[1, 2]])
    assert (call.path, call.method) == ("/ask?v=1", "PUT")
    assert orjson.loads(call.body) == {"text": [1, 2]}


def test_text_around_a_field_makes_text_of_it() -> None:
    protocol = one(body=parse_json({"a": ["{x} and {{}}", 3, None, True], "b": {"c": "{y}"}}), fields=("x", "y"))
    body = orjson.loads(protocol.build([{"x": [1], "y": {"z": 1}}]).body)
    assert body == {"a": ["[1] and {}", 3, None, True], "b": {"c": {"z": 1}}}


def test_a_call_of_many_inputs_and_what_each_becomes() -> None:
    assert orjson.loads(many().build(["a", "b"]).body) == {"model": "m", "texts": ["a", "b"]}
    protocol = many(item=parse_json({"t": "<{input}>"}))
    assert orjson.loads(protocol.build(["a", "b"]).body)["texts"] == [{"t": "<a>"}, {"t": "<b>"}]


def test_how_many_inputs_it_takes_follows_from_the_body() -> None:
    assert (one().batched, many().batched) == (False, True)
    with pytest.raises(InvalidRequest, match="one input a call, not 2"):
        one().build(["a", "b"])


@pytest.mark.parametrize("around", ['{{"a":{}}}', "[{}]"])
def test_a_prediction_nested_without_end_is_none(around: str) -> None:
    nested = "1"
    for _ in range(70):
        nested = around.format(nested)
    with pytest.raises(InvalidAnswer, match="nested more than 64"):
        one().read(Response(200, {}, f'{{"label": {nested}}}'.encode()), 1)


def test_one_answer_with_score_usage_and_model() -> None:
    protocol = one(
        answers="result",
        prediction="0.label",
        score="0.conf",
        prompt_tokens="usage.in",
        completion_tokens="usage.out",
        model_path="model",
        model="remote",
    )
    document = {"result": [{"label": " cat ", "conf": 0.75}], "usage": {"in": 3, "out": 4}, "model": "m@2"}
    reply = protocol.read(answered(document), 1)
    assert (reply.answers, reply.model, reply.usage) == ([Answer("cat", 0.75)], "m@2", Usage(3, 4))


def test_many_answers_in_their_order() -> None:
    document = {"data": [{"label": "a", "s": 1}, {"label": 2, "s": 0.5}, {"label": {"x": 1}}]}
    assert read(many(score="s"), document, 3) == [Answer("a", 1.0), Answer(2, 0.5), Answer({"x": 1}, None)]


@pytest.mark.parametrize(
    ("transform", "given", "score"),
    [
        ("identity", -3.5, -3.5),
        ("exp", math.log(0.25), 0.25),
        ("1-x", 0.25, 0.75),
        ("max", [0.25, 0.75], 0.75),
        ("softmax-max", [0.0, math.log(3.0)], 0.75),
        ("margin", [0.125, 0.75, 0.125], 0.625),
        ("token_mean", [math.log(0.25), math.log(0.25)], 0.25),
        ("token_min", [math.log(0.25), 0.0], 0.25),
        ("token_product", [math.log(0.5), math.log(0.5)], 0.25),
        ("token_first", [math.log(0.25), -3.0], 0.25),
        ("token_mean", [None, -0.1], None),
        ("token_mean", [], None),
    ],
)
def test_every_transform(transform: str, given: Any, score: float | None) -> None:
    [answer] = read(one(score="s", transform=transform), {"label": "a", "s": given})
    assert answer.score == (score if score is None else pytest.approx(score))


def test_the_table_of_transforms_is_whole() -> None:
    tested = {case[0] for case in test_every_transform.pytestmark[0].args[1]}
    assert tested == set(TRANSFORMS)


@pytest.mark.parametrize("document", [{"label": "a"}, {"label": "a", "s": None}])
def test_no_score_is_none(document: Any) -> None:
    assert read(one(score="s"), document) == [Answer("a", None)]
    assert read(one(score="s", transform="max"), document) == [Answer("a", None)]


@pytest.mark.parametrize(
    ("told", "score"),
    [
        ("0.9", 0.9),
        (" 1 ", 1.0),
        ("9e-1", 0.9),
        ("high", None),
        ("90%", None),
        ("", None),
        ("nan", None),
        ("1_0", None),
    ],
)
def test_a_score_may_be_a_text_and_one_that_is_no_number_is_none(told: str, score: float | None) -> None:
    assert read(one(score="s"), {"label": "a", "s": told}) == [Answer("a", score)]


@pytest.mark.parametrize(
    "body",
    [b'{"label": "a", "s": NaN}', b'{"label": "a", "t": [-Infinity, Infinity]}', b'{"label": "a", "t": "cut \\ud83d"}'],
)
def test_what_json_does_not_have_costs_its_own_value_alone(body: bytes) -> None:
    assert one(score="s").read(Response(200, {}, body), 1).answers == [Answer("a", None)]


@pytest.mark.parametrize(
    ("protocol", "document", "match"),
    [
        (one(), {}, "no 'label'"),
        (one(), {"error": {"message": "it broke"}}, "it broke"),
        (one(), {"label": None}, "label is null"),
        (one(labels=("a", "b")), {"label": "c"}, "none of the 2 labels"),
        (one(labels=("a", "b")), {"label": ["a"]}, "none of the 2 labels"),
        (one(score="s"), {"label": "a", "s": True}, "not made of numbers"),
        (one(score="s"), {"label": "a", "s": [0.9]}, "not one number"),
        (one(score="s", transform="max"), {"label": "a", "s": 0.9}, "two numbers or more"),
        (one(score="s", transform="max"), {"label": "a", "s": [1.0]}, "two numbers or more"),
        (one(score="s", transform="max"), {"label": "a", "s": [[1.0], [2.0]]}, "two numbers or more"),
        (one(require={"why": ["end"]}), {"label": "a", "why": "cut"}, "why is 'cut'"),
        (one(require={"why": ["end"]}), {"label": "a"}, "why is 'None'"),
        (many(), {"data": []}, "0 answers to 1 inputs"),
        (many(), {"data": [{"label": "a"}] * 2}, "2 answers to 1 inputs"),
        (many(), {"data": {"label": "a"}}, "no list of answers"),
        (many(), {"other": []}, "no 'data'"),
    ],
)
def test_what_is_no_answer_is_an_invalid_answer(protocol: GenericJson, document: Any, match: str) -> None:
    with pytest.raises(InvalidAnswer, match=match):
        read(protocol, document)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b'{"label": "a", "s": NaN'])
def test_a_body_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(InvalidAnswer, match="not JSON"):
        one(score="s").read(Response(200, {}, body), 1)


def test_a_failure_is_classified_once() -> None:
    with pytest.raises(CallRefused, match="422: told"):
        one().raise_for(Response(422, {}, b'{"detail": "told"}'))
    with pytest.raises(Terminal):
        one().raise_for(Response(401, {}, b""))
    one().raise_for(Response(200, {}, b""))


@pytest.mark.parametrize("why", ["content_filter: SAFETY", "SPII", "guardrail_intervened"])
def test_what_is_withheld_is_refused(why: str) -> None:
    with pytest.raises(Refused):
        read(one(require={"why": ["end"]}), {"label": "a", "why": why})


def test_the_estimate_is_a_token_per_four_bytes_of_the_body() -> None:
    assert one().estimate(["abc"]) == 4  # {"text":"abc"} has 14 bytes


@pytest.mark.parametrize(("path", "found"), [("", {"a": [{"b": 1}]}), ("a.0.b", 1), ("a", [{"b": 1}])])
def test_a_path_leads_through_objects_and_lists(path: str, found: Any) -> None:
    assert find({"a": [{"b": 1}]}, path) == found


@pytest.mark.parametrize("path", ["b", "a.1", "a.b", "a.-1", "a.0.b.c"])
def test_a_path_that_leads_nowhere(path: str) -> None:
    with pytest.raises(LookupError):
        find({"a": [{"b": 1}]}, path)
