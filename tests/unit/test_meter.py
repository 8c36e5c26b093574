"""What the calls to the remote take."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bisupervised.agents.remote.asking import Bill
from bisupervised.agents.remote.endpoint import Endpoint, endpoint, error_type
from bisupervised.agents.remote.meter import Meter
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.retry import Terminal
from bisupervised.agents.remote.transport import Response, Sent
from bisupervised.schemas.errors import InvalidAnswer, RateLimited, RemoteFailure
from support.remote import Clock, client_of
from support.remotes import answered, chat_completion, choice

pytestmark = pytest.mark.unit

ANSWER = answered(chat_completion(choice("yes", [-0.1])))


async def metered(*script: Response, **retry: Any) -> Meter:
    """The meter of a client that has asked once, of a remote that takes 0.5 s."""
    clock = Clock()
    steps = iter(script)

    def answer(sent: Sent) -> Response:
        clock.now += 0.5
        return next(steps)

    asks, _ = client_of(OpenAIChat("large"), answer, clock, **retry)
    try:
        await asks.ask(["x"], "key", None, Bill())
    except (RemoteFailure, InvalidAnswer):
        return asks.meter
    return asks.meter


async def test_a_call_is_timed_and_its_tokens_are_counted() -> None:
    meter = await metered(ANSWER)
    assert (meter.durations[""].count, meter.durations[""].total) == (1, 0.5)
    assert (meter.tokens["input"].total, meter.tokens["output"].total) == (9, 2)
    assert meter.statistics() == {"calls": {"answered": 1}, "retries": {}}


async def test_each_try_is_a_call_of_its_own_and_its_failure_has_a_name() -> None:
    meter = await metered(Response(503, {}, b""), Response(429, {}, b""), ANSWER)
    assert meter.statistics()["calls"] == {"remote_error": 1, "rate_limited": 1, "answered": 1}
    assert meter.statistics()["retries"] == {"remote_error": 1, "rate_limited": 1}
    assert meter.durations["remote_error"].total == 0.5, "the waits between are in none"


async def test_the_last_try_is_not_followed_by_a_retry() -> None:
    meter = await metered(Response(503, {}, b""), Response(503, {}, b""), tries=2)
    assert meter.statistics() == {"calls": {"remote_error": 2}, "retries": {"remote_error": 1}}


async def test_an_answer_that_is_none_is_a_failed_call() -> None:
    meter = await metered(Response(200, {}, b"nonsense"))
    assert meter.statistics()["calls"] == {"invalid_answer": 1}


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (None, ""),
        (RateLimited("x"), "rate_limited"),
        (Terminal("x"), "terminal"),
        (InvalidAnswer("x"), "invalid_answer"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_errors_have_few_names(error: BaseException | None, name: str) -> None:
    assert error_type(error) == name


@pytest.mark.parametrize(
    ("protocol", "url", "wanted"),
    [
        ("openai_chat", "https://a.example/v1", Endpoint("chat", "openai", "m", "a.example", 443)),
        ("tei", "http://a.example:81", Endpoint("predict", "tei", "m", "a.example", 81)),
        ("open_inference", "http://a.example", Endpoint("predict", "open_inference", "m", "a.example", 80)),
    ],
)
def test_who_is_asked_in_the_words_of_opentelemetry(protocol: str, url: str, wanted: Endpoint) -> None:
    assert endpoint(protocol, "m", url) == wanted
