from __future__ import annotations

from bisupervised.agents.answers import Answer
from bisupervised.agents.remote.asking import Bill
from bisupervised.agents.remote.protocol import Reply, Usage
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.samples import agreed, sample_keys
from bisupervised.agents.remote.transport import Response
from support.remote import Clock, client_of
from support.remotes import answered, chat_completion, choice


def test_a_key_per_sample() -> None:
    assert sample_keys("key", 1) == ["key"]
    assert sample_keys("key", 2) == ["key~1", "key~2"]


def test_the_most_frequent_answer_and_its_share() -> None:
    replies = [
        Reply([Answer(first, None), Answer(second, None)], "m", Usage(3, 1))
        for first, second in [("b", {"x": 1, "y": 2}), ("a", {"y": 2, "x": 1}), ("a", {"x": True, "y": 2})]
    ]
    merged = agreed(replies)
    assert merged.answers == [Answer("a", 2 / 3), Answer({"x": 1, "y": 2}, 2 / 3)]
    assert (merged.model, merged.usage) == ("m", Usage(9, 3))


def test_of_equals_the_earliest() -> None:
    assert agreed([Reply([Answer(text, None)], "m") for text in "baba"]).answers == [Answer("b", 0.5)]


async def test_a_call_per_sample_each_with_its_own_key_and_price() -> None:
    texts = iter(["yes", "no", "yes"])
    chat = OpenAIChat("large", samples=3, samples_by="calls")
    made, transport = client_of(chat, lambda sent: answered(chat_completion(choice(next(texts)))), Clock())
    bill = Bill()
    [answer] = await made.ask(["a"], "a-key", None, bill)
    assert (answer.prediction, answer.score) == ("yes", 2 / 3)
    assert [sent.headers["idempotency-key"][-2:] for sent in transport.sent] == ["~1", "~2", "~3"]
    assert len({sent.headers["idempotency-key"][:-2] for sent in transport.sent}) == 1
    assert len({sent.body for sent in transport.sent}) == 1
    assert (bill.calls, bill.cost) == (3, 6.0)


async def test_a_sample_that_fails_is_tried_again_alone() -> None:
    good = answered(chat_completion(choice("yes")))
    chat = OpenAIChat("large", samples=2, samples_by="calls")
    made, transport = client_of(chat, [good, Response(500, {}, b""), good], Clock())
    [answer] = await made.ask(["a"], "a-key", None, Bill())
    assert answer.score == 1.0
    assert [sent.headers["idempotency-key"][-2:] for sent in transport.sent] == ["~1", "~2", "~2"]
