"""`check --connect` and the usual mistakes about a remote, each over a real connection: none is let through."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from bisupervised.agents.remote.endpoint import shown_address
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.commands.check import look_at_model
from bisupervised.streams.commands.check_remote import look_at_remote
from bisupervised.streams.commands.remote_address import repeated
from bisupervised.streams.settings.example import toml
from bisupervised.streams.settings.file import load_configuration, load_settings
from bisupervised.streams.settings.tables import Settings
from support.far_end import Asked, serve
from support.remotes import answered, chat_completion, choice

SECRET = "canary-in-a-query"
GENERIC: dict[str, Any] = {
    "protocol": "generic_json",
    "generic_json": {"path": "/ask", "body": {"t": "{input}"}, "prediction": "l"},
}
TEI: dict[str, Any] = {"protocol": "tei", "labels": ["a", "b"]}
Lines = list[tuple[str, str]]


def chat(**options: Any) -> dict[str, Any]:
    return {"protocol": "openai_chat", "supervisor": "token_mean", "openai_chat": {"prompt": "{input}", **options}}


NAMES = ["open_inference", "openai_chat", "tei", "anthropic_messages", "generic_json"]
MESSAGES: dict[str, Any] = {"protocol": "anthropic_messages", "anthropic_messages": {"version": "2024-01-01"}}
SPOKEN: list[dict[str, Any]] = [{"protocol": "open_inference"}, chat(), TEI, MESSAGES, GENERIC]


def settings_of(url: str, batch: str = "", **remote: Any) -> Settings:
    batches = {"stream": {"ordering": "none"}, "batch": {"interface": batch}} if batch else {}
    tables: dict[str, Any] = {
        "local": {"model": "support.models:steady", "threshold": 0.5, "warm_up": ["is it bad?"]},
        "remote": {"url": url, "model": "big", "threshold": 0.5, **remote},
        **batches,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.toml"
        path.write_text("\n".join(f"{name} = {toml(keys)}" for name, keys in tables.items()))
        return load_settings(path, {})


async def looked(url: str, *, pay: bool = False, **remote: Any) -> Lines:
    settings = await asyncio.to_thread(settings_of, url, **remote)
    found = [(str(finding.level), finding.text) async for finding in look_at_remote(settings, pay=pay)]
    assert SECRET not in str(found)
    return found


def faults(lines: Lines) -> list[str]:
    return [text for level, text in lines if level == "fault"]


def on(paths: Mapping[str, Response]) -> Callable[[Asked], Response]:
    """A server that has these paths, and no others."""
    return lambda asked: paths.get(asked.path, answered({"detail": "Not Found"}, 404))


MODELS = {"/v1/models": answered({"object": "list", "data": [{"id": "big"}]})}
PAGE = Response(200, {"Content-Type": "text/html"}, b"<!doctype html><title>Sign in</title>")
#: a model of the protocol as its server describes it
DESCRIBED = {
    "/v2/health/ready": Response(200, {}, b""),
    "/v2/models/big": answered({"name": "big", "inputs": [], "outputs": []}),
}


@pytest.mark.parametrize(
    ("ending", "path", "twice"),
    [
        ("/v1", "/v1/chat/completions", "/v1"),
        ("/v1/", "/v1/chat/completions", "/v1"),
        ("/v1/chat/completions", "/v1/chat/completions", "/v1/chat/completions"),
        ("/api/v1", "/v1/chat/completions", "/v1"),
        ("/chat/completions", "/v1/chat/completions", "/chat/completions"),
        ("", "/v1/chat/completions", None),
        ("/openai", "/v1/chat/completions", None),
        ("/models", "/v2/models/big/infer", None),
        ("/v2", "/v2/models/big/infer", "/v2"),
        ("/v2/models/big", "/v2/models/big/infer", "/v2/models/big"),
        ("/predict", "/predict", "/predict"),
    ],
)
def test_what_stands_in_both_url_and_path(ending: str, path: str, twice: str | None) -> None:
    assert repeated(f"http://host{ending}", path) == twice


async def test_a_path_that_is_there_twice_is_a_fault_with_the_whole_address() -> None:
    async with serve(on(MODELS)) as url:
        [told] = [text for text in faults(await looked(f"{url}/v1", **chat())) if "both have /v1" in text]
        assert f"calls go to {url}/v1/v1/chat/completions" in told
        [told] = faults(await looked(f"{url}/v2", protocol="open_inference"))
        assert f"{url}/v2/v2/models/big/infer" in told


async def test_the_whole_address_is_shown_without_the_values_of_its_query() -> None:
    async with serve(on(MODELS)) as url:
        lines = await looked(url, **chat(path=f"/v1/chat/completions?api-version=1&key={SECRET}"))
    assert lines[0][1].startswith(f"calls go to {url}/v1/chat/completions?api-version=…&key=…; ")
    assert lines[1] == ("ok", "has the model 'big'"), "the models are asked for under the same query"


def test_an_address_as_people_may_read_it() -> None:
    assert shown_address("https://me:secret@host:1/a/b?key=secret&x") == "https://host:1/a/b?key=…&x=…"
    assert shown_address("http://[::1") == "an address that is none"


@pytest.mark.parametrize("ending", [f"?key={SECRET}", f"/v1?key={SECRET}", f"#{SECRET}", f"/ {SECRET}"])
def test_a_url_that_no_path_can_be_added_to_is_refused(ending: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[remote\] url: must (end before|not hold)") as refused:
        settings_of(f"http://127.0.0.1:1{ending}")
    assert "?" not in ending or SECRET not in str(refused.value)


@pytest.mark.parametrize("remote", SPOKEN[:4], ids=NAMES[:4])
@pytest.mark.parametrize(
    "everything",
    [PAGE, answered({}), answered({"status": "ok"}), answered([]), Response(200, {}, b"ok"), Response(204, {}, b"")],
    ids=["page", "empty object", "status", "list", "text", "nothing"],
)
async def test_what_answers_everything_is_no_remote(remote: dict[str, Any], everything: Response) -> None:
    async with serve(lambda _: everything) as url:
        told = faults(await looked(url, **remote))
    assert len(told) == 1
    assert "is [remote] url right?" in told[0]
    assert url in told[0]


async def test_a_page_in_place_of_a_server_of_json_is_a_fault_and_a_function_that_answers_everything_is_not() -> None:
    async with serve(lambda _: PAGE) as url:
        assert "web page" in faults(await looked(url, **GENERIC))[0]
    async with serve(lambda _: answered({"l": 1})) as url:
        lines = await looked(url, **GENERIC)
    assert faults(lines) == []
    assert any("answers everything with status 200" in text and "--pay" in text for _, text in lines)


async def test_a_redirect_says_where_to() -> None:
    moved = Response(308, {"Location": f"https://elsewhere.example/v1?key={SECRET}"}, b"")
    async with serve(lambda _: moved) as url:
        for remote in (chat(), GENERIC, TEI, {}):
            [told] = faults(await looked(url, **remote))
            assert "redirects to https://elsewhere.example/v1?key=…" in told


async def test_models_that_are_listed_at_the_usual_address_only() -> None:
    async with serve(on(MODELS)) as url:
        [told] = faults(await looked(url, **chat(path="/chat/completions")))
        assert told.startswith(f"has no {url}/models, but {url}/v1/models lists models")
        [_, told] = faults(await looked(f"{url}/api/v1", **chat()))
        assert f"{url}/v1/models lists models" in told


async def test_a_model_that_is_asked_for_by_its_name_may_be_an_alias() -> None:
    asked: list[Asked] = []

    def handle(one: Asked) -> Response:
        asked.append(one)
        return on({"/v1/models/big": answered({"type": "model", "id": "big-20260101"})})(one)

    async with serve(handle) as url:
        lines = await looked(url, **MESSAGES)
        missing = await looked(url, **MESSAGES | {"model": "small"})
    assert lines[1] == ("ok", "has the model 'big'")
    assert asked[0].headers["anthropic-version"] == "2024-01-01"
    assert faults(missing) == [], "a gateway may not know this address"
    assert any("/v1/models/small was answered with status 404" in text for level, text in missing if level == "note")


BATCHED: list[tuple[dict[str, Any], str, Any]] = [
    (chat(), "openai_batch", {"object": "list", "data": [], "has_more": False}),
    (MESSAGES, "anthropic_batch", {"data": [], "has_more": False, "first_id": None, "last_id": None}),
]


@pytest.mark.parametrize(("remote", "interface", "batches"), BATCHED, ids=[each[1] for each in BATCHED])
async def test_a_batch_interface_is_asked_for_its_batches(remote: dict[str, Any], interface: str, batches: Any) -> None:
    path = "/v1/batches" if interface == "openai_batch" else "/v1/messages/batches"
    here = {**MODELS, "/v1/models/big": answered({"id": "big"}), path: answered(batches)}
    asked = remote | {"mode": "batch"}
    async with serve(on(here)) as url:
        assert ("ok", f"has the batch interface {interface}") in await looked(url, batch=interface, **asked)
        del here[path]
        [told] = faults(await looked(url, batch=interface, **asked))
        assert told.startswith("does not list its batches: the remote answered 404")
        assert interface in told
        here[path] = PAGE
        [told] = faults(await looked(url, batch=interface, **asked))
        assert "cannot be read" in told


@pytest.mark.parametrize("remote", SPOKEN, ids=NAMES)
async def test_what_is_right_has_no_fault(remote: dict[str, Any]) -> None:
    paths = {**MODELS, **DESCRIBED, "/info": answered({"model_id": "m", "model_type": {"classifier": {}}})}
    paths["/v1/models/big"] = answered({"type": "model", "id": "big-1"})
    async with serve(on(paths)) as url:
        assert faults(await looked(f"{url}/", **remote)) == []


# what is no HTTP, or not the HTTP that was said


@asynccontextmanager
async def listening(greeting: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Something that says this to everybody and hangs up."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"-ERR unknown command\r\n", b"\x00\x00\x00\x04", b""]
)
@pytest.mark.parametrize("remote", [{}, chat(), GENERIC], ids=["open_inference", "openai_chat", "generic_json"])
async def test_a_port_that_speaks_something_else(greeting: bytes, remote: dict[str, Any]) -> None:
    async with listening(greeting) as host:
        [told] = faults(await looked(f"http://{host}", **remote))
    assert told.endswith(f"does {host} speak HTTP, and is the port right?")


async def test_tls_where_the_url_says_plain_and_the_other_way_round() -> None:
    async with listening(b"", await asyncio.to_thread(tls)) as host:
        [told] = faults(await looked(f"http://{host}", **chat()))
        assert told == f"{host} speaks TLS: [remote] url must begin with https://"
        [told] = faults(await looked(f"https://{host}", **chat()))
        assert told.startswith(f"no TLS with {host}: its certificate is not trusted (")
        assert "SSL_CERT_FILE" in told
    async with serve(on(MODELS)) as url:
        [told] = faults(await looked(url.replace("http:", "https:"), **chat()))
        assert told.startswith("no TLS with 127.0.0.1:")
        assert told.endswith("[remote] url must begin with http://")
    async with listening(b"") as host:
        [told] = faults(await looked(f"https://{host}", **chat()))
        assert told.startswith(f"no TLS with {host}: ")


async def test_a_proxy_that_answers_400_to_plain_http_speaks_tls() -> None:
    """As nginx and others do: they read HTTP on the port of TLS, and say so with status 400."""

    async def either(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1)
        if first == b"\x16":  # a TLS handshake begins so
            writer.close()
            return
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(either, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        [told] = faults(await looked(f"http://{host}", **chat()))
    finally:
        server.close()
    assert told.startswith(f"http://{host}/v1/models was answered with status 400; does {host} speak HTTP")


# the question that is paid


async def test_a_question_shows_answer_score_usage_and_cost() -> None:
    reply = answered(chat_completion(choice("yes", [-0.1, -0.1])))
    async with serve(on({**MODELS, "/v1/chat/completions": reply})) as url:
        prices: dict[str, Any] = {"price_per_million_prompt_tokens": 1e3, "price_per_million_completion_tokens": 2e3}
        told = (await looked(url, pay=True, **chat(), **prices))[-1]
        assert told[0] == "ok"
        assert told[1].startswith("one call was made: it answers 'yes' with the score 0.9")
        assert told[1].endswith("; 9 tokens read and 2 written; it cost 0.013")
        free = (await looked(url, pay=True, **chat()))[-1][1]
        assert free.endswith("; 9 tokens read and 2 written")
    async with serve(on({"/ask": answered({"l": "no"})})) as url:
        told = (await looked(url, pay=True, **GENERIC))[-1]
    assert told[1].startswith("one call was made: it answers 'no' with no score, in ")
    assert told[1].endswith("; it tells no usage")


async def test_a_question_that_is_refused_says_where_it_was_asked() -> None:
    refused = answered({"error": {"message": "no such model"}}, 404)
    async with serve(on({**MODELS, "/v1/chat/completions": refused})) as url:
        [told] = faults(await looked(url, pay=True, **chat()))
    assert told.startswith("1 call made, no answer: remote_error: ")
    assert "no such model" in told
    assert told.endswith(f"(asked: {url}/v1/chat/completions)")


# the local model, where it is a server


async def test_a_local_server_that_answers_with_nothing_of_use_is_well_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    served = chat(prompt="{input}") | {"model": "small", "threshold": 0.5, "labels": ["yes", "no"], "warm_up": ["hm"]}
    reply = answered(chat_completion(choice("I cannot tell", [-0.1])))
    async with serve(on({**MODELS, "/v1/chat/completions": reply})) as url:
        tables = {"local": served | {"url": url}, "remote": {"url": url, "model": "big", "threshold": 0.5}}
        await asyncio.to_thread(path.write_text, "\n".join(f"{name} = {toml(keys)}" for name, keys in tables.items()))
        configuration = await asyncio.to_thread(load_configuration, path, {})
        found = [(one.level, one.text) async for one in look_at_model(configuration, lambda: None)]
    assert [level for level, _ in found] == ["ok", "ok", "note"]
    assert "'I cannot tell' is none of the 2 labels" in found[-1][1]
