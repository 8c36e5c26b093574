"""One page for several processes: what it makes of their answers, and to whom it shows them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from bisupervised.streams.crew.door import Answer, Door, Health, SilentError
from bisupervised.streams.crew.merging import merged
from bisupervised.streams.crew.page import Page
from bisupervised.streams.crew.plan import PagePlan
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.telemetry.monitor import Monitor
from bisupervised.streams.web.page_files import read_static
from bisupervised.streams.web.site import Place, make_site
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.wheel
STATIC = read_static()
READY = Health(answers=True, live=True, reasons=())
WAITS = Health(answers=True, live=True, reasons=("the model is not loaded",))
SILENT = Health(reasons=("does not answer any more",))
PICTURE = "0123456789abcdef"
STATUS = {"worker": {"name": "shop"}, "fallbacks": [{"picture": f"/pictures/{PICTURE}"}, {"picture": None}]}


class Told:
    """A door, and what the process behind it answers."""

    def __init__(self, number: int, health: Health = READY) -> None:
        self.number, self.health = number, health
        self.asked: list[str] = []
        self.hangs = not health.answers

    async def ask(self, path: str) -> Answer:
        self.asked.append(path)
        if self.hangs:
            raise SilentError
        if path == "/metrics":
            return Answer(200, b"# TYPE a gauge\na 1\n", "text/plain")
        if path == "/api/status":
            return Answer(200, orjson.dumps(STATUS), "application/json")
        return Answer(200, b"picture of %d" % self.number, "image/png")


@asynccontextmanager
async def shown(*doors: Told, host: str = "127.0.0.1", token: str | None = None) -> AsyncIterator[TestClient[Any, Any]]:
    told: Any = doors
    page = Page(PagePlan(host, 0, (), token, frozenset()), told, STATIC)
    async with TestClient(TestServer(page.application())) as client:
        yield client


async def document(client: TestClient[Any, Any], path: str) -> tuple[int, Any]:
    async with client.get(path) as answer:
        return answer.status, orjson.loads(await answer.read())


# what is shown


async def test_the_page_is_the_same_for_all() -> None:
    async with shown(Told(1), Told(2)) as client:
        for path in STATIC:
            assert (await client.get(path)).status == 200
        assert (await client.get("/?process=2")).status == 200


@pytest.mark.parametrize(("query", "process"), [("", 1), ("?process=1", 1), ("?process=2", 2)])
async def test_the_figures_are_those_of_the_chosen_process(query: str, process: int) -> None:
    doors = (Told(1), Told(2, WAITS), Told(3, SILENT))
    async with shown(*doors) as client:
        code, told = await document(client, f"/api/status{query}")
    assert code == 200
    assert told["worker"] == STATUS["worker"]
    assert told["crew"] == {"process": process, "states": {"1": "ready", "2": "unready", "3": "silent"}}
    assert [record["picture"] for record in told["fallbacks"]] == [f"/pictures/{PICTURE}?process={process}", None]
    assert [len(door.asked) for door in doors] == [int(door.number == process) for door in doors]


async def test_of_a_process_that_does_not_answer_it_says_so_before_it_was_noticed() -> None:
    one = Told(1)
    one.hangs = True
    async with shown(one, Told(2)) as client:
        code, told = await document(client, "/api/status")
    assert (code, told) == (503, {"crew": {"process": 1, "states": {"1": "silent", "2": "ready"}}})


@pytest.mark.parametrize("process", ["0", "3", "x", "", "-1", "1.0", "²", "9" * 5000])
async def test_there_are_no_others(process: str) -> None:
    async with shown(Told(1), Told(2)) as client:
        for path in ("/api/status", f"/pictures/{PICTURE}"):
            assert (await client.get(path, params={"process": process})).status == 404


async def test_pictures_are_those_of_the_process() -> None:
    async with shown(Told(1), Told(2), Told(3, SILENT)) as client:
        async with client.get(f"/pictures/{PICTURE}?process=2") as answer:
            assert (await answer.read(), answer.content_type) == (b"picture of 2", "image/png")
        assert (await client.get(f"/pictures/{PICTURE}?process=3")).status == 503


async def test_nothing_else_of_a_process_is_reached_by_the_name_of_a_picture() -> None:
    one = Told(1)
    async with shown(one) as client:
        assert (await client.get("/pictures/..%2Fapi%2Fstatus")).status == 404
    assert one.asked == []


# health


@pytest.mark.parametrize(
    ("healths", "live", "ready", "reasons"),
    [
        ((READY, READY), 200, 200, []),
        ((READY, WAITS), 200, 503, ["process 2: the model is not loaded"]),
        ((Health(), WAITS), 503, 503, ["process 1: does not answer yet", "process 2: the model is not loaded"]),
        ((READY, SILENT), 503, 503, ["process 2: does not answer any more"]),
    ],
)
async def test_all_must_be_well(healths: tuple[Health, Health], live: int, ready: int, reasons: list[str]) -> None:
    async with shown(*(Told(at, health) for at, health in enumerate(healths, 1))) as client:
        assert (await client.get("/live")).status == live
        assert await document(client, "/ready") == (ready, {"ready": not reasons, "reasons": reasons})


# who may see it


async def test_records_are_shown_as_by_one_worker() -> None:
    paths = ("/", "/api/status", f"/pictures/{PICTURE}")
    async with shown(Told(1), token="sesame") as client:
        for path in paths:
            assert (await client.get(path)).status == 401
            assert (await client.get(path, headers={"Authorization": "Bearer sesame"})).status == 200
            assert (await client.get(path, headers={"Host": "evil.example"})).status == 421
            assert (await client.get(path, headers={"Origin": "http://evil.example"})).status == 403
        for path in ("/live", "/ready", "/metrics"):
            async with client.get(path) as answer:
                assert answer.status == 200
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert (await client.post("/api/status")).status == 405
    async with shown(Told(1), host="0.0.0.0") as client:
        for path in paths:
            assert (await client.get(path)).status == 403, "beyond loopback, never without a token"


def test_a_process_shows_records_to_its_parent_alone() -> None:
    given = Settings.model_validate(
        {
            "local": {"model": "module:callable", "threshold": 0.5},
            "remote": {"url": "http://127.0.0.1:9", "model": "large", "threshold": 0.5},
            "web": {"host": "0.0.0.0", "port": 8080},
        }
    )

    async def codes() -> tuple[list[int], tuple[str, ...]]:
        door = Door(1, "sesame")
        site = make_site(given, ("local",), Monitor([]), Place(1, door.listener.dup(), "sesame"))
        await site.start()
        door.open()
        stranger = Door(2, "guess")
        stranger._address, own = door._address, stranger.listener
        stranger.open()
        own.close()
        try:
            found = [(await one.ask("/api/status")).status for one in (stranger, door)]
            found.append((await stranger.ask("/live")).status)
            await door.look()
            return found, door.health.reasons
        finally:
            await site.stop()
            await door.close()
            await stranger.close()

    found, reasons = asyncio.run(codes())
    assert found == [401, 200, 200]
    assert reasons == ("the model of local is not loaded yet",)


# one process, seen from the parent


async def test_a_door_tells_who_is_silent_from_who_was_never_heard() -> None:
    door = Door(1, "sesame")
    serving = socket.socket(fileno=door.listener.dup().detach())
    door.open()
    served = web.Application()
    served.router.add_get("/live", _live)
    served.router.add_get("/ready", _ready)
    runner = web.AppRunner(served)
    await runner.setup()
    assert door.health.reasons == ("does not answer yet",)
    try:
        await web.SockSite(runner, serving).start()
        await door.look()
        assert (door.health.state, door.health.live, door.health.reasons) == ("unready", True, ("waits",))
    finally:
        await runner.cleanup()
    await door.look()
    assert (door.health.state, door.health.live, door.health.reasons) == (
        "silent",
        False,
        ("does not answer any more",),
    )
    await door.look()
    assert door.health.reasons == ("does not answer any more",)
    await door.close()


async def test_a_process_that_was_never_heard_does_not_answer_yet() -> None:
    door = Door(1, "sesame")
    door.open()  # nobody has taken its socket over
    await door.look()
    assert (door.health.state, door.health.reasons) == ("silent", ("does not answer yet",))
    await door.close()


async def _live(_request: web.Request) -> web.Response:
    return web.Response()


async def _ready(_request: web.Request) -> web.Response:
    return web.json_response({"ready": False, "reasons": ["waits"]}, status=503)


# metrics


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            key = (one.name, frozenset(one.labels.items()))
            assert key not in found, "a sample is there once"
            found[key] = one.value
    return found


HEAD = "# HELP a_total Of a.\n# TYPE a_total counter\n"
LATENCY = "# HELP l Of l.\n# TYPE l histogram\n"
BUCKETS = 'l_bucket{{le="1.0"}} {0}\nl_bucket{{le="+Inf"}} {0}\nl_count {0}\nl_sum 0.5\n'


def test_every_sample_of_every_process_has_its_number_and_each_family_stands_once() -> None:
    texts: Mapping[int, str | None] = {
        1: HEAD + 'a_total{x="1"} 2.0\n' + LATENCY + BUCKETS.format(3),
        2: LATENCY + BUCKETS.format(4) + HEAD + 'a_total{x="q\\"\\n\\\\"} 5.0\n# TYPE only gauge\nonly 1e+300\n',
        3: None,
    }
    text = merged(texts).decode()
    wanted: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for process, one in texts.items():
        wanted["bisupervised_process_up", frozenset({("process", str(process))})] = float(one is not None)
        for (name, labels), value in samples(one or "").items():
            wanted[name, labels | {("process", str(process))}] = value
    assert samples(text) == wanted
    heads = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert sorted(heads) == sorted(set(heads))
    assert "# TYPE a_total counter" in heads


async def test_metrics_lack_only_who_does_not_answer() -> None:
    async with shown(Told(1), Told(2, SILENT)) as client, client.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        found = samples(await answer.text())
    assert found["bisupervised_process_up", frozenset({("process", "2")})] == 0
    assert found["a", frozenset({("process", "1")})] == 1
    assert len(found) == 3
