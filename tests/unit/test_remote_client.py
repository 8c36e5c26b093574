from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from random import Random

import orjson
import pytest
from bisupervised.agents.remote.asking import Bill, RemoteAnswer
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.gating.permit import Permit
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.remote.limiting.pace import JITTER
from bisupervised.agents.remote.protocol import Reply
from bisupervised.agents.remote.protocols.generic_json import GenericJson
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.retry import CallRefused, CircuitOpen, OutOfTime, RetryPolicy
from bisupervised.agents.remote.transport import Response, ScriptedTransport, ScriptStep, Sent, Slow
from bisupervised.schemas.budget import NOTHING, Amount
from bisupervised.schemas.errors import InvalidAnswer, InvalidRequest, RateLimited, Refused, RemoteError, Timeout
from support.remote import Clock, client, client_of, echo, probabilities
from support.remotes import answered, chat_completion, choice
from support.virtual_time import on_virtual_time

INPUTS = [[0.1, 0.9], [0.75, 0.25]]
GOOD = probabilities(INPUTS)
BUSY = Response(429, {"Retry-After": "3"}, b'{"error": "busy"}')
BROKEN = Response(500, {}, b"")


async def test_an_answer_at_the_first_try() -> None:
    made, transport = client(echo, Clock())
    bill = Bill()
    answers = await made.ask(INPUTS, "a-key", None, bill)
    assert answers == [RemoteAnswer(1, 0.9, "big@7", 0.0), RemoteAnswer(0, 0.75, "big@7", 0.0)]
    assert (bill.calls, bill.cost) == (1, 2.0)
    [sent] = transport.sent
    assert sent.url == "http://remote/v2/models/big/infer"
    assert sent.headers["idempotency-key"].startswith("a-key-")
    assert sent.headers.keys() == {"content-type", "idempotency-key"}
    assert sent.timeout_s == 30.0


@pytest.mark.parametrize("failure", [BROKEN, RemoteError("reset"), Slow(31.0), Response(408, {}, b"")])
async def test_what_may_pass_is_tried_again_with_backoff(failure: ScriptStep) -> None:
    clock = Clock()
    made, transport = client([failure, failure, failure, GOOD], clock)
    bill = Bill()
    answers = await made.ask(INPUTS, "a-key", None, bill)
    assert [answer.prediction for answer in answers] == [1, 0]
    assert clock.waits == [0.5, 1.0, 2.0]
    assert answers[0].latency_ms == 3500.0
    assert (bill.calls, bill.cost) == (4, 2.0)  # only an answered call has its price
    [key] = {sent.headers["idempotency-key"] for sent in transport.sent}
    assert key.startswith("a-key-")
    assert len({sent.body for sent in transport.sent}) == 1


async def test_the_servers_wish_is_the_wait() -> None:
    clock = Clock()
    made, _ = client([BUSY, GOOD], clock)
    await made.ask(INPUTS, "a-key", None, Bill())
    assert clock.waits == [3.0]


async def test_after_the_last_try_its_error_is_raised() -> None:
    clock = Clock()
    made, transport = client([BROKEN, BUSY, BUSY], clock, tries=3)
    bill = Bill()
    with pytest.raises(RateLimited, match="busy"):
        await made.ask(INPUTS, "a-key", None, bill)
    assert len(transport.sent) == 3
    assert clock.waits == [0.5, 3.0]
    assert (bill.calls, bill.cost) == (3, 0.0)


@pytest.mark.parametrize(
    ("response", "kind", "cost"),
    [
        (Response(400, {}, b""), CallRefused, 0.0),
        (Response(401, {}, b""), CircuitOpen, 0.0),  # terminal; this gate does not wait
        (Response(307, {"Location": "http://elsewhere"}, b""), CallRefused, 0.0),
        (Response(200, {}, b"garbage"), InvalidAnswer, 2.0),
    ],
)
async def test_what_would_come_again_is_not_tried_again(response: Response, kind: type, cost: float) -> None:
    made, transport = client([response, GOOD], Clock())
    bill = Bill()
    with pytest.raises(kind):
        await made.ask(INPUTS, "a-key", None, bill)
    assert len(transport.sent) == 1
    assert (bill.calls, bill.cost) == (1, cost)


