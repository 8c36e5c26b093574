from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from bisupervised.agents.answers import read_tokens
from bisupervised.agents.remote.protocol import Usage
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.errors import RateLimited
from bisupervised.streams.demo import run_questions
from bisupervised.streams.demo.chat_server import (
    WRONG,
    ChatBatches,
    ChatService,
    completion,
    likelihood,
    make_chat_app,
)
from bisupervised.streams.demo.questions import (
    MODEL_VARIABLE,
    NumberQuestion,
    answerer,
    load_answerer,
    make_split,
    side,
    train,
    words,
)
from bisupervised.streams.demo.thresholds import ThresholdPair
from bisupervised.streams.sandbox.model_server import CallMeter, Limit
from bisupervised.streams.settings.file import load_settings


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (342, "three hundred forty two"),
        (7000, "seven thousand"),
        (9010, "nine thousand ten"),
        (9999, "nine thousand nine hundred ninety nine"),
    ],
)
def test_a_number_in_words(number: int, text: str) -> None:
    assert words(number) == text


def test_every_number_has_words_of_its_own() -> None:
    assert len({words(number) for number in range(10_000)}) == 10_000


def test_a_seed_makes_the_same_parts_and_no_question_is_in_two() -> None:
    split = make_split(3)
    assert split == make_split(3)
    answers = [question.answer for part in (split.training, split.calibration, split.held_out) for question in part]
    assert len(set(answers)) == len(answers)


def test_a_model_learns_what_it_was_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = [NumberQuestion(f"Spell out {number}.", words(number)) for number in (5, 17, 320)] * 8
    path = tmp_path / "local.pt"
    train(questions, 0, path)
    monkeypatch.setenv(MODEL_VARIABLE, str(path))
    answers = answerer()([question.text for question in questions[:3]])
    assert [text for text, _ in answers] == ["five", "seventeen", "three hundred twenty"]
    assert [len(logprobs) for _, logprobs in answers] == [2, 2, 4], "its words, and the end"
    assert all(0.5 < (answer.score or 0.0) <= 1.0 for answer in read_tokens(answers, 3, "token_mean"))
    assert answers == load_answerer(path)([question.text for question in questions[:3]]), "and says the same again"


def test_how_a_model_is_judged() -> None:
    judged = side([NumberQuestion("a", "one"), NumberQuestion("b", "two")], [("one", 0.75), ("three", 0.5)])
    assert (judged.scores.tolist(), judged.correct.tolist()) == ([0.75, 0.5], [True, False])


def test_the_scripted_model_is_wrong_as_often_as_it_says_and_less_sure_then() -> None:
    questions = [NumberQuestion(f"Spell out {number}.", words(number)) for number in range(5_000)]
    judged = side(questions, [likelihood(completion(question.text)) for question in questions])
    assert 1 - judged.accuracy == pytest.approx(WRONG, abs=0.01)
    assert judged.scores[judged.correct].min() >= 0.8
    assert judged.scores[~judged.correct].mean() < judged.scores[judged.correct].mean()
    assert completion("Spell out 7.") == completion("Spell out 7.")


ASKS = OpenAIChat("scripted", score="token_mean")


async def asked(service: ChatService, *bodies: bytes) -> list[Response]:
    """What the server says to these, one after the other."""
    async with TestClient(TestServer(make_chat_app(service))) as client:
        responses = [await client.post("/v1/chat/completions", data=body) for body in bodies]
        return [Response(each.status, {**each.headers}, await each.read()) for each in responses]


async def test_the_server_speaks_chat_completions() -> None:
    text = "What is 342 in words?"
    [response] = await asked(ChatService(), ASKS.build([text]).body)
    reply = ASKS.read(response, 1)
    answer, score = likelihood(completion(text))
    assert reply.answers[0].prediction == answer
    assert reply.answers[0].score == pytest.approx(score)
    assert (reply.model, reply.usage) == ("scripted", Usage(5, 4))


async def test_it_gives_log_probabilities_only_where_they_are_asked_for() -> None:
    [response] = await asked(ChatService(), OpenAIChat("scripted").build(["Spell out 7."]).body)
    assert ASKS.read(response, 1).answers[0].score is None


async def test_a_limit_a_price_and_bad_bodies() -> None:
    service = ChatService(Limit(0.001, 2), meter=CallMeter(0.5))
    body = ASKS.build(["Spell out 7."]).body
    answered, bad, limited = await asked(service, body, b"[]", body)
    assert (answered.status, bad.status, limited.status) == (200, 400, 429)
    names: dict[str, Any] = {name.lower(): value for name, value in limited.headers.items()}
    with pytest.raises(RateLimited, match="Rate limit") as caught:
        ASKS.raise_for(Response(limited.status, names, limited.body))
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 900
    bill = service.meter.snapshot()
    assert (bill["calls"], bill["refused"], bill["invalid"], bill["cost"]) == (1, 1, 1, 0.5)
    assert orjson.loads(bad.body)["error"]["message"] == "The body is no chat"


def test_an_input_in_a_batch_costs_half_of_a_call() -> None:
    service = ChatService(meter=CallMeter(0.5))
    batches = ChatBatches(service, 0.0)
    asked = [(f"b0-{number}", orjson.loads(ASKS.build([f"Spell out {number}."]).body)) for number in range(3)]
    batch = batches.begin(asked, "batch_")
    batches.end_if_due(batch)
    assert [status for status, _ in batch.answers.values()] == [200, 200, 200]
    reply = ASKS.read(Response(200, {}, orjson.dumps(batch.answers[2][1])), 1)
    assert reply.answers[0].prediction == likelihood(completion("Spell out 2."))[0]
    bill = service.meter.snapshot()
    assert (bill["batches"], bill["batched"], bill["calls"], bill["cost"]) == (1, 3, 0, 0.75)


@pytest.mark.parametrize(("batches", "mode"), [(False, "direct"), (True, "batch")])
def test_its_configuration_is_right(tmp_path: Path, batches: bool, mode: str) -> None:
    pair = ThresholdPair(0.9, 0.8)
    file = tmp_path / "questions.toml"
    file.write_text(run_questions._toml("127.0.0.1:9", "http://127.0.0.1:8", pair, batches=batches))
    settings = load_settings(file, {})
    assert settings.remote.mode == mode
    assert settings.remote.batches == batches
