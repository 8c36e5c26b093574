from __future__ import annotations

import math
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

import orjson
import pytest
from bisupervised.agents.answers import Answer
from bisupervised.agents.remote.protocol import Usage
from bisupervised.agents.remote.protocols.label_forms import LabelForm
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.protocols.templates import parse
from bisupervised.agents.remote.retry import ContentRefused, Final, Terminal, may_pass
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.errors import InvalidAnswer, InvalidRequest, RateLimited, Refused, RemoteError
from support.remotes import chat_completion, choice, token

MEAN = "token_mean"
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}


def about(score: float) -> Any:
    """Equal to whatever float is close."""
    return pytest.approx(score)


def body_of(chat: OpenAIChat, given: Any = "a") -> Any:
    return orjson.loads(chat.build([given]).body)


def read(chat: OpenAIChat, *choices: dict[str, Any], **more: Any) -> Answer:
    [answer] = chat.read(Response(200, {}, orjson.dumps(chat_completion(*choices, **more))), 1).answers
    return answer


def told(content: Any, *tokens: tuple[str, float], **more: Any) -> dict[str, Any]:
    """A choice with these tokens."""
    return choice(content, **more) | {"logprobs": {"content": [token(*each) for each in tokens]}}


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
    answer = read(OpenAIChat("m", score=name), told(" Paris\n", ("", 0.0), (" P", -0.5), ("aris\n", -1.0)))
    assert answer.prediction == "Paris"
    assert answer.score == pytest.approx(score)


@pytest.mark.parametrize("logprobs", [None, [], [-0.1, None], [-0.1, -9999.0], [5.0], [0.5, -0.1]])
def test_without_every_log_probability_there_is_no_score(logprobs: list[float | None] | None) -> None:
    answer = read(OpenAIChat("m", score=MEAN), choice("yes", logprobs))
    assert (answer.prediction, answer.score) == ("yes", None)


@pytest.mark.parametrize(
    ("piece", "score"),
    [
        (b'"timings": {"t": NaN}', 0.5),
        (b'"usage": {"prompt_tokens": NaN}', 0.5),
        (b'"created": -Infinity', 0.5),
        (b'"system_fingerprint": "\\ud83d"', 0.5),
        (b'"x": "\\ude00\\ud83d \\ud83d\\ude00", "y": Infinity', 0.5),
        (b'"x": "NaN"', 0.5),
    ],
)
def test_what_json_does_not_have_costs_its_own_value_alone(piece: bytes, score: float) -> None:
    body = orjson.dumps(chat_completion(told("yes \U0001f600", ("yes", math.log(0.5)), (" \U0001f600", math.log(0.5)))))
    answer = OpenAIChat("m", score=MEAN).read(Response(200, {}, b"{" + piece + b"," + body[1:]), 1).answers[0]
    assert answer == Answer("yes \U0001f600", about(score))


def test_a_body_that_would_take_long_to_mend_is_not_mended() -> None:
    body = orjson.dumps(chat_completion(choice("yes")))
    for size, kept in ((200_000, True), (300_000, False)):
        piece = b'{"x": NaN, "y": [' + b"1," * (size // 2) + b"1],"
        expected = nullcontext() if kept else pytest.raises(InvalidAnswer, match="cannot be read")
        with expected:
            OpenAIChat("m").read(Response(200, {}, piece + body[1:]), 1)


def test_half_a_sign_in_the_answer_is_an_unknown_sign() -> None:
    body = orjson.dumps(chat_completion(choice("yes HALF"))).replace(b"HALF", rb"\ud83d")
    [answer] = OpenAIChat("m").read(Response(200, {}, body), 1).answers
    assert answer.prediction == "yes \ufffd"


def test_a_log_probability_that_is_no_number_costs_the_score() -> None:
    body = orjson.dumps(chat_completion(told("yes", ("yes", -0.125)))).replace(b"-0.125", b"NaN")
    [answer] = OpenAIChat("m", score=MEAN).read(Response(200, {}, body), 1).answers
    assert (answer.prediction, answer.score) == ("yes", None)


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
        (OpenAIChat("m"), choice("a", finish_reason=None), "None"),
        (OpenAIChat("m"), choice(None, finish_reason="tool_calls"), "'tool_calls'"),
        (OpenAIChat("m"), choice("a", tool_calls=[{"id": "1"}]), "calls a tool"),
        (OpenAIChat("m"), choice(None), "empty"),
        (OpenAIChat("m"), choice(" \n"), "empty"),
        (OpenAIChat("m", labels=("cat", "dog"), exact=True), choice("Cat"), "'Cat' is none of the 2 labels"),
        (OpenAIChat("m", labels=("cat", "dog")), choice("a cat"), "none of the 2 labels"),
        (JSON, choice("cat"), "not JSON"),
        (JSON, choice('["cat"]'), "no JSON object"),
        (JSON, choice("{'label': b'cat'}"), "not JSON"),
        (JSON, choice("{'label': {'cat'}}"), "not JSON"),
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
        b' "logprobs": {"content": [{"logprob": NaN}]}}]',
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
        (failed(400, "context_length_exceeded"), ContentRefused),
        (failed(400, "content_filter"), ContentRefused),
        (failed(404, "model_not_found"), Terminal),
        (failed(500), RemoteError),
        (failed(529), RemoteError),
        (failed(500, **{"x-should-retry": "false"}), Final),
        (failed(400, **{"x-should-retry": "true"}), RemoteError),
        (failed(401, **{"x-should-retry": "true"}), Terminal),
    ],
)
def test_a_failure_is_classified_once(response: Response, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="told") as caught:
        OpenAIChat("m").raise_for(response)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (413, {"error": {"message": "told", "type": "tokens", "code": "rate_limit_exceeded"}}),
        (400, {"__type": "com.amazon.coral#ThrottlingException", "message": "told"}),
        (400, {"error": {"message": "told", "type": "throttling_error", "code": "400"}}),
        (403, {"error": {"message": "told", "code": 403, "status": "RESOURCE_EXHAUSTED"}}),
        (403, {"error": {"message": "told", "code": "rateLimitExceeded"}}),
        (498, {"error": {"message": "told", "code": "capacity_exceeded"}}),
    ],
)
def test_a_limit_is_one_whatever_the_status(status: int, told: Any) -> None:
    with pytest.raises(RateLimited, match="told"):
        OpenAIChat("m").raise_for(Response(status, {}, orjson.dumps(told)))