async def test_inputs_that_cannot_be_asked_cost_nothing() -> None:
    made, transport = client([], Clock())
    bill = Bill()
    with pytest.raises(InvalidRequest):
        await made.ask([["text"]], "a-key", None, bill)
    assert transport.sent == []
    assert bill == Bill()


async def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    clock = Clock()
    made, transport = client([BUSY, GOOD], clock, deadline_s=3.0)
    with pytest.raises(Timeout, match=r"no time for another try: .* busy"):
        await made.ask(INPUTS, "a-key", None, Bill())
    assert len(transport.sent) == 1
    assert clock.waits == []


async def test_the_callers_deadline_counts_where_it_is_sooner() -> None:
    clock = Clock()
    made, transport = client([BUSY, GOOD], clock)
    with pytest.raises(Timeout):
        await made.ask(INPUTS, "a-key", 2.0, Bill())
    made, transport = client([BUSY, GOOD], clock)
    await made.ask(INPUTS, "a-key", 4.0, Bill())
    assert [sent.timeout_s for sent in transport.sent] == [4.0, 1.0]


async def test_no_try_begins_after_the_deadline() -> None:
    made, transport = client([GOOD], Clock())
    with pytest.raises(Timeout, match="the time for all tries is over"):
        await made.ask(INPUTS, "a-key", 0.0, Bill())
    assert transport.sent == []


async def test_one_try_takes_no_longer_than_is_left() -> None:
    clock = Clock()

    def step(sent: Sent) -> ScriptStep:
        clock.now += sent.timeout_s  # a server that lets every call run out
        return Slow(100.0)

    made, transport = client(step, clock, deadline_s=40.0)
    with pytest.raises(Timeout):
        await made.ask(INPUTS, "a-key", None, Bill())
    assert [sent.timeout_s for sent in transport.sent] == [30.0, 9.5]


