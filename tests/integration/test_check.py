"""`check --connect` against a real broker and real HTTP servers: what is right, and each thing that can be wrong."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from bisupervised.streams import cli
from bisupervised.streams.commands.check import look
from bisupervised.streams.commands.check_remote import look_at_remote
from bisupervised.streams.commands.findings import Finding
from bisupervised.streams.sandbox.broker import Broker
from bisupervised.streams.settings.example import toml
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.topics.creating import create_command, create_topics
from support.configurations import configuration_of
from support.pipeline import Remote

ROLES = ("requests", "doubtful", "answers", "results", "fallback")
KEY = "a-key-of-the-test"
Lines = list[tuple[str, str, str]]


def nobody() -> str:
    """A port where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def prefix() -> str:
    return f"check-{uuid.uuid4().hex[:8]}"


def configured(folder: Path, prefix: str, servers: str, url: str, **changes: Mapping[str, Any]) -> Path:
    """A configuration of this broker and remote, with topics of its own."""
    tables: dict[str, dict[str, Any]] = {
        "kafka": {"bootstrap_servers": servers, "request_timeout_s": 10.0},
        "topics": {role: f"{prefix}-{role}" for role in ROLES} | {"partitions": 2},
        "local": {
            "model": "support.models:steady",
            "output": "probabilities",
            "threshold": 0.5,
            "warm_up": [[0, 0.5, 0.9, 0]],
        },
        "remote": {"url": url, "model": "big", "threshold": 0.5},
    }
    for table, keys in changes.items():
        tables[table] = {**tables.get(table, {}), **keys}
    path = folder / f"{prefix}.toml"
    path.write_text("\n".join(f"{name} = {toml(keys)}" for name, keys in tables.items()))
    return path


async def settings_of(*arguments: Any, env: Mapping[str, str] | None = None, **changes: Any) -> Settings:
    """Writing and reading a file blocks, and does not belong on the loop."""
    return await asyncio.to_thread(lambda: load_settings(configured(*arguments, **changes), env or {}))


async def found(settings: Settings, **options: Any) -> Lines:
    options = {"pay": False} | options
    looked: list[Finding] = [finding async for finding in look(configuration_of(settings), lambda: None, **options)]
    return [(finding.about, finding.level, finding.text) for finding in looked]


def levels(lines: Lines, about: str) -> list[str]:
    return [level for subject, level, _ in lines if subject == about]


# all of it