@pytest.mark.parametrize(
    "body",
    [
        b"{'error': {'message': 'told', 'code': 'insufficient_quota', 'param': None}}",
        b'{"error": {"message": "told", "code": "insufficient_quota", "retry": NaN}}',
        b'[{"error": {"message": "told \\ud83d", "code": "insufficient_quota"}}]',
    ],
)
def test_a_failure_that_is_no_json_to_the_letter_has_its_code(body: bytes) -> None:
    with pytest.raises(Terminal, match="told"):
        OpenAIChat("m").raise_for(Response(429, {}, body))


def test_what_is_terminal_is_never_tried_again() -> None:
    assert not may_pass(Terminal("over"))


def test_the_wish_of_the_server_in_milliseconds() -> None:
    with pytest.raises(RateLimited) as caught:
        OpenAIChat("m").raise_for(failed(429, **{"retry-after-ms": "250", "retry-after": "1"}))
    assert caught.value.retry_after_s == 0.25


def test_a_success_is_no_failure() -> None:
    OpenAIChat("m").raise_for(Response(200, {}, b""))


# read what is needed, ignore the rest


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("yes", "yes"),
        ([{"type": "text", "text": "yes"}], "yes"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}], "yes"),
        (
            [{"type": "reasoning", "text": "no"}, {"type": "text", "text": "y"}, {"type": "output_text", "text": "es"}],
            "yes",
        ),
        ([{"text": "yes"}], "yes"),
        (["y", "es"], "yes"),
        ({"type": "text", "text": "yes"}, "yes"),
        ([{"type": "text", "text": {"value": "yes", "annotations": []}}, None, 7, {"type": "image_url"}], "yes"),
    ],
)
def test_content_in_parts_is_its_texts_joined(content: Any, text: str) -> None:
    assert read(OpenAIChat("m", score=MEAN), told(content, (text, -0.5))) == Answer(text, math.exp(-0.5))


@pytest.mark.parametrize("content", [[], [{"type": "text"}], [{"type": "thinking", "text": "yes"}], {}, 7, True])
def test_content_without_text_is_empty(content: Any) -> None:
    with pytest.raises(InvalidAnswer, match="empty"):
        read(OpenAIChat("m"), choice(content))


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (choice("a", finish_reason="content_filter"), "ended with 'content_filter'"),
        (choice("", finish_reason="SAFETY"), "ended with 'SAFETY'"),
        (choice("a", finish_reason="content_filter: PROHIBITED_CONTENT"), "ended with 'content_filter: PROHIBITED"),
        (choice("a", finish_reason="FINISH_REASON_SAFETY"), "ended with 'FINISH"),
        (choice("a", finish_reason="SPII"), "ended with 'SPII'"),
        (choice("a", finish_reason="sensitive"), "ended with 'sensitive'"),
        (choice("a", finish_reason="guardrail_intervened"), "ended with 'guardrail"),
        (choice("a", finish_reason="content_filtered"), "ended with 'content_filtered'"),
        (choice(None, refusal="I will not"), "refuses to answer: I will not"),
    ],
)
def test_what_is_withheld_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(Refused, match=match):
        read(OpenAIChat("m"), given)


def test_a_part_may_be_a_refusal() -> None:
    with pytest.raises(Refused, match="refuses to answer: never"):
        read(OpenAIChat("m"), choice([{"type": "refusal", "refusal": "never"}]))  # type: ignore[arg-type]  # a list


@pytest.mark.parametrize(
    "word",
    [
        *("stop", "STOP", "Stop", "eos", "eos_token", "end_turn", "END_TURN", "stop_sequence"),
        *("COMPLETE", "FINISH_REASON_STOP", "FinishReason.STOP", "stop_token", "endoftext"),
    ],
)
def test_every_servers_word_for_a_whole_answer(word: str) -> None:
    assert read(OpenAIChat("m"), choice("a", finish_reason=word)).prediction == "a"


@pytest.mark.parametrize("word", ["length", "MAX_TOKENS", "model_length", "error", "", "abort", 7, {"reason": "stop"}])
def test_every_other_word_is_none_unless_it_is_set(word: Any) -> None:
    with pytest.raises(InvalidAnswer, match="not whole: 'posit'"):
        read(OpenAIChat("m"), choice("posit", finish_reason=word))
    if isinstance(word, str) and word:
        assert read(OpenAIChat("m", finish_reasons=(word.upper(),)), choice("a", finish_reason=word)).prediction == "a"


def test_a_label_that_is_cut_off_says_what_to_set() -> None:
    with pytest.raises(InvalidAnswer, match=r'raise max_tokens, or, .* set finish_reasons = \["length"\]'):
        read(OpenAIChat("m", labels=("yes", "no")), choice("no", finish_reason="length"))
    with pytest.raises(InvalidAnswer, match=r"'no'$"):
        read(OpenAIChat("m"), choice("no", finish_reason="length"))


