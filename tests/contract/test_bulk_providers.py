"""One suite over the providers of batches, against a server that speaks both interfaces and misbehaves."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import orjson
import pytest
from aiohttp import web
from bisupervised.agents.remote.bulk.anthropic_batch import AnthropicBatch
from bisupervised.agents.remote.bulk.exchange import BulkPolicy
from bisupervised.agents.remote.bulk.openai_batch import OpenAIBatch, Places, places_of
from bisupervised.agents.remote.bulk.provider import (
    TOKEN_LIMIT,
    BulkOrder,
    BulkProvider,
    BulkStatus,
    Line,
    LineResult,
    TooLate,
    Unsure,
)
from bisupervised.agents.remote.credentials import Authorized
from bisupervised.agents.remote.retry import CallRefused, NotConnected, Terminal
from bisupervised.agents.remote.transport import AiohttpTransport, StreamingTransport
from bisupervised.schemas.errors import RateLimited, RemoteError, RemoteFailure, Timeout
from support.bulk_server import Faults, LyingBulkServer, serving

KEY = "sk-a-key-that-nobody-may-see"
MAKERS: dict[str, Callable[[StreamingTransport, BulkPolicy], BulkProvider]] = {
    "openai": lambda transport, policy: OpenAIBatch(transport, policy, "/v1/chat/completions"),
    "anthropic": AnthropicBatch,
}


@dataclass
class Rig:
    """A provider and the server that it asks."""

    server: LyingBulkServer
    provider: BulkProvider
    url: str
    kind: str

    def other(self, transport: StreamingTransport, **policy: float) -> BulkProvider:
        """Another provider of the same server."""
        return MAKERS[self.kind](transport, replace(BulkPolicy(self.url, timeout_s=5.0), **policy))  # type: ignore[arg-type]


@pytest.fixture(params=MAKERS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    server = LyingBulkServer()
    async with serving(server) as url:
        transport = Authorized(AiohttpTransport(connections=0), KEY)
        provider = MAKERS[request.param](transport, BulkPolicy(url, timeout_s=5.0, within_s=20.0))
        yield Rig(server, provider, url, request.param)
        await provider.close()


def lines_of(count: int, size: int = 1) -> list[Line]:
    """Questions, each with a number."""
    return [Line(f"b0-{n}-abc", _body(f"question {n} " + "x" * size)) for n in range(count)]


def _body(text: str) -> bytes:
    return orjson.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]})


def order_of(provider: BulkProvider, lines: list[Line], name: str = "p/0/0-9.1") -> BulkOrder:
    size = sum(map(provider.line_size, lines))
    return BulkOrder(name, len(lines), size, int(time.time() * 1000), "/v1/chat/completions")


async def created(
    provider: BulkProvider, lines: list[Line], name: str = "p/0/0-9.1", guard: Callable[[], None] = lambda: None
) -> BulkStatus:
    async def again() -> AsyncIterator[Line]:
        for line in lines:
            yield line

    return await provider.create(order_of(provider, lines, name), again, guard)


async def told(provider: BulkProvider, status: BulkStatus) -> list[LineResult]:
    return [result async for result in provider.results(await provider.poll(status.id))]


def texts(results: list[LineResult]) -> dict[str, str]:
    """The text of each answer, by custom id."""
    found = {}
    for result in results:
        if result.response is not None and result.response.succeeded:
            document = orjson.loads(result.response.body)
            place = document["choices"][0]["message"] if "choices" in document else document["content"][0]
            found[result.custom_id] = place.get("content") or place["text"]
    return found


async def test_what_is_ordered_is_answered_line_by_line(rig: Rig) -> None:
    lines = lines_of(300, size=2_000)  # several chunks of an upload
    status = await created(rig.provider, lines)
    assert (status.state, status.total) == ("running", 300) or status.state == "ended"
    ended = await rig.provider.poll(status.id)
    assert (ended.state, ended.completed, ended.failed, ended.total) == ("ended", 300, 0, 300)
    assert ended.created_ms == pytest.approx(time.time() * 1000, abs=5_000)
    assert ended.expires_ms == pytest.approx(ended.created_ms + 86_400_000, abs=2_000)
    found = texts(await told(rig.provider, status))
    assert found == {line.custom_id: orjson.loads(line.body)["messages"][-1]["content"] for line in lines}


async def test_it_runs_until_its_time_has_come(rig: Rig) -> None:
    rig.server.takes_s = 60.0
    status = await created(rig.provider, lines_of(3))
    polled = await rig.provider.poll(status.id)
    assert (polled.state, polled.completed, polled.total) == ("running", 0, 3)


async def test_it_tells_whether_any_batch_runs_whoever_made_it(rig: Rig) -> None:
    now_ms = round(time.time() * 1000)
    assert not await rig.provider.any_running(now_ms - 60_000)
    status = await created(rig.provider, lines_of(3), "ended")
    assert (await rig.provider.poll(status.id)).state == "ended"
    assert not await rig.provider.any_running(now_ms - 60_000)
    rig.server.takes_s = 60.0
    await created(rig.provider, lines_of(4), "another pipeline's")
    assert await rig.provider.any_running(now_ms - 60_000)


async def test_results_of_every_kind_are_told_as_what_they_are(rig: Rig) -> None:
    rig.server.faults = Faults(errored=0.2, expired=0.2, missing=0.1, duplicated=0.2, shuffled=True, foreign=3)
    rig.server.faults.unreadable = 2
    status = await created(rig.provider, lines_of(200))
    results = await told(rig.provider, status)
    ours = {line.custom_id for line in lines_of(200)}
    by_kind = {
        "answered": {each.custom_id for each in results if each.response and each.response.succeeded} & ours,
        "refused": {each.custom_id for each in results if each.response and each.response.status == 400},
        "expired": {each.custom_id for each in results if each.code == "expired"},
    }
    assert all(len(found) > 20 for found in by_kind.values())
    assert 5 < len(ours - set().union(*by_kind.values())) < 40  # missing
    assert len([each for each in results if each.custom_id and each.custom_id not in ours]) >= 3
    assert len([each for each in results if each.code == "unreadable"]) == (4 if rig.kind == "openai" else 2)
    assert len(results) > len({each.custom_id for each in results}) + 10  # twice
    refused = next(each for each in results if each.response and each.response.status == 400)
    assert refused.response is not None
    assert b"error" in refused.response.body


async def test_errors_alone_come_without_a_file_of_answers(rig: Rig) -> None:
    rig.server.faults.errored = 1.0
    status = await created(rig.provider, lines_of(5))
    ended = await rig.provider.poll(status.id)
    assert (ended.state, ended.completed, ended.failed) == ("ended", 0, 5)
    assert "output_file_id" not in ended.handle
    assert len(await told(rig.provider, status)) == 5


async def test_results_larger_than_what_is_held_of_them_are_streamed(rig: Rig) -> None:
    rig.server.faults.padding = 300_000
    status = await created(rig.provider, lines_of(40))
    assert len(texts(await told(rig.provider, status))) == 40
    small = rig.other(AiohttpTransport(connections=0), most_line_bytes=1_000)
    assert {result.code for result in await told(small, status)} == {"unreadable"}
    await small.close()


async def test_results_that_are_cut_off_are_a_failure_and_come_again(rig: Rig) -> None:
    rig.server.faults.cut_results = 1
    status = await created(rig.provider, lines_of(50))
    with pytest.raises(RemoteError):
        await told(rig.provider, status)
    assert len(texts(await told(rig.provider, status))) == 50
    assert not rig.server.paid_twice


async def test_a_create_whose_connection_is_lost_leaves_it_open_whether_it_was(rig: Rig) -> None:
    lines = lines_of(7)
    rig.server.faults.lose_before["create"] = 1
    with pytest.raises(Unsure):
        await created(rig.provider, lines)
    assert await rig.provider.find(order_of(rig.provider, lines), ()) == []
    rig.server.faults.lose_after["create"] = 1
    with pytest.raises(Unsure):
        await created(rig.provider, lines)
    [found] = await rig.provider.find(order_of(rig.provider, lines), ())
    assert len(texts(await told(rig.provider, found))) == 7
    assert rig.server.created == 1


async def test_a_batch_is_found_among_many_and_known_ones_are_not(rig: Rig) -> None:
    lines = lines_of(7)
    first = await created(rig.provider, lines, "p/0/0-7.1")
    for number in range(150):  # more than a page
        await created(rig.provider, lines_of(1 + number % 3), f"p/1/{number}.1")
    [found] = await rig.provider.find(order_of(rig.provider, lines, "p/0/0-7.1"), ())
    assert found.id == first.id
    assert await rig.provider.find(order_of(rig.provider, lines, "p/0/0-7.1"), {first.id}) == []


async def test_a_batch_of_another_name_or_size_is_not_taken_for_it(rig: Rig) -> None:
    await created(rig.provider, lines_of(7), "other/0/0-7.1")
    wanted = order_of(rig.provider, lines_of(6), "p/0/0-6.1")
    assert await rig.provider.find(wanted, ()) == []
    old = replace(order_of(rig.provider, lines_of(7), "p/0/0-7.1"), begun_ms=0)
    assert await rig.provider.find(old, ()) == []


async def test_nothing_is_created_where_it_is_too_late(rig: Rig) -> None:
    def guard() -> None:
        raise TooLate("somebody else may be about to")

    with pytest.raises(TooLate):
        await created(rig.provider, lines_of(3), guard=guard)
    assert rig.server.created == 0


async def test_nothing_is_created_of_lines_that_cannot_be_read(rig: Rig) -> None:
    async def broken() -> AsyncIterator[Line]:
        for line in lines_of(200, size=2_000):
            yield line
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await rig.provider.create(order_of(rig.provider, lines_of(400, size=2_000)), broken, lambda: None)
    assert rig.server.created == 0


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, CallRefused), (401, Terminal), (429, RateLimited), (500, Unsure), (503, Unsure), (302, Unsure)],
)
async def test_a_create_that_is_answered_with_an_error(rig: Rig, status: int, expected: type[Exception]) -> None:
    rig.server.faults.refuse["create"] = [web.Response(status=status, text='{"error": {"message": "no"}}')]
    with pytest.raises(expected):
        await created(rig.provider, lines_of(3))
    assert rig.server.created == 0
    if rig.kind == "openai" and not issubclass(expected, Unsure):
        assert rig.server.files == {}, "the file of no batch is left behind"


async def test_a_create_that_is_answered_with_a_page_may_have_been_one(rig: Rig) -> None:
    rig.server.faults.refuse["create"] = [web.Response(text="<html>please log in</html>")]
    with pytest.raises(Unsure):
        await created(rig.provider, lines_of(3))


async def test_a_server_that_is_not_there_has_created_nothing(rig: Rig) -> None:
    nowhere = MAKERS[rig.kind](AiohttpTransport(connections=0), BulkPolicy("http://127.0.0.1:1", timeout_s=5.0))
    with pytest.raises(NotConnected):
        await created(nowhere, lines_of(3))
    await nowhere.close()


async def test_a_slow_server_is_waited_for_no_longer_than_is_said(rig: Rig) -> None:
    rig.server.faults.delay_s = {"create": 5.0, "list": 5.0, "content": 5.0}
    hasty = rig.other(AiohttpTransport(connections=0), timeout_s=0.2, within_s=0.3)
    with pytest.raises(Unsure):
        await created(hasty, lines_of(3))
    with pytest.raises(Timeout):
        await hasty.find(order_of(hasty, lines_of(3)), ())
    await hasty.close()


async def test_how_long_a_create_can_take_is_known(rig: Rig) -> None:
    """Whoever goes on for somebody waits so long, before it creates the batch in its place."""
    rig.server.faults.delay_s = {"upload": 0.2, "get": 5.0, "create": 5.0}
    hasty = rig.other(AiohttpTransport(connections=0), timeout_s=0.3, within_s=0.5)
    begun = time.monotonic()
    with pytest.raises(RemoteFailure):
        await created(hasty, lines_of(3))
    assert time.monotonic() - begun < hasty.create_within_s + 0.2
    await hasty.close()


async def test_a_file_that_is_looked_through_first_is_waited_for() -> None:
    waits: list[float] = []
    server = LyingBulkServer()
    server.unprocessed = 3

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        server.unprocessed -= 1

    async with serving(server) as url:
        policy = BulkPolicy(url, timeout_s=5.0)
        provider = OpenAIBatch(AiohttpTransport(connections=0), policy, "/v1/chat/completions", sleep=sleep)
        status = await created(provider, lines_of(3))
        assert len(waits) == 3
        assert len(texts(await told(provider, status))) == 3
        await provider.close()


async def test_too_many_tokens_that_wait_are_named_as_such(rig: Rig) -> None:
    rig.server.faults.most_tokens = 1
    if rig.kind == "anthropic":
        with pytest.raises(RateLimited):
            await created(rig.provider, lines_of(3))
        return
    status = await created(rig.provider, lines_of(3))
    assert (status.state, status.code) == ("failed", TOKEN_LIMIT)
    assert TOKEN_LIMIT in status.error


async def test_cancelling_keeps_what_is_answered_and_may_be_asked_twice(rig: Rig) -> None:
    rig.server.takes_s = 60.0
    status = await created(rig.provider, lines_of(3))
    assert (await rig.provider.cancel(status.id)).cancelling
    ended = await rig.provider.cancel(status.id)
    assert (ended.state, ended.cancelling) == ("ended", True)
    assert {result.code for result in await told(rig.provider, status)} == {"cancelled"}
    with pytest.raises(CallRefused):
        await rig.provider.cancel("nobody's")


async def test_what_is_forgotten_is_gone(rig: Rig) -> None:
    status = await created(rig.provider, lines_of(3))
    await rig.provider.forget(await rig.provider.poll(status.id))
    assert rig.server.files == {}
    assert rig.kind == "openai" or rig.server.batches == {}


async def test_the_key_goes_along_and_comes_back_nowhere(rig: Rig) -> None:
    secret = web.Response(status=400, text=f'{{"error": {{"message": "the key {KEY} is no good"}}}}')
    rig.server.faults.refuse = {"create": [secret], "content": [web.Response(status=500, text=KEY)]}
    with pytest.raises(CallRefused) as refused:
        await created(rig.provider, lines_of(3))
    status = await created(rig.provider, lines_of(3))
    with pytest.raises(RemoteError) as failed:
        await told(rig.provider, status)
    assert KEY not in str(refused.value) + str(failed.value)
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in rig.server.headers)


async def test_a_key_that_was_replaced_is_read_again_for_files_too(rig: Rig) -> None:
    keys = iter(["another-key-that-is-newer"])
    transport = Authorized(AiohttpTransport(connections=0), KEY, read=lambda: next(keys, None))
    provider = rig.other(transport)
    first = "upload" if rig.kind == "openai" else "create"
    rig.server.faults.refuse = {first: [web.Response(status=401)], "content": [web.Response(status=401)]}  # type: ignore[dict-item]
    status = await created(provider, lines_of(3))
    assert rig.server.headers[-1]["authorization"] == "Bearer another-key-that-is-newer"
    with pytest.raises(Terminal):
        await told(provider, status)  # there is no other key now
    assert len(await told(provider, status)) == 3
    await provider.close()


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("https://api.openai.com", "/v1/chat/completions", Places("/v1", "/v1/chat/completions")),
        ("https://api.openai.com/v1", "/chat/completions", Places("", "/v1/chat/completions")),
        ("https://api.groq.com", "/openai/v1/chat/completions", Places("/openai/v1", "/v1/chat/completions")),
        ("https://r.openai.azure.com", "/openai/v1/chat/completions", Places("/openai/v1", "/chat/completions")),
        (
            "https://r.openai.azure.com",
            "/openai/deployments/d/chat/completions?api-version=2024-10-21",
            Places("/openai", "/chat/completions", "api-version=2024-10-21"),
        ),
        ("http://gateway", "/chat/completions", Places("", "/chat/completions")),
    ],
)
def test_where_batches_are_follows_from_where_calls_go(url: str, path: str, expected: Places) -> None:
    assert places_of(url, path) == expected