async def test_a_retry_is_logged_with_its_action(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made, _ = client([BUSY, GOOD], Clock())
    await made.ask(INPUTS, "a-key", None, Bill())
    [line] = [line for line in caplog.records if getattr(line, "action", "") == "remote_retry"]
    assert (line.__dict__["reason"], line.__dict__["wait_s"], line.__dict__["attempt"]) == ("rate_limited", 3.0, 0)


def test_the_headers_that_may_hold_a_secret_are_not_shown() -> None:
    assert "secret" not in repr(ClientPolicy("http://remote", headers={"authorization": "secret"}))


async def test_closing_the_client_closes_its_transport() -> None:
    made, transport = client([], Clock())
    await made.close()
    assert transport.closed


# while the remote is down


def gate(clock: Clock, *, waits: bool = True, failures: int = 3) -> Gate:
    return Gate(breaker=BreakerPolicy(failures, 10.0, 600.0), waits=waits, clock=clock)


@on_virtual_time
async def test_while_it_is_down_a_call_waits_for_its_turn_to_probe_and_loses_no_tries() -> None:
    loop = asyncio.get_running_loop()
    transport = ScriptedTransport([*[BROKEN] * 9, GOOD])
    policy = ClientPolicy("http://remote", retry=RetryPolicy(tries=4, deadline_s=20.0))
    opened = Gate(breaker=BreakerPolicy(3, 10.0, 600.0), clock=loop.time)
    made = RemoteClient(transport, OpenInference("big"), policy, gate=opened, clock=loop.time, random=lambda: 0.0)
    bill = Bill()
    answers = await made.ask(INPUTS, "a-key", None, bill)
    assert len(answers) == 2
    assert bill.calls == 10
    assert loop.time() - 1000.0 == pytest.approx(1.5 + 7 * 10.0, abs=0.1)  # two waits, then one probe in ten seconds
    [key] = {sent.headers["idempotency-key"] for sent in transport.sent}
    assert key.startswith("a-key-")


@on_virtual_time
async def test_the_requests_own_deadline_ends_the_wait_for_a_remote_that_is_down() -> None:
    loop = asyncio.get_running_loop()
    opened = Gate(breaker=BreakerPolicy(1, 10.0, 600.0), clock=loop.time)
    transport = ScriptedTransport([BROKEN])
    made = RemoteClient(transport, OpenInference("big"), ClientPolicy("http://x"), gate=opened, clock=loop.time)
    with pytest.raises(Timeout, match="this call's turn"):
        await made.ask(INPUTS, "a-key", 5.0, Bill())
    assert loop.time() == pytest.approx(1005.0)


@on_virtual_time
async def test_a_terminal_error_is_waited_out_and_burns_nothing() -> None:
    loop = asyncio.get_running_loop()
    transport = ScriptedTransport([Response(401, {}, b""), Response(403, {}, b""), GOOD])
    opened = Gate(breaker=BreakerPolicy(5, 10.0, 600.0), clock=loop.time)
    made = RemoteClient(transport, OpenInference("big"), ClientPolicy("http://x"), gate=opened, clock=loop.time)
    assert len(await made.ask(INPUTS, "a-key", None, Bill())) == 2
    assert loop.time() == pytest.approx(1030.0, abs=0.1)


@on_virtual_time
async def test_a_stop_tells_the_whole_address_and_no_secret_in_it(caplog: pytest.LogCaptureFixture) -> None:
    protocol = GenericJson({"t": "{input}"}, "label", path="/ask?version=1&key=canary")
    transport = ScriptedTransport([Response(401, {}, b"")])
    made = RemoteClient(transport, protocol, ClientPolicy("http://x/v1"), gate=Gate(waits=False))
    with pytest.raises(CircuitOpen):
        await made.ask(INPUTS[:1], "a-key", None, Bill())
    [line] = [line for line in caplog.records if getattr(line, "action", "") == "remote_stopped"]
    assert "(asked: http://x/v1/ask?version=…&key=…)" in line.getMessage()
    assert "canary" not in str(line.__dict__)


@on_virtual_time
async def test_the_settings_deadline_counts_from_the_first_call_and_covers_waits_for_the_limit() -> None:
    loop = asyncio.get_running_loop()
    limited = Gate(LimitsPolicy(requests_per_minute=6.0), clock=loop.time)
    transport = ScriptedTransport([BROKEN, BROKEN])
    policy = ClientPolicy("http://x", retry=RetryPolicy(deadline_s=15.0))
    made = RemoteClient(transport, OpenInference("big"), policy, gate=limited, clock=loop.time, random=lambda: 0.0)
    with pytest.raises(Timeout):
        await made.ask(INPUTS, "a-key", None, Bill())
    first_turn_s = 60.0 / (6.0 * (1 - JITTER) - 1.0)
    assert loop.time() - 1000.0 == pytest.approx(first_turn_s + 15.0, abs=0.1)


async def test_who_is_not_to_wait_is_sent_away_with_the_failure_that_opened_the_circuit() -> None:
    clock = Clock()
    made, transport = client([BROKEN] * 3, clock, gate(clock, waits=False))
    with pytest.raises(CircuitOpen, match="500"):
        await made.ask(INPUTS, "a-key", None, Bill())
    bill = Bill()
    with pytest.raises(CircuitOpen, match="no call was made"):
        await made.ask(INPUTS, "other-key", None, bill)
    assert (len(transport.sent), bill.calls) == (3, 0)


async def test_no_try_begins_after_the_first_deadline_though_one_may_last_longer() -> None:
    clock = Clock()
    made, transport = client([BROKEN, BROKEN, GOOD], clock)
    with pytest.raises(OutOfTime) as caught:
        await made.ask(INPUTS, "a-key", 30.0, Bill(), begin_within_s=1.2)
    assert [sent.timeout_s for sent in transport.sent] == [30.0, 29.5]
    assert caught.value.wait_s == 1.0


async def test_the_deadline_of_all_tries_goes_with_the_bill() -> None:
    clock = Clock()
    made, transport = client([GOOD, GOOD], clock, deadline_s=40.0)
    bill = Bill()
    await made.ask(INPUTS, "a-key", None, bill)
    clock.now += 30.0
    await made.ask(INPUTS, "a-half", None, bill)
    assert [sent.timeout_s for sent in transport.sent] == [30.0, 10.0]


class Listening(Gate):
    """Hears what calls say that they will take."""

    def __init__(self) -> None:
        super().__init__(clock=Clock())
        self.guesses: list[int] = []

    def at_once(self, guess: int, cost: Amount = NOTHING) -> Permit | None:
        self.guesses.append(guess)
        return super().at_once(guess, cost)


async def test_each_call_reserves_what_its_protocol_guesses() -> None:
    gate, chat = Listening(), OpenAIChat("m", samples=3, samples_by="calls", max_tokens=10)
    asks, _ = client_of(chat, [answered(chat_completion(choice("yes")))] * 3, Clock(), gate)
    await asks.ask(["12345678"], "key", None, Bill())
    assert gate.guesses == [2 + 10] * 3


@pytest.mark.parametrize("body", [GOOD, Response(200, {}, b"<html>")])
async def test_while_an_answer_is_read_nothing_is_collected_and_afterwards_again(
    body: Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = client([body], Clock())
    seen: list[bool] = []
    read = OpenInference.read

    def watched(self: OpenInference, response: Response, asked: int) -> Reply:
        seen.append(gc.isenabled())
        return read(self, response, asked)

    monkeypatch.setattr(OpenInference, "read", watched)
    with suppress(InvalidAnswer):
        await made.ask(INPUTS, "a-key", None, Bill())
    assert (seen, gc.isenabled()) == ([False], True)


async def test_where_nothing_is_collected_it_stays_so_after_an_answer() -> None:
    made, _ = client([GOOD], Clock())
    gc.disable()
    try:
        await made.ask(INPUTS, "a-key", None, Bill())
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(("padding", "between"), [(0, 0), (100_000, 1)])
async def test_between_two_large_answers_the_event_loop_has_its_turn(
    padding: int, between: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Response(200, {}, GOOD.body + b" " * padding)
    made, _ = client([answer] * 4, Clock())
    turns, read_at, done_at = 0, list[int](), list[int]()
    read = OpenInference.read

    def watched(self: OpenInference, response: Response, asked: int) -> Reply:
        read_at.append(turns)
        return read(self, response, asked)

    async def ask(key: str) -> None:
        await made.ask(INPUTS, key, None, Bill())
        done_at.append(turns)

    monkeypatch.setattr(OpenInference, "read", watched)
    asking = asyncio.gather(*(ask(f"key {number}") for number in range(4)))
    while not asking.done():
        turns += 1
        await asyncio.sleep(0)
    assert [later - earlier >= between for earlier, later in pairwise(read_at)] == [True] * 3
    assert (len(set(read_at)) == 1) is not bool(between)
    assert [done - begun for begun, done in zip(read_at, done_at, strict=True)] == [between] * 4


@on_virtual_time
async def test_an_input_that_is_refused_among_others_is_asked_once_more_and_then_what_was_answered_before() -> None:
    no = Response(404, {}, b"")
    made, transport = client([GOOD, no, no, GOOD, GOOD], Clock())
    await made.ask(INPUTS, "a-key", None, Bill())
    bill = Bill()
    with pytest.raises(Refused, match="404"):
        await made.ask(INPUTS[:1], "b-key", None, bill)
    await made.ask(INPUTS, "c-key", None, Bill())
    keys = [sent.headers["idempotency-key"] for sent in transport.sent]
    assert [key[:5] for key in keys] == ["a-key", "b-key", "b-key", "a-key", "c-key"], "what was answered before tells"
    assert keys[3] == f"{keys[0]}~probe-1", "under a key of its own, so that no server answers it from memory"
    assert bill.calls == 2, "the probe is not on the bill of the one that it was about"


@on_virtual_time
async def test_an_input_that_is_refused_for_its_content_is_not_asked_again() -> None:
    no, yes = (
        answered({"error": {"code": "content_filter", "message": "no"}}, 400),
        answered(chat_completion(choice("yes"))),
    )
    made, transport = client_of(OpenAIChat("m"), [yes, no, yes], Clock())
    await made.ask(["good"], "a-key", None, Bill())
    bill = Bill()
    with pytest.raises(Refused, match="no"):
        await made.ask(["bad"], "b-key", None, bill)
    assert (bill.calls, len(transport.sent)) == (1, 3)


@on_virtual_time
async def test_an_input_that_is_answered_when_it_is_asked_once_more_needs_no_probe() -> None:
    made, transport = client([GOOD, Response(499, {}, b""), probabilities(INPUTS[:1])], Clock())
    await made.ask(INPUTS, "a-key", None, Bill())
    bill = Bill()
    assert len(await made.ask(INPUTS[:1], "b-key", None, bill)) == 1
    assert (bill.calls, len(transport.sent)) == (2, 3)


@on_virtual_time
async def test_an_input_has_no_more_tries_than_the_settings_give_it() -> None:
    made, transport = client([GOOD, Response(404, {}, b""), GOOD], Clock(), tries=1)
    await made.ask(INPUTS, "a-key", None, Bill())
    with pytest.raises(Refused):
        await made.ask(INPUTS[:1], "b-key", None, Bill())
    assert len(transport.sent) == 3, "one try, and one of what was answered before"


@on_virtual_time
async def test_an_input_that_has_no_time_left_is_not_asked_once_more() -> None:
    made, transport = client([GOOD, Response(404, {}, b""), GOOD], Clock())
    await made.ask(INPUTS, "a-key", None, Bill())
    refused = asyncio.create_task(made.ask(INPUTS[:1], "b-key", 0.3, Bill()))
    await asyncio.sleep(0.1)
    await made.ask(INPUTS, "c-key", None, Bill())
    with pytest.raises(Refused):
        await refused
    assert len(transport.sent) == 3


def withheld(every: int) -> Callable[[Sent], Response]:
    """A model that withholds the answer to each so-manieth input, whoever asks about it."""

    def answer(sent: Sent) -> Response:
        number = int(orjson.loads(sent.body)["messages"][-1]["content"])
        bad = number % every == 0
        return answered(
            chat_completion(choice("" if bad else "yes", finish_reason="content_filter" if bad else "stop"))
        )

    return answer


async def asked_of(made: RemoteClient, numbers: Iterable[int]) -> list[BaseException | None]:
    """What went wrong with each, where all are asked at once."""
    asked = (made.ask([str(number)], f"key-{number}", None, Bill()) for number in numbers)
    came = await asyncio.gather(*asked, return_exceptions=True)
    return [one if isinstance(one, BaseException) else None for one in came]


@pytest.mark.parametrize("every", [20, 3, 2])
@on_virtual_time
async def test_answers_of_no_use_among_useful_ones_are_paid_once_and_stop_nothing(every: int) -> None:
    clock = asyncio.get_running_loop().time
    held = Gate(LimitsPolicy(in_flight=8), clock=clock)
    made, transport = client_of(OpenAIChat("m"), withheld(every), Clock(), held)
    came = await asked_of(made, range(1, 201))
    assert [isinstance(error, Refused) for error in came] == [number % every == 0 for number in range(1, 201)]
    assert (held.breaker.opened, len(transport.sent) - held.breaker.probes) == (0, 200)


@on_virtual_time
async def test_a_lone_answer_of_no_use_is_the_inputs_own_after_a_moment() -> None:
    clock = asyncio.get_running_loop().time
    made, transport = client_of(OpenAIChat("m"), withheld(1), Clock(), Gate(clock=clock))
    [error] = await asked_of(made, [1])
    assert isinstance(error, Refused)
    assert (len(transport.sent), clock()) == (1, 1001.0)


@on_virtual_time
async def test_answers_of_no_use_to_all_inputs_stop_calls_and_the_bill(caplog: pytest.LogCaptureFixture) -> None:
    clock = asyncio.get_running_loop().time
    held = Gate(LimitsPolicy(in_flight=8), clock=clock)
    made, transport = client_of(OpenAIChat("m"), withheld(1), Clock(), held)
    asking = asyncio.create_task(asked_of(made, range(200)))
    await asyncio.sleep(60.0)
    assert (held.breaker.state, asking.done()) == ("stopped", False)
    assert len(transport.sent) <= 8 + 5 + held.breaker.probes
    stops = [line for line in caplog.records if getattr(line, "action", "") == "remote_stopped"]
    assert "withholds" in stops[0].getMessage()
    asking.cancel()


class HalfWell:
    """Two servers behind one address, of which one refuses everything: calls go to either in turn, or by chance."""

    def __init__(self, *, alternates: bool) -> None:
        self.calls = 0
        self._chance = Random(7)
        self._alternates = alternates

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response:
        self.calls += 1
        bad = self.calls % 2 == 0 if self._alternates else self._chance.random() < 0.5
        await asyncio.sleep(0.1 + 0.2 * self._chance.random())
        return Response(404, {}, b"no such model") if bad else echo(Sent(url, body, headers, timeout_s, method))

    async def close(self) -> None: ...


@pytest.mark.parametrize("alternates", [True, False])
@pytest.mark.parametrize("in_flight", [1, 32])
@on_virtual_time
async def test_a_bad_server_of_two_costs_hardly_a_record(alternates: bool, in_flight: int) -> None:
    """A record is lost where it meets the bad one at each of its six tries: one of 64 that it meets at first."""
    clock, remote = asyncio.get_running_loop().time, HalfWell(alternates=alternates)
    gate = Gate(LimitsPolicy(in_flight=in_flight), clock=clock)
    policy = ClientPolicy("http://x")
    made = RemoteClient(remote, OpenInference("big"), policy, gate=gate, clock=clock, random=Random(1).random)
    asked = (made.ask(INPUTS[:1], f"key-{number}", None, Bill()) for number in range(200))
    came = await asyncio.gather(*asked, return_exceptions=True)
    lost = [error for error in came if isinstance(error, BaseException)]
    assert len(lost) <= 5, "of a hundred that are refused at first"
    assert remote.calls < 500


class Rationed:
    """A remote that answers so many calls a second, each after a while, and limits the others at once."""

    def __init__(self, a_second: float, burst: float, latency_s: float) -> None:
        self._a_second, self._burst, self._latency_s = a_second, burst, latency_s
        self._left, self._at = burst, 0.0

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, *, method: str = "POST"
    ) -> Response:
        now = asyncio.get_running_loop().time()
        self._left, self._at = min(self._burst, self._left + (now - self._at) * self._a_second), now
        if self._left < 1.0:
            return Response(429, {}, b'{"error": "too many requests"}')
        self._left -= 1.0
        await asyncio.sleep(self._latency_s)
        return echo(Sent(url, body, headers, timeout_s, method))

    async def close(self) -> None: ...


async def seconds_with(breaker: BreakerPolicy) -> tuple[Gate, float]:
    """A gate after 150 calls to such a remote, and how long they took."""
    clock = asyncio.get_running_loop().time
    gate = Gate(LimitsPolicy(in_flight=48), breaker, clock=clock)
    policy = ClientPolicy("http://remote/", timeout_s=30.0, retry=RetryPolicy(tries=100, deadline_s=3600.0))
    remote = Rationed(50.0, 10.0, 0.12)
    made = RemoteClient(remote, OpenInference("big"), policy, gate=gate, clock=clock, random=lambda: 0.5)
    began = clock()
    await asyncio.gather(*(made.ask(INPUTS, f"key-{number}", None, Bill()) for number in range(150)))
    await made.close()
    return gate, clock() - began


@on_virtual_time
async def test_a_remote_that_limits_most_calls_is_used_as_far_as_it_goes() -> None:
    """As the demo's: it answers all the time, and between two answers it limits dozens of calls."""
    _, freely_s = await seconds_with(BreakerPolicy(failures=10**9))
    gate, took_s = await seconds_with(BreakerPolicy())
    assert gate.breaker.opened <= 1, "at the very start nobody knows yet that it answers"
    assert took_s <= freely_s * 1.2 + 2.0
