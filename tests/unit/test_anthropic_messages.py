from __future__ import annotations

from typing import Any

import orjson
import pytest
from bisupervised.agents.answers import Answer
from bisupervised.agents.remote.protocol import Usage
from bisupervised.agents.remote.protocols.anthropic.messages import AnthropicMessages
from bisupervised.agents.remote.protocols.templates import parse
from bisupervised.agents.remote.retry import CallRefused, ContentRefused, NotAnAnswer, Terminal
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.errors import InvalidAnswer, InvalidRequest, RateLimited, Refused, RemoteError

LABELS = ("negative", "positive")
PLAIN = AnthropicMessages("m", labels=LABELS)
REPORTED = AnthropicMessages("m", labels=LABELS, reported=True)


def message(*content: Any, **more: Any) -> Response:
    """A response of `/v1/messages`."""
    document = {"id": "msg_1", "type": "message", "role": "assistant", "model": "large-1", "content": list(content)}
    usage = {"input_tokens": 100, "output_tokens": 7}
    return Response(200, {}, orjson.dumps(document | {"stop_reason": "end_turn", "usage": usage} | more))


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def called(name: str = "answer", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "t", "name": name, "input": given}


def test_a_call_has_what_the_interface_must_have() -> None:
    call = PLAIN.build(["a good one"])
    assert (call.path, call.samples) == ("/v1/messages", 1)
    assert call.headers == {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    assert orjson.loads(call.body) == {
        "model": "m",
        "max_tokens": 256,
        "messages": [{"role": "user", "content": "a good one"}],
    }


def test_a_call_with_every_option() -> None:
    protocol = AnthropicMessages(
        "m",
        prompt=parse("Of {product}: {input}"),
        system=parse("You judge."),
        fields=("input", "product"),
        labels=LABELS,
        reported=True,
        temperature=0.5,
        samples=3,
        max_tokens=10,
        extra={"metadata": {"user_id": "u"}},
    )
    call = protocol.build([{"input": "good", "product": "a kettle"}])
    body = orjson.loads(call.body)
    assert call.samples == 3
    assert body["messages"] == [{"role": "user", "content": "Of a kettle: good"}]
    assert (body["system"], body["temperature"], body["metadata"]) == ("You judge.", 0.5, {"user_id": "u"})
    assert body["tool_choice"] == {"type": "tool", "name": "answer"}
    schema = body["tools"][0]["input_schema"]
    assert schema["properties"]["label"] == {"type": "string", "enum": ["negative", "positive"]}
    assert schema["required"] == ["label", "confidence"]
    assert body["max_tokens"] > 64, "a call of the tool must fit in"
    assert protocol.most_answer_tokens(1) == body["max_tokens"]


def test_one_input_a_call() -> None:
    with pytest.raises(InvalidRequest):
        PLAIN.build(["a", "b"])


def test_the_text_of_all_parts_is_the_answer_and_thinking_is_not() -> None:
    thinking = {"type": "thinking", "thinking": "negative, perhaps"}
    reply = PLAIN.read(message(thinking, text("Posi"), text("tive.")), 1)
    assert reply.answers == [Answer("positive", None)]
    assert reply.model == "large-1"
    assert AnthropicMessages("m").read(message(text(" any text ")), 1).answers == [Answer("any text", None)]


def test_an_answer_is_read_out_of_what_is_around_it() -> None:
    unwrap = AnthropicMessages("m", unwrap=True)
    assert unwrap.read(message(text("<answer>42</answer>")), 1).answers[0].prediction == "42"


def test_what_the_tool_is_told_is_the_answer_and_its_score() -> None:
    response = message(text("I call it."), called(label="positive", confidence=0.75), stop_reason="tool_use")
    assert REPORTED.read(response, 1).answers == [Answer("positive", 0.75)]


@pytest.mark.parametrize("confidence", [None, "high", True, -0.1, 1.1, [0.5]])
def test_what_is_no_share_is_no_score(confidence: Any) -> None:
    response = message(called(label="positive", confidence=confidence), stop_reason="tool_use")
    [answer] = REPORTED.read(response, 1).answers
    assert (answer.prediction, answer.score) == ("positive", None)
    assert "how sure" in answer.unscored


@pytest.mark.parametrize(
    "content",
    [
        [],
        [text("positive")],
        [called("other", label="positive", confidence=1)],
        [called(label=None)],
        [called(confidence=1)],
        [called(label="neutral", confidence=1)],
        [called(label="positive", confidence=1)] * 2,
        ["text", 3, None],
        [called() | {"input": "positive"}],
    ],
)
def test_a_tool_that_is_not_called_as_it_must_be_is_no_answer(content: list[Any]) -> None:
    with pytest.raises(InvalidAnswer):
        REPORTED.read(message(*content, stop_reason="tool_use"), 1)


@pytest.mark.parametrize(
    ("stop_reason", "error"),
    [
        ("max_tokens", InvalidAnswer),
        ("refusal", Refused),
        ("pause_turn", InvalidAnswer),
        ("tool_use", InvalidAnswer),
        ("model_context_window_exceeded", InvalidAnswer),
        (None, InvalidAnswer),
        (7, InvalidAnswer),
    ],
)
def test_an_answer_that_is_not_whole(stop_reason: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        PLAIN.read(message(text("positive"), stop_reason=stop_reason), 1)
    assert ("raise max_tokens" in str(raised.value)) == (stop_reason == "max_tokens")


@pytest.mark.parametrize("stop_reason", ["end_turn", "stop_sequence"])
def test_an_answer_that_is_whole(stop_reason: str) -> None:
    assert PLAIN.read(message(text("positive"), stop_reason=stop_reason), 1).answers[0].prediction == "positive"


def test_tokens_of_a_cache_are_read_too() -> None:
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 600,
        "cache_creation_input_tokens": 300,
        "output_tokens": 40,
    }
    assert PLAIN.read(message(text("positive"), usage=usage), 1).usage == Usage(1000, 40, 600, 0, 300)
    assert PLAIN.read(message(text("positive"), usage=None), 1).usage is None
    odd: Any = PLAIN.read(message(text("positive"), usage={"input_tokens": "many"}), 1).usage
    assert odd is not None
    assert odd.prompt_tokens == "many"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"content": "text"}', b'{"content": null}', b"\xff", b"[" * 9000])
def test_what_is_no_message_is_no_answer(body: bytes) -> None:
    with pytest.raises(NotAnAnswer):
        PLAIN.read(Response(200, {}, body), 1)


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, "invalid_request_error", CallRefused),
        (401, "authentication_error", Terminal),
        (402, "billing_error", Terminal),
        (403, "permission_error", Terminal),
        (404, "not_found_error", Terminal),
        (413, "request_too_large", ContentRefused),
        (429, "rate_limit_error", RateLimited),
        (500, "api_error", RemoteError),
        (504, "timeout_error", RemoteError),
        (529, "overloaded_error", RemoteError),
    ],
)
def test_errors_are_what_their_statuses_and_types_say(status: int, kind: str, error: type[Exception]) -> None:
    body = orjson.dumps({"type": "error", "error": {"type": kind, "message": "so it is"}, "request_id": "r"})
    with pytest.raises(error, match=f"{status}: so it is"):
        PLAIN.raise_for(Response(status, {}, body))


def test_the_estimate_counts_the_prompt_and_the_answer() -> None:
    assert PLAIN.estimate(["x" * 400]) == 100 + 256
    assert REPORTED.estimate(["x" * 400]) > PLAIN.estimate(["x" * 400])