@pytest.mark.parametrize(
    "usage", [{}, [], "12", 12.5, {"prompt_tokens": 12.0}, {"prompt_tokens": "x", "prompt_tokens_details": [{}]}]
)
def test_usage_of_another_shape_does_not_cost_the_answer(usage: Any) -> None:
    assert read(OpenAIChat("m"), choice("a"), usage=usage).prediction == "a"


def test_what_is_not_needed_may_have_any_shape() -> None:
    strange = {"index": "0", "message": {"content": "a", "role": 7, "annotations": 0}, "finish_reason": "stop"}
    document = {"id": [], "created": "now", "model": 7, "object": None, "choices": [strange], "system_fingerprint": {}}
    reply = OpenAIChat("large").read(Response(200, {}, b"\xef\xbb\xbf" + orjson.dumps(document)), 1)
    assert (reply.answers, reply.model) == ([Answer("a", None)], "large")


# a score of the answer's own tokens


THOUGHT = (("<think>", -0.1), ("hm", -3.0), (" maybe", -3.5), ("</think>", -0.2))


@pytest.mark.parametrize(
    ("content", "tokens", "score"),
    [
        ("positive", [*THOUGHT, ("positive", -0.01)], -0.01),
        ("positive", [*THOUGHT, ("\n\n", -2.0), (" positive", -0.01), ("<|im_end|>", -4.0), ("</s>", -4.0)], -0.01),
        ("positive", [("<seed:think>", -0.1), ("hm", -3.0), ("</seed:think>", -0.1), ("positive", -0.01)], -0.01),
        ("positive", [("hm", -3.0), ("<|END_THINKING|>", -0.1), ("positive", -0.01)], -0.01),
        (
            "positive",
            [("Here is my thought process:", -0.1), ("Here is my response:", -3.0), ("positive", -0.01)],
            -0.01,
        ),
        ("positive", [("<|im_start|>", -0.1), ("\n", -3.0), ("positive", -0.01)], -0.01),
        ("very positive", [("▁very", -0.5), ("▁positive", -0.5)], -0.5),
        ("very\npositive", [("very", -0.5), ("Ċ", -0.5), ("Ġpositive", -0.5)], -0.5),
        ("a<b>", [("a", -0.5), ("<b>", -0.5)], -0.5),
        ("positive", [("```", -9.0), ("\n", -1.0), ("positive", -0.5), ("\n", -1.0), ("```", -0.1), ("", -0.8)], -0.5),
        # found no more: no score
        ("positive", THOUGHT, None),
        ("positive", [("<think>", -0.1), ("it is", -3.0), (" positive", -3.0)], None),
        ("positive", [("positive", -0.1), (" or", -3.0), (" not", -3.0)], None),
        # words before it may be reasoning whose end looks like the answer
        ("positive", [("hm", -3.0), (" positive", -3.0), (" maybe", -3.5), ("pos", -0.01), ("itive", -0.01)], None),
        ("positive", [("Here is my thought process:", -0.1), (" it is", -3.0), (" positive", -0.01)], None),
        ("positive", [("Here is my thought process:", -0.1), ("positive", -0.01)], None),
        ("positive", [("<seed:think>", -0.1), (" positive", -0.01)], None),
        ("positive", [("<thought_process>", -0.1), (" positive", -0.01)], None),
        ("positive", [("[THINK]", -0.1), ("[/THINK]", -0.1), ("[THINK]", -0.1), (" positive", -0.01)], None),
        ("positive", [("<musing>", -0.1), ("hm", -3.0), ("</musing>", -0.1), (" positive", -0.01)], None),
        ("positive", [("<|begin_of_thought|>", -0.1), ("positive", -0.01), ("<|end_of_thought|>", -0.1)], None),
        ("positive", [("non", -0.1), ("positive, but", -3.0)], None),
        ("positive", [("nonpositive", -0.1)], None),
        ("positive", [("token_id:71", -0.1)], None),
    ],
)
def test_the_score_is_that_of_the_answers_tokens_or_none(
    content: str, tokens: list[tuple[str, float]], score: float | None
) -> None:
    answer = read(OpenAIChat("m", score=MEAN), told(content, *tokens))
    assert answer.prediction == content
    assert answer.score == (None if score is None else pytest.approx(math.exp(score)))
    assert bool(answer.unscored) == (score is None)


def test_tokens_that_are_pieces_of_letters_are_found_by_their_bytes() -> None:
    pieces = [{"token": "\ufffd", "logprob": -0.5, "bytes": [byte]} for byte in "é".encode()]
    answer = read(OpenAIChat("m", score=MEAN), choice("é") | {"logprobs": {"content": pieces}})
    assert answer.score == pytest.approx(math.exp(-0.5))


def test_what_a_stop_sequence_cut_off_may_follow() -> None:
    given = told("positive", ("positive", -0.5), ("###", -3.0), ("User", -3.0))
    assert read(OpenAIChat("m", score=MEAN), given).score is None
    assert read(OpenAIChat("m", score=MEAN, extra={"stop": ["##"]}), given).score == pytest.approx(math.exp(-0.5))


def test_log_probabilities_as_legacy_completions_tell_them() -> None:
    logprobs = {"tokens": ["pos", "itive"], "token_logprobs": [-0.5, -1.0], "text_offset": [0, 3]}
    answer = read(OpenAIChat("m", score=MEAN), choice("positive") | {"logprobs": logprobs})
    assert answer.score == pytest.approx(math.exp(-0.75))


