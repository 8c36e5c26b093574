from __future__ import annotations

import orjson
import pytest
from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.protocols.templates import parse
from bisupervised.agents.remote.sending import outbound
from bisupervised.schemas.codec import Request, RequestFormat, encode_facts
from bisupervised.schemas.errors import InvalidRequest
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER, Facts, Source
from support.records import Record
from support.remote import Clock, client_of
from support.remotes import answered, chat_completion, choice

DOCUMENT = {"id": 7, "input": "a", "context": "b", "salary": "canary"}


def request(document: object = DOCUMENT) -> Request:
    return Request(document, "a", None, None)


def test_by_default_the_models_input_leaves() -> None:
    assert outbound(request(), ()) == "a"


def test_named_fields_leave_and_no_other() -> None:
    assert outbound(request(), ("context", "input")) == {"context": "b", "input": "a"}


@pytest.mark.parametrize("document", [{"input": "a"}, [1], "a"])
def test_a_request_without_the_field(document: object) -> None:
    with pytest.raises(InvalidRequest, match="'context'"):
        outbound(request(document), ("input", "context"))


@pytest.mark.parametrize("send", [(), ("input", "context")])
async def test_nothing_else_is_in_the_call(send: tuple[str, ...]) -> None:
    prompt = parse("{context}: {input}" if send else "{input}")
    client, transport = client_of(
        OpenAIChat("m", prompt=prompt, fields=send), [answered(chat_completion(choice("yes")))], Clock()
    )
    headers = [(FACTS_HEADER, encode_facts(Facts(Source("requests", 0, 1)))), ("other", b"canary")]
    [outcome] = await Remote(client, RequestFormat(), send=send).answer(
        [Record(orjson.dumps(DOCUMENT), headers=headers)]
    )
    assert outcome.to == "answers"
    [sent] = transport.sent
    assert "canary" not in f"{sent.body!r} {sent.headers}"
    assert orjson.loads(sent.body)["messages"][0]["content"] == ("b: a" if send else "a")


async def test_a_request_that_lacks_a_field_falls_back_unpaid() -> None:
    client, transport = client_of(OpenAIChat("m", fields=("nothing",)), [], Clock())
    headers = [(FACTS_HEADER, encode_facts(Facts(Source("requests", 0, 1))))]
    agent = Remote(client, RequestFormat(), send=("nothing",))
    [outcome] = await agent.answer([Record(orjson.dumps(DOCUMENT), headers=headers)])
    assert dict(outcome.headers)[REASON_HEADER] == b"invalid_request"
    assert transport.sent == []
