"""The page for labelling over HTTP: who is let in, what is refused, and what a step does."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from bisupervised.schemas.errors import InvalidRequest
from bisupervised.streams.events import documents
from bisupervised.streams.review.desk import MOST_ANSWER
from bisupervised.streams.review.security import COOKIE
from bisupervised.streams.web.pictures import _png
from bisupervised.streams.web.security import AccessPolicy
from support.review import Page, item, page, token_of

pytestmark = [pytest.mark.contract, pytest.mark.wheel]

SCRIPT = "<script>window.pwned=1</script>"
PNG = _png(np.zeros((4, 4), dtype=np.uint8))
PATHS = ("/", "/review.css", "/review.js", "/show.js", "/base.css", "/icon.svg", "/live")
STEPS = ("next", "label", "skip", "skipped", "undo")


class Person:
    """A client, and the address it is served from."""

    def __init__(self, client: TestClient[Any, Any]) -> None:
        self.client = client
        self.origin = str(client.make_url("")).rstrip("/")

    async def post(self, step: str, body: object = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and document; `_` in a header's name is `-`, and an empty one is left out."""
        named = {"Origin": self.origin, "Content-Type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in named.items() if value}
        data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        response = await self.client.post(f"/api/{step}", data=data, headers=sent)
        text = await response.text()
        return response.status, json.loads(text) if text.startswith("{") else {"text": text}

    async def enter(self, who: str) -> dict[str, Any]:
        status, found = await self.post("login", {"token": token_of(who)})
        assert (status, found) == (200, {"who": who})
        return (await self.post("next"))[1]

    async def step(self, step: str, **body: object) -> dict[str, Any]:
        status, found = await self.post(step, body)
        assert status == 200, found
        return found


@asynccontextmanager
async def asked(served: Page) -> AsyncIterator[Person]:
    async with TestClient(TestServer(served.application())) as client:
        yield Person(client)


@asynccontextmanager
async def people(served: Page, *names: str) -> AsyncIterator[list[Person]]:
    """Each with cookies of their own, and let in."""
    async with TestServer(served.application()) as server:
        clients: list[TestClient[Any, Any]] = [TestClient(server) for _ in names]
        found = []
        for client, name in zip(clients, names, strict=True):
            await client.start_server()
            found.append(Person(client))
            await found[-1].enter(name)
        yield found
        for client in clients:
            await client.session.close()


# who is let in


async def test_without_a_token_only_the_empty_page_is_served() -> None:
    async with asked(page("secret input")) as person:
        for path in PATHS:
            response = await person.client.get(path)
            assert response.status == 200, path
            assert "secret" not in await response.text()
        for step in STEPS:
            assert (await person.post(step))[0] == 401
        for path in ("/pictures/x", "/api/next", "/api/"):
            assert (await person.client.get(path)).status == 401
        assert (await person.client.get("/review.html")).status == 404


@pytest.mark.parametrize("token", ["", "x", "the token of nobody", 7, None, ["a"]])
async def test_a_wrong_token_lets_nobody_in(token: object) -> None:
    async with asked(page("a")) as person:
        status, found = await person.post("login", {"token": token})
        assert (status, "error" in found) == (401, True)
        assert (await person.post("next"))[0] == 401
        assert (await person.post("next", Authorization=f"Bearer {token}"))[0] == 401


async def test_the_token_travels_in_a_cookie_that_no_script_and_no_other_site_has() -> None:
    async with asked(page("a")) as person:
        await person.enter("ann")
        (cookie,) = person.client.session.cookie_jar
        assert (cookie.key, cookie["httponly"], cookie["samesite"], cookie["path"]) == (COOKIE, True, "Strict", "/")
        assert not cookie["secure"]
        await person.post("logout")
        assert (await person.post("next"))[0] == 401


async def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_alone() -> None:
    served = page("a")
    served.policy = AccessPolicy("127.0.0.1", ("labels.example",))
    async with asked(served) as person:
        response = await person.client.post(
            "/api/login",
            json={"token": token_of("ann")},
            headers={"Host": "labels.example", "Origin": "https://labels.example"},
        )
        assert response.status == 200
        assert "Secure" in response.headers["Set-Cookie"]


async def test_a_program_may_send_the_token_in_a_header_without_an_origin() -> None:
    async with asked(page("a")) as person:
        status, found = await person.post("next", Authorization=f"Bearer {token_of('bob')}", Origin="")
        assert (status, found["who"]) == (200, "bob")


async def test_who_is_no_reviewer_any_more_is_out() -> None:
    served = page("a")
    async with asked(served) as person:
        await person.enter("ann")
        served.reviewers = type(served.reviewers)({})
        assert (await person.post("next"))[0] == 401


# what is refused


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:1", ""])
async def test_a_write_needs_our_own_origin(origin: str) -> None:
    served = page("a")
    async with asked(served) as person:
        await person.enter("ann")
        for step in ("login", "logout", *STEPS):
            assert (await person.post(step, Origin=origin))[0] == 403, step
    assert served.topics.labels == []


async def test_what_a_form_could_send_is_refused() -> None:
    async with asked(page("a")) as person:
        await person.enter("ann")
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
            assert (await person.post("next", Content_Type=kind))[0] == 415


async def test_foreign_names_and_other_sites_are_refused() -> None:
    async with asked(page("a")) as person:
        await person.enter("ann")
        for path in (*PATHS, "/api/next"):
            assert (await person.client.get(path, headers={"Host": "evil.example"})).status == 421
        assert (await person.post("next", Sec_Fetch_Site="cross-site"))[0] == 403
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await person.client.request(method, "/api/next")).status == 405
        assert (await person.client.get("/api/label")).status == 405