@pytest.mark.parametrize(
    "logprobs", ["x", 7, [], {"content": "x"}, {"content": [{"logprob": "high"}]}, {"tokens": [1]}]
)
def test_log_probabilities_of_another_shape_are_none(logprobs: Any) -> None:
    answer = read(OpenAIChat("m", score=MEAN), choice("yes") | {"logprobs": logprobs})
    assert (answer.prediction, answer.score) == ("yes", None)
    assert "log-probabilities" in answer.unscored


# answers that models wrap


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>hm\nno</think>\n\nyes", "yes"),
        ("hm, the prompt began it</think>yes", "yes"),
        ("[THINK]hm[/THINK]yes", "yes"),
        ("<Thinking>hm</Thinking> <think>again</think> yes", "yes"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>yes", "yes"),
        ("<seed:think>hm</seed:think>yes", "yes"),
        ("<thought_process>no</thought_process>\nyes", "yes"),
        ("<|begin_of_thought|>no<|end_of_thought|>yes<|eot_id|>", "yes"),
        ("<|START_THINKING|>no<|END_THINKING|><|START_RESPONSE|>yes<|END_RESPONSE|>", "yes"),
        ("Here is my thought process: no. Here is my response: yes", "yes"),
        ("yes<｜end▁of▁sentence｜>", "yes"),
        ("<s>yes</s>", "yes"),
        (r"$\boxed{\text{yes}}$", "yes"),
        (r"so it is \boxed{yes}", r"so it is \boxed{yes}"),
        ("```\nyes\n```", "yes"),
        ("```text\nyes\n```\n", "yes"),
        ("~~~\nyes\n~~~", "yes"),
        ("<answer>yes</answer>", "yes"),
        ("<think>`</think><answer>\n```\nyes\n```\n</answer>", "yes"),
        ("run ```ls``` and see", "run ```ls``` and see"),
        ("yes", "yes"),
    ],
)
def test_one_option_reads_the_answer_out_of_what_is_around_it(content: str, text: str) -> None:
    assert read(OpenAIChat("m", unwrap=True), choice(content)).prediction == text
    assert read(OpenAIChat("m"), choice(content)).prediction == content.strip()


@pytest.mark.parametrize(
    "content",
    [
        "<think>hm, yes",
        "[THINK]yes",
        "<think>a</think><think>yes",
        "<seed:think>yes",
        "<|START_THINKING|>yes",
        "Here is my thought process: yes",
        "Thinking...\nyes",
        "<inner_monologue>yes",
        "Reasoning: yes",
    ],
)
def test_reasoning_that_has_not_ended_is_no_answer(content: str) -> None:
    with pytest.raises(InvalidAnswer, match="not ended"):
        read(OpenAIChat("m", unwrap=True), choice(content))


@pytest.mark.parametrize(
    "content",
    [
        '```json\n{"label": "cat"}\n```',
        'Here it is:\n```\n{"label": "cat"}\n```\nYours',
        '<think>{</think>{"label": "cat"}',
        "{'label': 'cat', 'why': None}",
        '{"label": "cat", "p": NaN}',
    ],
)
def test_json_is_found_in_a_fence(content: str) -> None:
    chat = OpenAIChat("m", response_format="json_object", answer_path="label", unwrap=True)
    assert read(chat, choice(content)).prediction == "cat"


def test_the_score_of_what_is_unwrapped_is_that_of_its_tokens() -> None:
    tokens = [*THOUGHT, ("```", -4.0), ("\n", -4.0), ("positive", -0.01), ("\n", -4.0), ("```", -4.0)]
    answer = read(OpenAIChat("m", score=MEAN, unwrap=True), told("<think>hm maybe</think>```\npositive\n```", *tokens))
    assert answer == Answer("positive", math.exp(-0.01))


# labels


TWO = ("negative", "positive")


@pytest.mark.parametrize(
    "content",
    [
        "positive", " positive\n", "Positive", "POSITIVE", "positive.", '"Positive"', "**positive**", "- positive",
        "`positive`", "<b>Positive</b>!", "<label>positive</label>", "$\\boxed{\\text{positive}}$", "(positive)",
        "«positive»", "# Positive", "\u201cpositive\u201d", "positive\u3002",
        "```\npositive\n```", "```json\n\"positive\"\n```",
        "<s>positive</s>", "<think></think>positive", "~~~\npositive\n~~~", "✅ positive",
        "positive<|im_end|>", "&quot;positive&quot;", "positive 👍",
        "Label: positive", "Answer: positive", "1. positive", "ｐｏｓｉｔｉｖｅ", '{"label": "positive"}',
        "{'label': 'positive'}", "**Label:** positive", "__Answer__: **positive**", "Final answer: positive",
        "The answer is: positive.", "The sentiment is positive", "| Label |\n|---|\n| positive |",
        "<answer>positive</answer>", r"\boxed{positive}", r"$\boxed{\text{Answer: positive}}$", '"positive".',
        "positive<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\npositive", "\u200fpositive\u200f",
        "\u00a0positive\u00a0", "&nbsp;positive&#33;", "&#39;positive&#39;", "Answer: B) positive", "[x] positive",
        "1) **positive**", "答案：positive", '{"label":"positive","confidence":0.9,"reason":"not negative"}',
        "{'label': 'positive', 'confidence': 0.9}", '[{"label": "positive", "score": 0.9}]', "Label - positive",
        "<|im_end|>positive",
        "label=positive", "Label -> positive", "### Label\npositive", "[POSITIVE]", "['positive']", "{label: positive}",
        "posi\u00adtive", "&lt;b&gt;positive&lt;/b&gt;", '<answer label="positive"/>', "positive<｜end▁of▁sentence｜>",
        '```json\n{"label": "positive"}\n```', '{"sentiment": "Positive."}', "<|channel|>final<|message|>positive",
    ],
)  # fmt: skip
def test_case_white_space_punctuation_and_mark_up_around_a_label_are_ignored(content: str) -> None:
    assert read(OpenAIChat("m", labels=TWO), choice(content)).prediction == "positive"
    if content.strip() != "positive":
        with pytest.raises(InvalidAnswer, match="none of the 2 labels"):
            read(OpenAIChat("m", labels=TWO, exact=True), choice(content))


