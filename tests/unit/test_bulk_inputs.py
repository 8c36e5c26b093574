"""From records to the lines of a batch, and from their results to outcomes."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest
from bisupervised.agents.events.reading import PlainReader, as_text
from bisupervised.agents.remote.bulk.identity import Place, place_in
from bisupervised.agents.remote.bulk.inputs import BulkInputs, BulkInputsPolicy, Prepared, Settled
from bisupervised.agents.remote.bulk.provider import LineResult
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.spending.price import Price
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.budget import NANO
from bisupervised.schemas.codec import RequestFormat, decode_facts, encode_facts
from bisupervised.schemas.errors import Reason
from bisupervised.schemas.records import FACTS_HEADER, Facts, Outgoing, Source, Verdict
from support.records import Record, request
from support.remotes import chat_completion, choice

NOW_MS = 1_000_000
DOUBT = Verdict(3, 0.4, 0.5, model="small@1")
POLICY = BulkInputsPolicy("shop")


def inputs(**policy: Any) -> BulkInputs:
    made = {"price": Price(per_input=2.0), "supervisor": "token_mean", **policy}
    chat = OpenAIChat("large", score="token_mean")
    return BulkInputs(chat, RequestFormat(), BulkInputsPolicy("shop", **made), now_ms=lambda: NOW_MS)


def batched(offset: int = 7, *, deadline_ms: int | None = None, paid: Verdict | None = None) -> Record:
    facts = Facts(Source("requests", 0, offset), deadline_ms=deadline_ms, local=DOUBT, remote=paid, topic_id="t")
    made = request("how much?", offset + 100, headers=[("other", b"x"), (FACTS_HEADER, encode_facts(facts))])
    return Record(made.value, made.offset, "batched", 2, headers=made.headers)


def result(document: Any = None, status: int = 200) -> LineResult:
    body = orjson.dumps(chat_completion(choice("5", [-0.1])) if document is None else document)
    return LineResult("id", Response(status, {}, body))


def facts_in(outgoing: Outgoing) -> Facts:
    return decode_facts(Record(outgoing.value, headers=outgoing.headers))


def settled(found: LineResult | None, record: Record | None = None, **policy: Any) -> Settled:
    return inputs(**policy).settle(record or batched(), found, 60_000.0)


def test_a_line_is_what_a_direct_call_sends_under_a_name_that_is_ours_alone() -> None:
    found = inputs().prepare(batched(), "topic")
    assert isinstance(found, Prepared)
    assert orjson.loads(found.line.body)["messages"][-1]["content"] == "how much?"
    assert place_in(found.line.custom_id) == Place(2, 107)
    assert len(found.line.custom_id) <= 64
    assert found.most == NANO
    names = {
        make(batched(offset), topic)
        for make in (inputs().name_of, BulkInputs(OpenAIChat("m"), RequestFormat(), BulkInputsPolicy("other")).name_of)
        for offset in (7, 8)
        for topic in ("topic", "made anew")
    }
    assert len(names) == 8


def test_what_cannot_be_asked_or_not_any_more_is_no_line() -> None:
    late = inputs().prepare(batched(deadline_ms=NOW_MS), "topic")
    assert isinstance(late, Outgoing)
    assert (late.to, facts_in(late).reason) == ("fallback", "timeout")
    assert isinstance(inputs().prepare(batched(deadline_ms=NOW_MS), "topic", late=True), Prepared)
    broken = inputs().prepare(Record(b"{", 1, headers=batched().headers), "topic")
    assert isinstance(broken, Outgoing)
    assert facts_in(broken).reason == "invalid_request"


def test_an_answer_goes_on_to_be_judged_and_costs_half() -> None:
    found = settled(result())
    remote = facts_in(found.outgoing).remote
    assert found.outgoing.to == "answers"
    assert remote is not None
    assert (remote.prediction, remote.cost, remote.calls, remote.latency_ms) == ("5", 1.0, 1, 60_000.0)
    counts = found.counts
    assert (counts.answered, counts.calls, counts.cost, counts.direct_cost) == (1, 1, NANO, 2 * NANO)
    assert (counts.prompt_tokens, counts.completion_tokens) == (9, 2)


CONTENT = {"error": {"message": "no", "code": "content_filter"}}
CASES: list[tuple[str, LineResult | None, str, Reason | None]] = [
    ("expired", LineResult("id", None, "expired"), "batched", None),
    ("missing", None, "batched", None),
    ("failed", LineResult("id", None, "failed", "worse"), "batched", None),
    ("overloaded", result({"error": {"message": "busy"}}, 503), "batched", None),
    ("limited", result({"error": {"message": "busy"}}, 429), "batched", None),
    ("empty", result({}), "batched", None),
    ("cancelled", LineResult("id", None, "cancelled"), "fallback", "remote_error"),
    ("refused", result(CONTENT, 400), "fallback", "refused"),
    ("no answer", result({"choices": [{"message": 3}]}), "fallback", "invalid_answer"),
]


@pytest.mark.parametrize(("found", "to", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_has_no_answer_goes_into_another_batch_where_that_may_help(
    found: LineResult | None, to: str, reason: Reason | None
) -> None:
    outgoing = settled(found).outgoing
    assert (outgoing.to, facts_in(outgoing).reason) == (to, reason)
    assert facts_in(outgoing).local == DOUBT


def test_it_remembers_what_it_has_cost_and_how_often_it_was_asked() -> None:
    first = settled(result({"choices": []})).outgoing
    assert first.to == "batched"
    assert facts_in(first).remote == Verdict(None, None, cost=1.0, calls=1)
    again = Record(first.value, 300, "batched", headers=first.headers)
    answered = facts_in(settled(result(), again).outgoing).remote
    assert answered is not None
    assert (answered.prediction, answered.cost, answered.calls) == ("5", 2.0, 2)


def test_it_falls_back_after_so_many_batches() -> None:
    record, outgoing = batched(), None
    for _ in range(3):
        outgoing = settled(LineResult("id", None, "expired", "too late"), record).outgoing
        record = Record(outgoing.value, 1, "batched", headers=outgoing.headers)
    assert outgoing is not None
    facts = facts_in(outgoing)
    assert (outgoing.to, facts.reason, facts.detail) == (
        "fallback",
        "timeout",
        "not answered in time: expired: too late",
    )


def test_what_has_expired_falls_back_at_once_where_the_settings_say_so() -> None:
    outgoing = settled(LineResult("id", None, "expired"), expired_again=False).outgoing
    assert (outgoing.to, facts_in(outgoing).reason) == ("fallback", "timeout")


@pytest.mark.parametrize("found", [None, result(), LineResult("id", None, "expired")])
def test_after_its_deadline_it_times_out_and_hides_no_cost(found: LineResult | None) -> None:
    outgoing = settled(found, batched(deadline_ms=NOW_MS - 1)).outgoing
    facts = facts_in(outgoing)
    assert (outgoing.to, facts.reason) == ("fallback", "timeout")
    assert facts.remote == Verdict(None, None, cost=1.0 if found and found.response else 0.0, calls=1)


def test_without_money_it_falls_back_or_takes_the_local_answer() -> None:
    given_up = inputs().give_up(batched(), "budget", "spent").outgoing
    facts = facts_in(given_up)
    assert (given_up.to, facts.reason, facts.remote) == ("fallback", "budget", None)
    accepted = inputs(accepts_local=frozenset({"budget"})).give_up(batched(), "budget", "spent").outgoing
    assert accepted.to == "results"


@pytest.mark.parametrize(("asked", "calls"), [(True, 1), (False, 0)])
def test_an_input_whose_deadline_passes_under_way_times_out_and_says_whether_it_was_asked(
    calls: int, *, asked: bool
) -> None:
    outgoing = inputs().time_out(batched(deadline_ms=NOW_MS), asked=asked).outgoing
    facts = facts_in(outgoing)
    assert (outgoing.to, facts.reason, facts.remote.calls if facts.remote else 0) == ("fallback", "timeout", calls)


def test_a_line_of_an_event_that_is_text_asks_the_text() -> None:
    reader = PlainReader(as_text)
    made = BulkInputs(OpenAIChat("large"), RequestFormat(input="", id="", deadline_ms="", reader=reader), POLICY)
    record = dataclasses.replace(batched(), value=b"wie viel?")
    found = made.prepare(record, "topic")
    assert isinstance(found, Prepared)
    assert orjson.loads(found.line.body)["messages"][-1]["content"] == "wie viel?"
    fallen = made.prepare(dataclasses.replace(record, value=b"\xff"), "topic")
    assert isinstance(fallen, Outgoing)
    assert facts_in(fallen).reason == "invalid_request"
