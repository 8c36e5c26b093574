"""A server that refuses an option of a call is asked without it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest
from bisupervised.agents.remote.asking import Bill
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.limiting import suspects
from bisupervised.agents.remote.protocols.label_forms import LabelForm
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.retry import CallRefused
from bisupervised.agents.remote.transport import Response, ScriptedTransport, Sent
from bisupervised.schemas.errors import Refused
from support.remotes import answered, chat_completion, choice

LABELLED = OpenAIChat("m", labels=("no", "yes"), form=LabelForm("json_schema", learns=True))


class Taking:
    """A chat server that takes some options and refuses the others, and one input in any case."""

    def __init__(self, *takes: str) -> None:
        self.takes = takes
        self.asked: list[tuple[str, str]] = []

    def __call__(self, sent: Sent) -> Response:
        document = orjson.loads(sent.body)
        by = next((name for name in ("response_format", "grammar") if name in document), "prompt")
        text = document["messages"][-1]["content"]
        self.asked.append((text, by))
        if by not in (*self.takes, "prompt") or text == "bad":
            return answered({"error": {"message": "it is not supported"}}, 400)
        return answered(chat_completion(choice("yes")))


def asking(server: Taking, protocol: OpenAIChat = LABELLED) -> tuple[RemoteClient, ScriptedTransport]:
    transport = ScriptedTransport(server)
    return RemoteClient(transport, protocol, ClientPolicy("http://remote"), gate=Gate(waits=False)), transport


@pytest.mark.parametrize(
    ("takes", "tried"),
    [
        (["response_format", "grammar"], ["response_format"]),
        (["grammar"], ["response_format", "grammar"]),
        ([], ["response_format", "grammar", "prompt"]),
    ],
)
async def test_an_option_that_is_refused_is_not_the_end_and_is_learned(
    takes: list[str], tried: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    server = Taking(*takes)
    client, transport = asking(server)
    for text in ("a", "b"):
        bill = Bill()
        [answer] = await client.ask([text], text, None, bill)
        assert (answer.prediction, bill.calls) == ("yes", len(tried) if text == "a" else 1)
    assert server.asked == [("a", by) for by in tried] + [("b", tried[-1])]
    assert len({sent.headers["idempotency-key"] for sent in transport.sent}) == len(transport.sent)
    told = [vars(line)["action"] for line in caplog.records if line.levelname == "WARNING"]
    assert told == ["remote_option_refused"] * (len(tried) > 1)
    assert client.gate.breaker.closed


async def test_a_refused_input_teaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "CHECK_S", 0.0)
    server = Taking("response_format")
    client, _ = asking(server)
    with pytest.raises(CallRefused, match="not supported"):
        await client.ask(["bad"], "1", None, Bill())
    assert [by for _, by in server.asked] == ["response_format", "grammar", "prompt"]
    await client.ask(["good"], "2", None, Bill())
    with pytest.raises(Refused):
        await client.ask(["bad"], "3", None, Bill())
    asked = [("good", "response_format"), *[("bad", "response_format")] * 2, ("good", "response_format")]
    assert server.asked[3:] == asked, "once an option is taken, it is settled, also for the probe that blames the input"


async def test_many_calls_at_once_learn_the_same_and_stop_nothing() -> None:
    server = Taking()
    client, _ = asking(server)
    answers = await asyncio.gather(*(client.ask([str(number)], str(number), None, Bill()) for number in range(20)))
    assert [answer.prediction for [answer] in answers] == ["yes"] * 20
    assert client.gate.breaker.closed
    await client.ask(["next"], "next", None, Bill())
    assert server.asked[-1] == ("next", "prompt")


async def test_an_option_that_is_set_is_kept() -> None:
    server = Taking()
    client, _ = asking(server, replace(LABELLED, form=LabelForm("grammar")))
    with pytest.raises(CallRefused):
        await client.ask(["a"], "1", None, Bill())
    assert server.asked == [("a", "grammar")]