@pytest.mark.parametrize(
    "content",
    ["not positive", "positively", "posi", "positive, or negative", "nonpositive", "!positive", "it is positive",
     "<think>positive</think>", "<think>positive", "positive</think>", "[THINK]positive[/THINK]", "~~positive~~",
     "~positive", "<del>positive</del>", "<strike>positive</strike>", "<not>positive", "&not;positive",
     "Label: not positive", "Not: positive", "Wrong answer: positive", "Answer: positive or negative",
     "Label: non-positive", "- [ ] positive", "☐ positive", "Options: positive", '{"not": "positive"}',
     '{"label": "not positive"}', '{"label":"positive","negated":true}', "Label != positive", "Label ≠ positive",
     "=\u0338positive", "Label <> positive", "is the label positive?", "Label: positive?",
     "Label: positive\nLabel: negative", "1. positive\n2. negative", "0.1: positive", "p̶o̶s̶i̶t̶i̶v̶e̶", "positive\u20e0",
     '[{"label": "positive", "score": 0.9}, {"label": "negative", "score": 0.1}]',
     "[NEVER] positive", r"\never positive", "<unlike>positive</unlike>", "```not\npositive```", "<|not|>positive",
     "[NOT] positive", "[NEGATIVE] positive", "<negative>positive</negative>", "```negative\npositive```",
     r"\overline{positive}",
     "Input: positive", "&#8800;positive", "the opposite of positive", "The label is not positive",
     "The answer isn't positive", "👎 positive", "<wrong>positive</wrong>", '{"positive": ""}', "Example: positive",
     '{"answer":"positive","label":"negative"}', "Answer positive", "Label: positive (wrong)", '{"1": "positive"}',
     "<seed:think>positive</seed:think>", "<seed:think>positive", "[Thought]positive[/Thought]",
     "Here is my thought process: positive", "positive<|end_of_thought|>", '{"label": ["positive", "negative"]}',
     "❌ positive", "✗ positive", "✘positive", "positive ✗", "positive positive", "x" * 5000, "." * 2000 + "positive"],
)  # fmt: skip
def test_what_is_no_label_is_refused_and_shown(content: str) -> None:
    with pytest.raises(InvalidAnswer, match="none of the 2 labels") as caught:
        read(OpenAIChat("m", labels=TWO), choice(content))
    assert content.split("\n")[0][:40] in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("labels", "content", "label"),
    [
        (("C", "D"), r"\neg C", None),
        (("C", "D"), r"\not C", None),
        (("~C", "C"), "~C.", "~C"),
        (("❌", "✅"), "❌.", "❌"),
        (("C", "C++"), "**C++**", "C++"),
        (("C", "C++"), "c", "C"),
        (("A", "B"), "A+", None),
        (("0", "1"), "1.", "1"),
        (("0", "1"), "- 1", "1"),
        (("0", "1"), "-1", None),
        (("-1", "1"), "-1.", "-1"),
        (("0", "1"), "0.1", None),
        (("yes", "Yes"), "Yes", "Yes"),
        (("yes", "Yes"), "YES", None),
        (("very good", "good"), "Very\n good.", "very good"),
        (("straße",), "Straße!", "straße"),
        (("not_spam", "spam"), "not spam", "not_spam"),
        (("not_spam", "spam"), "Not-Spam.", "not_spam"),
        (("not_spam", "spam"), "NotSpam", "not_spam"),
        (("not_spam", "spam"), "Label: spam", "spam"),
        (("spam", "ham"), "not spam", None),
        (("not_spam", "not spam"), "NOT SPAM", None),
        (("café", "thé"), "Cafe\u0301.", "café"),
        (("cafe\u0301", "thé"), "CAFÉ", "cafe\u0301"),
        (("cafe", "the"), "cafe\u0301", None),
        (("긍정", "부정"), "\u1100\u1173\u11bc\u110c\u1165\u11bc", "긍정"),
        (("积极", "消极"), "答案：积极。", "积极"),
        (("积极", "消极"), "不积极", None),
        (("❤️", "💔"), "❤", "❤️"),
        (("👍", "👎"), "👎", "👎"),
        (("👍", "👎"), "👍👎", None),
        (("R&D", "HR"), "R&amp;D", "R&D"),
        (("1", "2"), "１", "1"),
        (("1", "2"), "<b>1</b>", "1"),
        (("1", "2"), "Rating: 1", "1"),
        (("1", "2"), "1. 2", None),
        (("1", "2"), ">1", None),
        (("1", "2"), "≥ 1", None),
        (("A", "B"), "1. A", "A"),
        (("A", "B"), "B. A", None),
        (("answer", "question"), "Answer: question", None),
        (("\u200b", "yes"), "Yes.", "yes"),
        (("\u200b", "yes"), "\u200b.", None),
    ],
)
def test_labels_that_are_close_to_each_other(labels: tuple[str, ...], content: str, label: str | None) -> None:
    chat = OpenAIChat("m", labels=labels)
    if label is not None:
        assert read(chat, choice(content)).prediction == label
        return
    with pytest.raises(InvalidAnswer, match="labels"):
        read(chat, choice(content))


