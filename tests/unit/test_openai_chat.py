from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from bisupervised.agents.answers import Answer
from bisupervised.agents.remote.protocol import Usage
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.protocols.templates import parse
from bisupervised.agents.remote.retry import CallRefused, Terminal, may_pass
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.errors import InvalidAnswer, InvalidRequest, RateLimited, RemoteError
from support.remotes import chat_completion, choice

MEAN = "token_mean"
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}


def body_of(chat: OpenAIChat, given: Any = "a") -> Any:
    return orjson.loads(chat.build([given]).body)


def read(chat: OpenAIChat, *choices: dict[str, Any], **more: Any) -> Answer:
    [answer] = chat.read(Response(200, {}, orjson.dumps(chat_completion(*choices, **more))), 1).answers
    return answer


def test_a_call_has_exactly_the_fields_that_are_set() -> None:
    call = OpenAIChat("large").build(["a"])
    assert (call.path, call.method, call.samples) == ("/v1/chat/completions", "POST", 1)
    assert orjson.loads(call.body) == {
        "model": "large",
        "messages": [{"role": "user", "content": "a"}],
        "max_completion_tokens": 256,
    }


def test_every_option_has_its_field() -> None:
    chat = OpenAIChat(
        "large",
        prompt=parse("About {text}: {meta} {{}}"),
        system=parse("You know {text}."),
        fields=("text", "meta"),
        score=MEAN,
        samples=3,
        temperature=0.5,
        max_tokens=7,
        max_tokens_field="max_tokens",
        seed=0,
        top_logprobs=2,
        response_format="json_schema",
        json_schema=SCHEMA,
        extra={"user": "me"},
    )
    assert body_of(chat, {"text": "cats", "meta": {"n": [1]}}) == {
        "model": "large",
        "messages": [
            {"role": "system", "content": "You know cats."},
            {"role": "user", "content": 'About cats: {"n":[1]} {}'},
        ],
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": 0,
        "n": 3,
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}},
        "user": "me",
    }


def test_samples_by_calls_are_calls_of_one_answer() -> None:
    chat = OpenAIChat("large", samples=3, samples_by="calls")
    assert chat.build(["a"]).samples == 3
    assert "n" not in body_of(chat)
    assert read(chat, choice("yes")) == Answer("yes", None)


def test_one_input_a_call() -> None:
    with pytest.raises(InvalidRequest, match="one input a call, not 2"):
        OpenAIChat("large").build(["a", "b"])


def test_a_field_that_a_request_lacks() -> None:
    with pytest.raises(InvalidRequest, match="'text'"):
        OpenAIChat("large", prompt=parse("{text}"), fields=("text",)).build([{}])


@pytest.mark.parametrize(
    ("chat", "tokens"),
    [
        (OpenAIChat("m"), 2 + 256),
        (OpenAIChat("m", system=parse("1234"), max_tokens=10), 3 + 10),
        (OpenAIChat("m", max_tokens=10, samples=3), 2 + 30),
        (OpenAIChat("m", max_tokens=10, samples=3, samples_by="calls"), 2 + 10),
    ],
)
def test_the_estimate_is_a_token_per_four_bytes_and_all_that_may_come(chat: OpenAIChat, tokens: int) -> None:
    assert chat.estimate(["12345"]) == tokens


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("token_mean", math.exp(-0.75)),
        ("token_min", math.exp(-1.0)),
        ("token_product", math.exp(-1.5)),
        ("token_first", math.exp(-0.5)),
    ],
)
def test_a_score_from_log_probabilities(name: str, score: float) -> None:
    answer = read(OpenAIChat("m", score=name), choice(" Paris\n", [-0.5, -1.0]))
    assert answer.prediction == "Paris"
    assert answer.score == pytest.approx(score)


@pytest.mark.parametrize("logprobs", [None, [], [-0.1, None], [-0.1, -9999.0]])
def test_without_every_log_probability_there_is_no_score(logprobs: list[float | None] | None) -> None:
    assert read(OpenAIChat("m", score=MEAN), choice("yes", logprobs)) == Answer("yes", None)


def test_log_probabilities_that_were_not_asked_for_are_no_score() -> None:
    assert read(OpenAIChat("m"), choice("yes", [-0.1])).score is None


def test_agreement_of_several_answers() -> None:
    chat = OpenAIChat("m", samples=4)
    assert read(chat, choice("no"), choice("yes"), choice("yes "), choice("maybe")) == Answer("yes", 0.5)
    assert read(chat, *[choice("yes")] * 4) == Answer("yes", 1.0)


def test_an_answer_in_json_and_the_place_of_its_prediction() -> None:
    text = choice('{"label": "cat", "why": "it purrs"}')
    whole = OpenAIChat("m", response_format="json_schema", json_schema=SCHEMA)
    assert read(whole, text).prediction == {"label": "cat", "why": "it purrs"}
    part = OpenAIChat("m", response_format="json_object", answer_path="label", labels=("cat", "dog"))
    assert read(part, text).prediction == "cat"


