"""Tokens for the broker: from where, for how long, and what is told where there is none."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from bisupervised.agents.remote.transport import Response, ScriptedTransport, Transport
from bisupervised.schemas.errors import RemoteError
from bisupervised.streams.logins.sources import client_credentials, own_provider, token_file
from bisupervised.streams.logins.tokens import NoToken, Token, Tokens, end_of
from bisupervised.streams.settings.broker import connection, read_connection
from bisupervised.streams.settings.keys.kafka import KafkaSettings
from pydantic import SecretStr
from support.secured import unsigned_token
from support.token_endpoint import CLIENT, SECRET

URL = "https://login.example/token"


class Now:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def tokens_of(*given: Token | NoToken, now: Now, keep: bool = True) -> tuple[Tokens, list[Token | NoToken]]:
    left = list(given)

    async def fetch() -> Token:
        await asyncio.sleep(0)
        one = left.pop(0)
        if isinstance(one, NoToken):
            raise one
        return one

    return Tokens(fetch, keep=keep, clock=now), left


async def test_one_token_serves_all_until_it_is_nearly_over() -> None:
    now = Now()
    tokens, left = tokens_of(Token("a", now.now + 100), Token("b", now.now + 500), now=now)
    assert await asyncio.gather(*(tokens.token() for _ in range(5))) == ["a"] * 5
    now.now += 79
    assert await tokens.token() == "a"
    now.now += 1
    assert await tokens.token() == "b"
    assert left == []


async def test_the_last_token_serves_while_there_is_no_new_one(caplog: pytest.LogCaptureFixture) -> None:
    now = Now()
    down = NoToken("the endpoint is down")
    tokens, _ = tokens_of(Token("a", now.now + 100), down, down, Token("b", now.now + 300), now=now)
    await tokens.token()
    now.now += 90
    assert await tokens.token() == "a"
    assert [record.__dict__["action"] for record in caplog.records] == ["broker_token_unread"]
    now.now += 10
    with pytest.raises(NoToken, match="endpoint is down"):
        await tokens.token()
    assert await tokens.token() == "b"


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (Token("a", 1.0), "has ended already"),
        (Token("two words"), "is no token"),
        (Token(""), "is no token"),
        (Token("a\x01auth=Bearer b"), "is no token"),
    ],
)
async def test_what_is_no_token(token: Token, why: str) -> None:
    with pytest.raises(NoToken, match=why):
        await tokens_of(token, now=Now())[0].token()


async def test_a_file_is_read_for_each_connection(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "token").write_text, "first\n")
    tokens = Tokens(token_file(tmp_path / "token"), {"logicalCluster": "lkc-1"}, keep=False)
    assert (await tokens.token(), tokens.extensions()) == ("first", {"logicalCluster": "lkc-1"})
    await asyncio.to_thread((tmp_path / "token").write_text, "second")
    assert await tokens.token() == "second"
    await asyncio.to_thread((tmp_path / "token").unlink)
    assert await tokens.token() == "second", "in the middle of being replaced"
    with pytest.raises(NoToken, match="cannot be read: No such file"):
        await Tokens(token_file(tmp_path / "token"), keep=False).token()


def test_when_a_token_ends() -> None:
    token = unsigned_token(60)
    assert end_of(token) is not None
    for none in ("opaque", "a.b.c", "a.bm9uc2Vuc2U.c", "a.e30.c"):
        assert end_of(none) is None


async def test_each_loop_may_ask() -> None:
    tokens, _ = tokens_of(Token("a"), now=Now())
    assert await tokens.token() == "a"
    assert await asyncio.to_thread(lambda: asyncio.run(tokens.token())) == "a"


# the endpoint


def asking(*script: Any, secret: Any = lambda: SECRET, scope: str = "kafka") -> tuple[Any, ScriptedTransport]:
    transport = ScriptedTransport(script)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Transport]:
        yield transport

    fetch = client_credentials(URL, CLIENT, secret, scope, connect, timeout_s=3.0, clock=lambda: 100.0)
    return fetch, transport


async def test_a_client_shows_its_credentials() -> None:
    answer = {"access_token": "t", "expires_in": "60", "token_type": "Bearer"}
    fetch, transport = asking(Response(200, {}, orjson.dumps(answer)))
    assert await fetch() == Token("t", 160.0)
    [sent] = transport.sent
    assert (sent.url, sent.body, sent.timeout_s) == (URL, b"grant_type=client_credentials&scope=kafka", 3.0)
    assert sent.headers["authorization"] == "Basic d29ya2VyJTJGMTpjYW5hcnkrb2YrdGhlJTJCY2xpZW50"


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (
            Response(401, {}, b'{"error": "invalid_client", "error_description": "x"}'),
            r"answers 401 \(invalid_client\)$",
        ),
        (Response(502, {}, b"<html>"), "answers 502$"),
        (Response(200, {}, b"<html>"), "something else than a token"),
        (Response(200, {}, b'{"access_token": "t", "expires_in": "soon"}'), "something else than a token"),
        (Response(200, {}, b'{"token": "t"}'), "something else than a token"),
        (RemoteError("connection lost"), "cannot be asked: connection lost"),
    ],
)
async def test_an_endpoint_that_gives_none(step: Any, why: str) -> None:
    with pytest.raises(NoToken, match=why):
        await asking(step)[0]()


async def test_a_secret_that_cannot_be_read() -> None:
    def secret() -> str:
        raise ValueError("must not be empty")

    with pytest.raises(NoToken, match="must not be empty"):
        await asking(secret=secret)[0]()


# functions of one's own


@pytest.mark.parametrize(
    ("given", "token"),
    [
        ("t", Token("t")),
        (("t", 1_700_000_000), Token("t", 1_700_000_000.0)),
        (("t", 1_700_000_000_500), Token("t", 1_700_000_000.5)),
    ],
)
async def test_a_function_gives_a_token(given: Any, token: Token) -> None:
    async def later() -> Any:
        return given

    assert await own_provider(lambda: given, "my:token")() == token
    assert await own_provider(later, "my:token")() == token


@pytest.mark.parametrize("given", [None, 3, ("t", "soon"), ("t", 1, 2)])
async def test_a_function_gives_something_else(given: Any) -> None:
    with pytest.raises(NoToken, match="my:token gives no token: "):
        await own_provider(lambda: given, "my:token")()


# the settings

OAUTH: dict[str, Any] = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}


def test_a_connection_comes_in_with_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mine")
    made = connection(KafkaSettings(**OAUTH, sasl_oauth_token_file=str(tmp_path / "token")))
    options = made.options()
    assert options["sasl_mechanism"] == "OAUTHBEARER"
    assert not {"sasl_plain_username", "sasl_plain_password"} & set(options)
    assert asyncio.run(options["sasl_oauth_token_provider"].token()) == "mine"
    assert "mine" not in repr(made) + repr(options)


def test_a_connection_asks_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("signer_of_mine")
    module.__dict__["token"] = lambda: ("signed", 4e12)
    monkeypatch.setitem(sys.modules, "signer_of_mine", module)
    made = connection(KafkaSettings(**OAUTH, sasl_oauth_provider="signer_of_mine:token"))
    assert asyncio.run(made.options()["sasl_oauth_token_provider"].token()) == "signed"


@pytest.mark.parametrize(
    ("keys", "faults"),
    [
        ({}, ["[kafka] sasl_mechanism: OAUTHBEARER needs one of sasl_oauth_url, sasl_oauth_token_file, sasl_oauth_p"]),
        ({"sasl_oauth_url": URL, "sasl_oauth_token_file": "a"}, ["[kafka] sasl_mechanism: OAUTHBEARER needs one of"]),
        (
            {"sasl_oauth_url": URL},
            ["[kafka] sasl_oauth_client_id: is missing", "[kafka] sasl_oauth_client_secret_file: is missing"],
        ),
        ({"sasl_oauth_token_file": "/none"}, ["[kafka] sasl_oauth_token_file: cannot be read: No such file"]),
        ({"sasl_oauth_provider": "no_such:thing"}, ["[kafka] sasl_oauth_provider: 'no_such:thing' cannot be imported"]),
        ({"sasl_oauth_provider": "math:pi"}, ["[kafka] sasl_oauth_provider: 'math:pi' cannot be called"]),
        (
            {"sasl_oauth_provider": "math:cos", "sasl_username": "a"},
            ["[kafka] sasl_username: has no effect with sasl_mechanism = 'OAUTHBEARER'"],
        ),
        (
            {"sasl_mechanism": "PLAIN", "sasl_username": "a", "sasl_password": SecretStr("b"), "sasl_oauth_scope": "s"},
            ["[kafka] sasl_oauth_scope: has no effect with sasl_mechanism = 'PLAIN'"],
        ),
    ],
)
def test_what_is_wrong_is_told(keys: dict[str, Any], faults: list[str]) -> None:
    _, told = read_connection(KafkaSettings(**{**OAUTH, **keys}))
    assert len(told) == len(faults), told
    assert all(line.startswith(fault) for line, fault in zip(told, faults, strict=True)), told


EXAMPLES = Path(__file__).parents[2] / "examples" / "logins"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.toml") if "[kafka]" in path.read_text()))
def test_an_example_lacks_nothing_but_what_is_not_here(name: str) -> None:
    kafka = tomllib.loads((EXAMPLES / name).read_text())["kafka"]
    _, told = read_connection(KafkaSettings(**kafka))
    assert len(told) == 1
    assert "No such file" in told[0] or "No module named 'msk_iam'" in told[0]