@pytest.mark.parametrize(("value", "label"), [(1, "1"), (True, "true"), ("One.", "one")])
def test_a_label_in_json_may_be_a_number(value: Any, label: str) -> None:
    chat = OpenAIChat("m", response_format="json_object", answer_path="a", labels=("1", "true", "one"))
    assert read(chat, choice(orjson.dumps({"a": value}).decode())).prediction == label


# held to the labels


def test_the_labels_go_out_as_a_schema_or_a_grammar_or_not_at_all() -> None:
    asked = body_of(OpenAIChat("m", labels=TWO, form=LabelForm("json_schema"), max_tokens=1))
    schema = asked["response_format"]["json_schema"]
    assert schema["schema"]["properties"]["label"] == {"type": "string", "enum": [*TWO]}
    assert (asked["response_format"]["type"], schema["strict"]) == ("json_schema", True)
    assert asked["max_completion_tokens"] >= len('{"label": "negative"}'), "the longest label fits in"
    asked = body_of(OpenAIChat("m", labels=("a", 'say "b"'), form=LabelForm("grammar")))
    assert asked["grammar"] == r'root ::= "a" | "say \"b\""'
    assert "response_format" not in asked
    plain = OpenAIChat("m", labels=TWO, max_tokens=3)
    assert body_of(replace(plain, form=LabelForm("prompt"))) == body_of(plain)


@pytest.mark.parametrize("by", ["json_schema", "grammar", "prompt"])
@pytest.mark.parametrize(
    "content",
    [
        '{"label": "positive"}',
        '```json\n{"label":"Positive"}\n```',
        '{"answer": "positive"}',
        '"positive"',
        "Positive.",
    ],
)
def test_a_server_may_take_the_option_and_not_heed_it(by: Any, content: str) -> None:
    assert read(OpenAIChat("m", labels=TWO, form=LabelForm(by)), choice(content)).prediction == "positive"


# the probability of each label


def classes(
    *tokens: tuple[str, float, dict[str, float]], content: str, labels: tuple[str, ...] = TWO, **more: Any
) -> Answer:
    """What is answered where these tokens come, each with the probabilities of it and of others in its place."""
    told = [
        token(text, math.log(chance), {each: math.log(of) for each, of in top.items()}) for text, chance, top in tokens
    ]
    chat = OpenAIChat("m", labels=labels, **{"score": "label_softmax"} | more)
    return read(chat, choice(content) | {"logprobs": {"content": told}})


POSITIVE = ("Pos", 0.5, {"Pos": 0.5, " positive": 0.2, "neg": 0.1, "The": 0.1, "\n": 0.05})


@pytest.mark.parametrize(
    ("score", "value"),
    [
        ("label_softmax", 0.7),
        ("max_softmax", 0.8),
        ("pcs", 0.6),
        ("softmax_entropy", 1 + (0.8 * math.log(0.8) + 0.2 * math.log(0.2)) / math.log(2)),
        ("token_first", 0.5),
    ],
)
def test_labels_are_classes_and_what_is_left_is_doubt(score: str, value: float) -> None:
    answer = classes(POSITIVE, ("itive", 1.0, {}), (".", 0.4, {".": 0.4}), content="Positive.", score=score)
    assert answer == Answer("positive", about(value))


def test_labels_that_begin_alike_are_followed_until_they_part() -> None:
    labels = ("very good", "very bad", "good")
    first = ("very", 0.8, {"very": 0.8, "good": 0.1, "the": 0.1})
    second = (" good", 0.75, {" good": 0.75, " bad": 0.25})
    assert classes(first, second, content="very good", labels=labels).score == pytest.approx(0.6)
    assert classes(first, second, content="very good", labels=labels, score="pcs").score == pytest.approx(0.4)


def test_a_label_that_begins_another_is_the_one_that_was_written() -> None:
    answer = classes(("good", 0.9, {"good": 0.9, "bad": 0.1}), content="good", labels=("good", "good enough", "bad"))
    assert answer == Answer("good", about(0.9))


def test_candidates_may_come_in_a_mapping_and_cost_no_other_score() -> None:
    row = token("positive", math.log(0.6)) | {"top_logprobs": {"positive": math.log(0.6), "Pos": math.log(0.1)}}
    given = choice("positive") | {"logprobs": {"content": [row]}}
    assert read(OpenAIChat("m", labels=TWO, score="label_softmax"), given).score == about(0.7)
    given = choice("positive") | {"logprobs": {"content": [row | {"top_logprobs": ["x"]}]}}
    assert read(OpenAIChat("m", labels=TWO, score=MEAN), given).score == about(0.6)
    assert "top_logprobs cannot be read" in read(OpenAIChat("m", labels=TWO, score="label_softmax"), given).unscored


def test_the_token_behind_a_label_tells_it_from_the_one_that_it_begins() -> None:
    labels = ("pos", "positive", "neg")
    first = ("pos", 0.9, {"pos": 0.9, "neg": 0.1})
    ended = ("<|im_end|>", 0.6, {"<|im_end|>": 0.6, ".": 0.1, "itive": 0.2, " and": 0.1})
    assert classes(first, ended, content="pos", labels=labels).score == about(0.9 * 0.7)
    assert classes(first, ended, content="pos", labels=labels, score="pcs").score == about(0.9 * 0.5)
    longer = ("itive", 0.3, {"itive": 0.3, "": 0.5})
    assert classes(first, longer, content="positive", labels=labels).score == about(0.9 * 0.3)
    assert "another label" in classes(first, longer, content="positive", labels=labels, score="pcs").unscored
    assert classes(first, ("itive", 0.3, {}), content="positive", labels=labels).score == about(0.27)
    assert classes(first, (".", 0.4, {}), content="pos.", labels=labels).score == about(0.36)