def test_usage_and_model() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    response = Response(200, {}, orjson.dumps(chat_completion(choice("a"), model="large-2026", usage=usage)))
    reply = OpenAIChat("large").read(response, 1)
    assert reply.model == "large-2026"
    assert reply.usage == Usage(10, 5, 4, 3)


def test_a_remote_that_tells_neither() -> None:
    response = Response(200, {}, orjson.dumps({"choices": [choice("a")], "model": None}))
    reply = OpenAIChat("large").read(response, 1)
    assert (reply.model, reply.usage) == ("large", None)


JSON = OpenAIChat("m", response_format="json_schema", json_schema=SCHEMA, answer_path="label", labels=("cat",))


@pytest.mark.parametrize(
    ("chat", "given", "match"),
    [
        (OpenAIChat("m"), choice("a", finish_reason="length"), "'length'"),
        (OpenAIChat("m"), choice("a", finish_reason="content_filter"), "'content_filter'"),
        (OpenAIChat("m"), choice("a", finish_reason=None), "None"),
        (OpenAIChat("m"), choice(None, finish_reason="tool_calls"), "'tool_calls'"),
        (OpenAIChat("m"), choice("a", tool_calls=[{"id": "1"}]), "calls a tool"),
        (OpenAIChat("m"), choice(None, refusal="I will not"), "refuses to answer: I will not"),
        (OpenAIChat("m"), choice(None), "empty"),
        (OpenAIChat("m"), choice(" \n"), "empty"),
        (OpenAIChat("m", labels=("cat", "dog")), choice("Cat"), "'Cat' is none of the 2 labels"),
        (OpenAIChat("m", labels=("cat", "dog")), choice("a cat"), "none of the 2 labels"),
        (OpenAIChat("m", score=MEAN), choice("a", [0.5]), "must be 0 or less, not 0.5"),
        (JSON, choice("cat"), "not JSON"),
        (JSON, choice('["cat"]'), "no JSON object"),
        (JSON, choice('{"other": "cat"}'), "lacks label"),
        (JSON, choice('{"label": "cow"}'), "none of the 1 labels"),
        (OpenAIChat("m", response_format="json_object", answer_path="a.b"), choice('{"a": {}}'), "no 'a.b'"),
        (OpenAIChat("m", response_format="json_object", answer_path="a"), choice('{"a": null}'), "a is null"),
    ],
)
def test_what_is_no_answer_is_an_invalid_answer(chat: OpenAIChat, given: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidAnswer, match=match):
        read(chat, given)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_answers(count: int) -> None:
    with pytest.raises(InvalidAnswer, match=f"{count} answers instead of 2"):
        read(OpenAIChat("m", samples=2), *[choice("a")] * count)


def test_one_sample_that_is_no_answer_spoils_all() -> None:
    with pytest.raises(InvalidAnswer):
        read(OpenAIChat("m", samples=2, labels=("a",)), choice("a"), choice("b"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"\xff",
        b"[]",
        b'{"choices": [{"message": {"content": "a"}, "finish_reason": "stop",'
        b' "logprobs": {"content": [{"logprob": NaN}]}}]}',
        b'{"choices": [{"message": {"content": [{"type": "text"}]}, "finish_reason": "stop"}]}',
        b'{"error": {"message": "no such model", "code": 404}}',
    ],
)
def test_a_body_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(InvalidAnswer, match="cannot be read"):
        OpenAIChat("m", score=MEAN).read(Response(200, {}, body), 1)


def failed(status: int, code: str | None = None, **headers: str) -> Response:
    error = {"message": "told", "type": "some_error", "param": None, "code": code}
    return Response(status, headers, orjson.dumps({"error": error}))


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (failed(429, "rate_limit_exceeded"), RateLimited),
        (failed(429, "insufficient_quota"), Terminal),
        (failed(401, "invalid_api_key"), Terminal),
        (failed(403), Terminal),
        (failed(402), Terminal),
        (failed(400, "no_db_connection"), Terminal),
        (failed(400, "context_length_exceeded"), CallRefused),
        (failed(400, "content_filter"), InvalidAnswer),
        (failed(404, "model_not_found"), Terminal),
        (failed(500), RemoteError),
        (failed(529), RemoteError),
        (failed(500, **{"x-should-retry": "false"}), CallRefused),
        (failed(400, **{"x-should-retry": "true"}), RemoteError),
        (failed(401, **{"x-should-retry": "true"}), Terminal),
    ],
)
def test_a_failure_is_classified_once(response: Response, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="told") as caught:
        OpenAIChat("m").raise_for(response)
    assert type(caught.value) is kind


def test_what_is_terminal_is_never_tried_again() -> None:
    assert not may_pass(Terminal("over"))


def test_the_wish_of_the_server_in_milliseconds() -> None:
    with pytest.raises(RateLimited) as caught:
        OpenAIChat("m").raise_for(failed(429, **{"retry-after-ms": "250", "retry-after": "1"}))
    assert caught.value.retry_after_s == 0.25


def test_a_success_is_no_failure() -> None:
    OpenAIChat("m").raise_for(Response(200, {}, b""))