async def test_every_answer_has_the_headers_that_keep_scripts_out() -> None:
    async with asked(page("a")) as person:
        await person.enter("ann")
        for path in (*PATHS, "/nothing", "/api/label", "/pictures/x"):
            headers = (await person.client.get(path)).headers
            assert "default-src 'none'" in headers["Content-Security-Policy"], path
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Cache-Control"] == "no-store"
            assert headers["Referrer-Policy"] == "no-referrer"


async def test_the_page_has_no_inline_script_or_style() -> None:
    async with asked(page()) as person:
        text = await (await person.client.get("/")).text()
        assert "style=" not in text
        assert "<style" not in text
        assert re.search(r"\son[a-z]+=", text) is None
        assert text.count("<script") == text.count("<script type=")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        ({"source": 7, "truth": "positive"}, 422),
        ({"truth": "positive"}, 422),
        ({"source": "requests-0-0"}, 422),
        ({"source": "requests-0-0", "truth": ""}, 422),
        ({"source": "requests-0-0", "truth": " \n"}, 422),
        ({"source": "requests-0-0", "truth": "neutral"}, 422),
        ({"source": "requests-0-0", "truth": {"a": 1}}, 422),
        ({"source": "requests-0-9", "truth": "positive"}, 409),
        ({"source": "../../etc", "truth": "positive"}, 409),
        (b'{"source":"' + b"x" * 70_000 + b'"}', 413),
    ],
)
async def test_what_is_no_label_is_refused_and_nothing_is_written(body: object, status: int) -> None:
    served = page("a")
    async with asked(served) as person:
        await person.enter("ann")
        assert (await person.post("label", body))[0] == status
    assert served.topics.labels == []


async def test_words_are_taken_where_there_are_no_classes_and_too_many_are_not() -> None:
    served = page("a", "b", classes=())
    async with asked(served) as person:
        await person.enter("ann")
        assert (await person.post("label", {"source": "requests-0-0", "truth": "x" * (MOST_ANSWER + 1)}))[0] == 422
        found = await person.step("label", source="requests-0-0", truth=f"  {SCRIPT} ")
        assert found["saved"] == SCRIPT
    assert served.topics.said == [("ann", "requests-0-0", SCRIPT)]


# what a step does


async def test_nothing_says_what_the_models_said_or_why_an_input_comes() -> None:
    served = page("a", "b")
    spoken = ("the local model said this",), ("the remote model said that",)
    served.queue.add(item(0, local=spoken[0], remote=spoken[1], answered_by="remote", at_ms=item(0).drawn.at_ms + 1))
    async with people(served, "ann", "bob") as (ann, bob):
        documents = [await ann.step("next"), await ann.step("label", source="requests-0-0", truth="negative")]
        documents += [await bob.step("skip", source="requests-0-1"), await bob.step("next")]
        text = json.dumps(documents)
        assert "model said" not in text
        first, second = documents[0]["task"], documents[-1]["task"]
        assert second["source"] == "requests-0-0", "it came to a second person"
        assert first == second, "and looks the same"


async def test_a_label_is_said_to_be_saved_only_when_it_is_written() -> None:
    served = page("a", "b")
    async with asked(served) as person:
        await person.enter("ann")
        served.topics.down = True
        status, found = await person.post("label", {"source": "requests-0-0", "truth": "positive"})
        assert (status, "cannot be written" in found["error"], "saved" in found) == (503, True, False)
        served.topics.down = False
        assert (await person.step("next"))["task"]["source"] == "requests-0-0", "nothing is lost"
        found = await person.step("label", source="requests-0-0", truth="positive")
        assert (found["saved"], found["task"]["source"]) == ("positive", "requests-0-1")
        assert (found["progress"]["done"], found["progress"]["left"]) == (1, 1)
    assert served.topics.said == [("ann", "requests-0-0", "positive")]
    assert served.topics.labels[0].second_look