@pytest.mark.parametrize(
    ("labels", "content", "tokens", "score"),
    [
        (("1", "10"), "10", [("1", 0.9, {"1": 0.9, "2": 0.1}), ("0", 0.6, {"0": 0.6, ".": 0.4})], 0.54),
        (("1", "10"), "1.", [("1", 0.9, {"1": 0.9, "2": 0.1}), (".", 0.4, {"0": 0.6, ".": 0.4})], 0.36),
        (("1", "10"), "10", [("10", 0.6, {"10": 0.6, "1": 0.4})], 0.6),
        (("spam", "spam_offer"), "spam", [("spam", 0.9, {}), ("</s>", 0.5, {"_": 0.3, " offer": 0.1})], None),
        (
            ("spam", "spam_offer"),
            "spam",
            [("spam", 0.9, {"spam": 0.9}), ("</s>", 0.5, {"</s>": 0.5, "_": 0.3, " offer": 0.1})],
            0.45,
        ),
        (
            ("spam", "spam_offer"),
            "spam offer",
            [("spam", 0.9, {"spam": 0.9}), (" offer", 0.4, {" offer": 0.4, "_offer": 0.2, "\n": 0.4})],
            0.54,
        ),
        (("café", "cafard"), "CAFÉ", [("CAF", 0.9, {"CAF": 0.9}), ("É", 0.6, {"É": 0.6, "ARD": 0.3})], 0.54),
        (("-1", "1"), "-1", [("-", 0.6, {"-": 0.6, "1": 0.3}), ("1", 1.0, {})], 0.6),
        (("1", "1.5"), "1", [("1", 0.9, {"1": 0.9}), ("</s>", 0.5, {"</s>": 0.5, ".": 0.4})], 0.45),
        (("A", "A-"), "A-", [("A", 0.9, {"A": 0.9, "B": 0.1}), ("-", 0.6, {"-": 0.6, "": 0.4})], 0.54),
        (("not spam", "spam"), "not_spam", [("not_spam", 0.9, {"not_spam": 0.9, "spam": 0.1})], 0.9),
        (("pos", "neg"), "label: pos", [("label: ", 0.9, {}), ("pos", 0.6, {"pos": 0.6, "neg": 0.4})], 0.6),
    ],
)
def test_labels_of_which_one_begins_another(
    labels: tuple[str, ...], content: str, tokens: list[Any], score: float | None
) -> None:
    answer = classes(*tokens, content=content, labels=labels)
    assert answer.score == (None if score is None else about(score))


@pytest.mark.parametrize("labels", [("👍", "👎"), ("积极", "积木")])
def test_labels_whose_letters_are_in_pieces_are_told_apart_by_their_bytes(labels: tuple[str, str]) -> None:
    def piece(written: bytes, chance: float, **more: Any) -> dict[str, Any]:
        return {"token": "\ufffd", "logprob": math.log(chance), "bytes": list(written)} | more

    spelled = labels[0].encode()
    parts = next(at for at in range(len(spelled)) if spelled[at] != labels[1].encode()[at])
    first = piece(spelled[:parts], 0.9)
    ends = [piece(label.encode()[parts:], chance) for label, chance in zip(labels, (0.7, 0.3), strict=True)]
    tokens = [first | {"top_logprobs": [first]}, ends[0] | {"top_logprobs": ends}]
    given = choice(labels[0]) | {"logprobs": {"content": tokens}}
    chat = OpenAIChat("m", labels=labels, score="label_softmax")
    assert read(chat, given) == Answer(labels[0], about(0.63))
    assert read(replace(chat, score="pcs"), given).score == about(0.9 * 0.4)


def test_the_tokens_of_a_label_in_json_are_not_those_of_its_explanation() -> None:
    answer = classes(
        ('{"label": "', 0.9, {}), ("positive", 0.6, {"positive": 0.6}), ('", "reason": "', 0.9, {}),
        ("positive", 0.99, {"positive": 0.99}), ('"}', 0.9, {}),
        content='{"label": "positive", "reason": "positive"}',
    )  # fmt: skip
    assert answer == Answer("positive", about(0.6))


def test_a_label_in_json_is_scored_by_its_own_tokens() -> None:
    json = [("{", 0.9, {"{": 0.9}), ('"label"', 0.9, {}), (":", 0.9, {})]
    answer = classes(
        *json, (' "positive', 0.6, {' "positive': 0.6, ' "neg': 0.3}), ('"}', 0.9, {}),
        content='{"label": "positive"}', form=LabelForm("json_schema"),
    )  # fmt: skip
    assert answer == Answer("positive", about(0.6))


def test_the_token_that_was_chosen_counts_also_where_it_is_not_among_the_likeliest() -> None:
    assert classes(("positive", 0.1, {"neg": 0.5}), content="positive").score == pytest.approx(0.1)


def test_another_label_than_the_tokens_speak_for_has_no_score_as_a_class() -> None:
    token_ = ("neg", 0.3, {"neg": 0.3, "pos": 0.6})
    assert classes(token_, ("ative", 1.0, {}), content="negative").score == pytest.approx(0.3)
    answer = classes(token_, ("ative", 1.0, {}), content="negative", score="pcs")
    assert answer.score is None
    assert "another label" in answer.unscored