def test_everything_is_there(broker: Broker, tmp_path: Path, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Remote() as remote:
        path = configured(tmp_path, prefix, broker.bootstrap_servers, remote.url)
        asyncio.run(create_topics(load_settings(path, {})))
        assert cli.run(["check", "--connect", "--json", "--config", str(path)]) == 0
        document = json.loads(capsys.readouterr().out)
        assert remote.calls == 0, "nothing was paid"
        assert cli.run(["check", "--connect", "--pay", "--config", str(path)]) == 0
        assert remote.calls == 1
    lines = capsys.readouterr().out.splitlines()
    assert document["ok"] is True
    told = [finding for finding in document["findings"] if finding["about"] != "stream"]  # what needs no broker
    texts = [finding["text"] for finding in told if finding["level"] == "ok"]
    assert texts[:3] == [
        f"1 of 1 broker answered: {broker.bootstrap_servers}",
        "speaks the protocol of Kafka 2.5 or later",
        "transactions work",
    ]
    assert [f"{prefix}-{role}: 2 partitions" for role in ROLES] == texts[3:8]
    assert texts[9] == "answers the inputs of [local] warm_up, 1 in all"
    assert texts[10].endswith("can be reached")
    assert lines[-1].startswith("ok     remote  one call was made: it answers 0 with the score 0.9")


def test_nothing_is_there(tmp_path: Path, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every check runs, whatever the others found."""
    path = configured(tmp_path, prefix, nobody(), f"http://{nobody()}", local={"model": "no_such_module:model"})
    assert cli.run(["check", "--connect", "--config", str(path)]) == 1
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("ok     stream"), "it needs no broker"
    assert [line[:13].rstrip() for line in lines] == [
        "fault  broker",
        "fault  topics",
        "fault  model",
        "fault  remote",
    ]
    assert "bisupervised broker" in lines[0]
    assert "no_such_module" in lines[2]
    assert "Connection refused" in lines[3]


def test_a_faulty_configuration_is_not_tried(tmp_path: Path, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = configured(tmp_path, prefix, nobody(), "http://127.0.0.1:1", local={"threshold": 5})
    assert cli.run(["check", "--connect", "--json", "--config", str(path)]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "ok": False,
        "faults": ["[local] threshold: must be between 0 and 1 (got 5)"],
        "findings": [],
    }


# topics


async def make(servers: str, *topics: NewTopic) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        response = await admin.create_topics(list(topics))
        assert not any(error for _, error, *_ in response.topic_errors), response
        async with asyncio.timeout(20):
            while {topic.name for topic in topics} - set(await admin.list_topics()):  # noqa: ASYNC110  # the broker has to be asked
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def test_the_budgets_topic(broker: Broker, tmp_path: Path, prefix: str) -> None:
    servers, budget = broker.bootstrap_servers, {"calls": 10, "per": "month", "when_spent": "fallback"}
    named = {"budget": f"{prefix}-budget"}
    settings = await settings_of(tmp_path, prefix, servers, f"http://{nobody()}", topics=named, budget=budget)
    name = settings.topics.budget
    told = [(level, text) for about, level, text in await found(settings) if about == "topics"]
    assert ("fault", f"{name}: is missing; make it: {create_command(settings)}") in told
    await make(servers, NewTopic(name, 1, 1, topic_configs={"cleanup.policy": "compact", "retention.ms": "86400000"}))
    told = [(level, text) for about, level, text in await found(settings) if about == "topics"]
    assert ("fault", f"{name}: cleanup.policy = compact would forget what is spent; set it to delete") in told
    assert (
        "fault",
        f"{name}: keeps records for 24 hours, less than a month: what is spent would be forgotten",
    ) in told


async def test_wrong_topics(broker: Broker, tmp_path: Path, prefix: str) -> None:
    settings = await settings_of(
        tmp_path,
        prefix,
        broker.bootstrap_servers,
        f"http://{nobody()}",
        topics={"retention_hours": 24.0},
        remote={"in_flight": 4},
    )
    await make(
        broker.bootstrap_servers,
        NewTopic(f"{prefix}-requests", 6, 1, topic_configs={"max.message.bytes": "500000"}),
        NewTopic(f"{prefix}-doubtful", 6, 1, topic_configs={"cleanup.policy": "compact"}),
        NewTopic(f"{prefix}-answers", 3, 1, topic_configs={"retention.ms": "3600000"}),
        NewTopic(f"{prefix}-results", 6, 1, topic_configs={"max.message.bytes": "1000", "min.insync.replicas": "2"}),
        NewTopic(f"{prefix}-fallback", 6, 1, topic_configs={"cleanup.policy": "compact,delete"}),
    )
    lines = [(level, text) for about, level, text in await found(settings) if about == "topics"]
    expected = [
        ("fault", "-fallback: cleanup.policy = compact refuses records without a key"),
        ("note", "-requests: 6 partitions, [topics] partitions says 2"),
        ("fault", "-doubtful: cleanup.policy = compact would drop records"),
        ("note", "-answers: 3 partitions, and "),
        ("note", "-answers: keeps records for 1 hours, [topics] retention_hours says 24"),
        ("fault", "-results: 1 replica, and min.insync.replicas = 2: nothing can be written"),
        ("note", "-results: max.message.bytes = 1000, and "),
        ("fault", "-doubtful: 6 partitions, and [remote] in_flight is only 4"),
    ]
    for level, text in expected:
        assert any(told == level and f"{prefix}{text}" in line for told, line in lines), (level, text, lines)


async def test_a_broker_that_refuses_the_transactions(broker: Broker, tmp_path: Path, prefix: str) -> None:
    """Longer ones than `transaction.max.timeout.ms` of the broker, 15 minutes: the settings allow no more."""
    settings = await settings_of(tmp_path, prefix, broker.bootstrap_servers, f"http://{nobody()}")
    longer = settings.stream.model_copy(update={"transaction_timeout_s": 3600.0})
    lines = await found(settings.model_copy(update={"stream": longer}))
    (told,) = [text for about, level, text in lines if (about, level) == ("broker", "fault")]
    assert told.startswith("transactions do not work")
    relaxed = settings.stream.model_copy(update={"transaction_timeout_s": 3600.0, "delivery": "at_least_once"})
    assert "fault" not in levels(await found(settings.model_copy(update={"stream": relaxed})), "broker")


# the model


@pytest.mark.parametrize(
    ("local", "told"),
    [
        ({"model": "support.models:no_such"}, "support.models"),
        ({"warm_up": ["a text"]}, "fails on the inputs of [local] warm_up"),
    ],
)
async def test_a_wrong_model(tmp_path: Path, prefix: str, local: dict[str, Any], told: str) -> None:
    settings = await settings_of(tmp_path, prefix, nobody(), f"http://{nobody()}", local=local)
    faults = [text for about, level, text in await found(settings) if (about, level) == ("model", "fault")]
    assert len(faults) == 1
    assert told in faults[0]


# the remote

Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def serving(paths: Mapping[str, Any]) -> AsyncIterator[str]:
    """A server that answers GET on these paths with a status, or with a document; with a key, or 401."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return web.Response(status=401)
        told = paths.get(request.path, 404)
        return web.Response(status=told) if isinstance(told, int) else web.json_response(told)

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def remote_lines(folder: Path, prefix: str, url: str, key: str = KEY, **remote: Any) -> list[tuple[str, str]]:
    env = {"BISUPERVISED_REMOTE__API_KEY": key}
    settings = await settings_of(folder, prefix, nobody(), url, remote=remote, env=env)
    lines = [(finding.level, finding.text) async for finding in look_at_remote(settings, pay=False)]
    assert key not in str(lines)
    return [(str(level), text) for level, text in lines[1:]]


MODELS = {"/v1/models": {"object": "list", "data": [{"id": "big"}, {"id": "small"}]}}
READY = {"/v2/health/ready": 200, "/v2/models/big": {"name": "big"}}


def described(**sides: Any) -> dict[str, Any]:
    return READY | {"/v2/models/big": {"name": "big"} | sides}


HAS_IT = [("ok", "says that it is ready"), ("ok", "has the model 'big'")]
FLOATS = [{"name": "input", "datatype": "FP32", "shape": [-1, -1]}]


@pytest.mark.parametrize(
    ("paths", "remote", "expected"),
    [
        (READY, {}, HAS_IT),
        (described(inputs=FLOATS, outputs=[{"name": "probabilities"}]), {}, HAS_IT),
        (
            described(inputs=FLOATS),
            {"datatype": "BYTES"},
            [
                *HAS_IT,
                ("note", "says that it takes 'input' of FP32, not 'input' of BYTES: are [remote] input_name and"),
            ],
        ),
        (
            described(inputs=FLOATS),
            {"input_name": "x"},
            [*HAS_IT, ("note", "says that it takes 'input' of FP32, not 'x'")],
        ),
        (
            described(outputs=[{"name": "a"}, {"name": "b"}]),
            {},
            [*HAS_IT, ("note", "says that it puts out 'a', 'b', not 'probabilities': is [remote] output_name right?")],
        ),
        (described(inputs=[3], outputs="x"), {}, HAS_IT),
        (READY, {"model": "other"}, [("ok", "says"), ("fault", "has no model 'other'")]),
        ({"/v2/health/ready": 503}, {}, [("fault", "is not ready: http://127.0.0.1:")]),
        ({}, {}, [("note", "does not say whether it is ready: http://127.0.0.1:")]),
        (MODELS, {"protocol": "openai_chat"}, [("ok", "takes the key, and has the model 'big'")]),
        (
            MODELS,
            {"protocol": "openai_chat", "model": "other"},
            [("fault", "has no model 'other'; it lists 'big', 'small'")],
        ),
        ({"/v1/models": {}}, {"protocol": "openai_chat"}, [("note", "answers, but lists no models")]),
        (
            {"/info": {"model_id": "m/n", "model_type": {"classifier": {}}}},
            {"protocol": "tei"},
            [("ok", "serves m/n")],
        ),
        (
            {"/info": {"model_id": "m/n", "model_type": {"embedding": {}}}},
            {"protocol": "tei"},
            [("ok", "serves m/n"), ("fault", "serves no classifier but embedding")],
        ),
        ({"/info": []}, {"protocol": "tei"}, [("note", "answers, but does not say which model")]),
        (
            {},
            {"protocol": "generic_json", "generic_json": {"body": {"text": "{input}"}, "prediction": "label"}},
            [("note", "protocol 'generic_json' has no request that costs nothing: only the connection was tried")],
        ),
    ],
)
async def test_what_the_remote_says(
    tmp_path: Path, prefix: str, paths: Any, remote: dict[str, Any], expected: Sequence[tuple[str, str]]
) -> None:
    async with serving(paths) as url:
        lines = await remote_lines(tmp_path, prefix, url, **remote)
    assert [level for level, _ in lines] == [level for level, _ in expected]
    for (_, told), (_, text) in zip(lines, expected, strict=True):
        assert told.startswith(text)


@pytest.mark.parametrize(("protocol", "paths"), [("open_inference", READY), ("openai_chat", MODELS), ("tei", {})])
async def test_a_wrong_key(tmp_path: Path, prefix: str, protocol: str, paths: Any) -> None:
    async with serving(paths) as url:
        [(level, text)] = await remote_lines(tmp_path, prefix, url, "canary-canary-canary", protocol=protocol)
    assert level == "fault"
    assert text.startswith("refuses the key: ")
    assert "BISUPERVISED_REMOTE__API_KEY" in text


async def test_no_such_name_and_no_tls(tmp_path: Path, prefix: str) -> None:
    settings = await settings_of(tmp_path, prefix, nobody(), "http://no-such-host.invalid")
    (told,) = [finding async for finding in look_at_remote(settings, pay=False)]
    assert (told.level, told.text) == ("fault", "no address is known for no-such-host.invalid: is [remote] url right?")
    async with serving({}) as url:
        settings = await settings_of(tmp_path, prefix, nobody(), url.replace("http:", "https:"))
        (told,) = [finding async for finding in look_at_remote(settings, pay=False)]
    assert told.level == "fault"
    assert told.text.startswith("no TLS with 127.0.0.1:")


@pytest.fixture
def large() -> Iterator[Remote]:
    """A remote in a thread; started here, for a start waits, and no loop may."""
    with Remote() as remote:
        yield remote


async def test_a_call_that_is_paid_is_made_once(tmp_path: Path, prefix: str, large: Remote) -> None:
    settings = await settings_of(tmp_path, prefix, nobody(), large.url)
    large.refusal = (500, {})
    *_, told = [finding async for finding in look_at_remote(settings, pay=True)]
    assert large.calls == 1
    assert told.level == "fault"
    assert told.text.startswith("1 call made, no answer: remote_error")


async def test_a_protocol_of_ones_own_that_cannot_be_loaded(tmp_path: Path, prefix: str) -> None:
    async with serving({}) as url:
        settings = await settings_of(tmp_path, prefix, nobody(), url, remote={"protocol": "no_such_module:made"})
        told = [(finding.level, finding.text) async for finding in look_at_remote(settings, pay=False)]
    assert [level for level, _ in told] == ["fault", "ok", "note"]
    assert "no_such_module" in told[0][1]


async def test_a_check_that_breaks_does_not_keep_the_others_from_running(
    tmp_path: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Settings) -> AsyncIterator[Finding]:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr("bisupervised.streams.commands.check_kafka.look_at_broker", broken)
    lines = await found(await settings_of(tmp_path, prefix, nobody(), f"http://{nobody()}"))
    assert lines[1] == ("broker", "fault", "could not be looked at: RuntimeError: what nobody thought of")
    assert {about for about, _, _ in lines} == {"stream", "broker", "topics", "model", "remote"}