async def test_undo_takes_the_label_back_in_the_topic() -> None:
    served = page("a", "b")
    async with asked(served) as person:
        assert not (await person.enter("ann"))["progress"]["undo"]
        await person.step("label", source="requests-0-0", truth="negative")
        found = await person.step("undo")
        assert (found["task"]["source"], found["task"]["former"]) == ("requests-0-0", "negative")
        assert found["progress"]["done"] == 0
        await person.step("label", source="requests-0-0", truth="positive")
        await person.step("skip", source="requests-0-1")
        found = await person.step("undo")
        assert (found["task"]["source"], found["task"]["former"]) == ("requests-0-1", None)
    said = [("ann", "requests-0-0", truth) for truth in ("negative", None, "positive")]
    assert served.topics.said == said


async def test_what_was_taken_back_is_not_said_of_another_input() -> None:
    """Somebody else looks at that one by now."""
    served = page(b'{"input":1}', b'{"input":2}')
    async with asked(served) as ann, asked(served) as bob:
        for person, name in ((ann, "ann"), (bob, "bob")):
            assert (await person.post("login", {"token": token_of(name)}))[0] == 200
        await ann.step("label", source="requests-0-0", truth="negative")
        assert (await bob.step("next"))["task"]["source"] == "requests-0-0"
        found = (await ann.step("undo"))["task"]
        assert (found["source"], found["former"]) == ("requests-0-1", None)


async def test_undo_that_cannot_be_written_changes_nothing() -> None:
    served = page("a", "b")
    async with asked(served) as person:
        await person.enter("ann")
        await person.step("label", source="requests-0-0", truth="positive")
        served.topics.down = True
        assert (await person.post("undo"))[0] == 503
        served.topics.down = False
        assert (await person.step("next"))["progress"]["done"] == 1


async def test_two_who_ask_at_once_get_two_inputs_and_the_third_none() -> None:
    async with people(page("a", "b"), "ann", "bob", "eve") as found:
        documents = [await person.step("next") for person in found]
        sources = [None if d["task"] is None else d["task"]["source"] for d in documents]
        assert sources == ["requests-0-0", "requests-0-1", None]


async def test_an_input_that_is_not_there_any_more_is_passed_over() -> None:
    served = page("a", "b")
    del served.topics.values[0]
    async with asked(served) as person:
        found = await person.enter("ann")
        assert (found["task"]["source"], found["progress"]["left"]) == ("requests-0-1", 1)


async def test_a_picture_is_shown_to_who_looks_at_its_input_and_to_nobody_else() -> None:
    served = page("data:image/svg+xml;base64," + base64.b64encode(PNG).decode(), "b")
    async with people(served, "ann", "bob") as (ann, bob):
        found = await ann.step("next")
        (part,) = found["task"]["input"]
        response = await ann.client.get(part["picture"])
        assert (response.status, response.content_type, await response.read()) == (200, "image/png", PNG)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]
        assert (await bob.client.get(part["picture"])).status == 404
        await ann.step("label", source="requests-0-0", truth="positive")
        assert (await ann.client.get(part["picture"])).status == 404


async def test_what_says_to_be_a_picture_and_is_none_stays_text() -> None:
    svg = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>").decode()
    async with asked(page(f"data:image/png;base64,{svg}")) as person:
        (part,) = (await person.enter("ann"))["task"]["input"]
        assert (part["kind"], part["text"]) == ("text", f"data:image/png;base64,{svg}")


async def test_events_that_are_no_json_are_read_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_SCHEMA_S", 0.0)

    class Reader:
        known, waits_for = False, ""

        def wait(self) -> None:
            return

        async def ready(self, _: Iterable[bytes]) -> None:
            if not self.known:
                await asyncio.Event().wait()

        def read(self, value: bytes) -> Any:
            if value == b"bad":
                raise InvalidRequest("no event")
            return {"input": {"text": value[1:].decode()}, "op": "u"}

    served, reader = page(b"\x00hello", b"bad"), Reader()
    served.desk._asked = replace(served.desk._asked, reader=reader)
    async with asked(served) as person:
        assert (await person.post("login", {"token": token_of("ann")}))[0] == 200
        status, found = await person.post("next")
        assert (status, "registry" in found["error"]) == (503, True)
        reader.known = True
        found = await person.step("next")
        assert [(part["name"], part["text"]) for part in found["task"]["input"]] == [("text", "hello")]
        assert [part["name"] for part in found["task"]["rest"]] == ["op"]
        found = await person.step("skip", source="requests-0-0")
        assert [part["text"] for part in found["task"]["input"]] == ["bad"]