def test_two_tokens_of_one_text_add_up_and_one_that_is_told_twice_does_not() -> None:
    row = token("positive", math.log(0.6))
    tops = [("positive", 0.6), ("positive", 0.1), ("negative", 0.2), ("negative", 0.2)]
    row["top_logprobs"] = [{"token": text, "logprob": math.log(value)} for text, value in tops]
    given = choice("positive") | {"logprobs": {"content": [row]}}
    assert read(OpenAIChat("m", labels=TWO, score="label_softmax"), given).score == about(0.7)


def test_without_top_logprobs_labels_have_no_probabilities() -> None:
    answer = classes(("positive", 0.9, {}), content="positive")
    assert (answer.prediction, answer.score) == ("positive", None)
    assert "top_logprobs" in answer.unscored


# streams that nobody asked for


def streamed(*chunks: Any, done: bool = True, end: str = "\n\n") -> bytes:
    lines = [f"data: {orjson.dumps(chunk).decode()}{end}" for chunk in chunks]
    return "".join([*lines, f"data: [DONE]{end}" * done]).encode()


def delta(content: Any = None, logprob: float | None = None, *, index: int = 0, **more: Any) -> dict[str, Any]:
    said = {"content": content} if content is not None else {}
    logprobs = {"content": [token(content, logprob)]} if logprob is not None else None
    finish = more.pop("finish_reason", None)
    one = {"index": index, "delta": said | more, "finish_reason": finish, "logprobs": logprobs}
    return {"object": "chat.completion.chunk", "model": "large-2", "choices": [one]}


STREAM = (
    delta("", role="assistant"),
    delta(reasoning_content="hm"),
    delta("posi", -0.5),
    delta("tive", -1.0),
    delta(finish_reason="stop"),
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
)


@pytest.mark.parametrize(
    "body",
    [
        streamed(*STREAM),
        streamed(*STREAM, done=False),
        streamed(*STREAM, end="\r\n\r\n"),
        streamed(*STREAM, end="\n"),
        b": a comment\n\nevent: message\nid: 7\n" + streamed(*STREAM),
        b"\xef\xbb\xbf" + streamed(*STREAM) + b"data: never read\n\n",
        b" \n" * 200 + streamed(*STREAM),
        b": " + b"x" * 5000 + b"\n\n" + streamed(*STREAM),
        b"\n\xef\xbb\xbf" + streamed(*STREAM),
        b":\n\n\xef\xbb\xbf" + streamed(*STREAM),
        streamed(*STREAM, end="\r\r"),
        streamed(*STREAM).replace(b'"index":0', b'"index":0,"t":NaN,"x":"\\ud83d"'),
        b"".join(orjson.dumps(chunk) + b"\n" for chunk in STREAM),
    ],
)
def test_a_stream_is_read_as_if_it_had_come_whole(body: bytes) -> None:
    reply = OpenAIChat("m", score=MEAN).read(Response(200, {"content-type": "text/event-stream"}, body), 1)
    assert reply.answers == [Answer("positive", about(math.exp(-0.75)))]
    assert (reply.model, reply.usage) == ("large-2", Usage(9, 2))


def test_several_answers_in_one_stream() -> None:
    body = streamed(
        delta("ye", index=1), delta("no", index=0), delta("s", index=1), delta(finish_reason="stop"),
        delta(index=1, finish_reason="stop"), delta("yes", index=2, finish_reason="stop"),
    )  # fmt: skip
    assert OpenAIChat("m", samples=3).read(Response(200, {}, body), 1).answers == [Answer("yes", about(2 / 3))]


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (streamed(*STREAM[:3], done=False), "not whole"),
        (streamed(*STREAM[:3])[:-40], "cannot be read|not whole"),
        (streamed(delta("a", tool_calls=[{"index": 0}], finish_reason="tool_calls")), "calls a tool"),
        (streamed(delta("a", finish_reason="length")), "'length'"),
        (b"data: {\n\n", "cannot be read"),
        (streamed(*STREAM[:3], done=False) + b'error: {"code": 500, "message": "out of memory"}\n\n', "not whole"),
        (b"data: [DONE]\n\n", "0 answers"),
        (b"event: x\n\n", "0 answers"),
        (streamed(7, "x", {"choices": "x"}, {"choices": [7]}), "0 answers"),
    ],
)
def test_a_stream_without_a_whole_answer(body: bytes, match: str) -> None:
    with pytest.raises(InvalidAnswer, match=match):
        OpenAIChat("m").read(Response(200, {}, body), 1)


@pytest.mark.parametrize(
    "content", ["a" * 400_000, "<think>" * 50_000, "<answer>" * 50_000, "```" * 100_000, "positive " * 40_000]
)
def test_no_answer_holds_up_the_worker(content: str) -> None:
    """Whatever a hostile server writes, reading takes time in proportion to its size."""
    tokens = [("a", -0.1)] * 20_000
    for chat in (OpenAIChat("m", score=MEAN, unwrap=True), OpenAIChat("m", score=MEAN, labels=TWO)):
        began = time.process_time()
        with suppress(InvalidAnswer):
            read(chat, told(content, *tokens))
        assert time.process_time() - began < 1.0


def test_a_stream_may_be_a_refusal() -> None:
    with pytest.raises(Refused, match="refuses to answer: never"):
        OpenAIChat("m").read(
            Response(200, {}, streamed(delta(refusal="ne"), delta(refusal="ver", finish_reason="stop"))), 1
        )
