"""How a remote is reached: through a proxy, by a certificate of one's own, with a signature of each call."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trustme
from aiohttp import web
from bisupervised.agents.events.registry import Registry, RegistryUnavailable
from bisupervised.agents.remote.credentials import Signed
from bisupervised.agents.remote.transport import Response, ScriptedTransport
from bisupervised.schemas.errors import ConfigurationError, RemoteError
from bisupervised.streams.events.registry import make_registry
from bisupervised.streams.logins.tokens import NoToken, Tokens
from bisupervised.streams.settings.broker import read_connection
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.keys.events import RegistrySettings
from bisupervised.streams.settings.keys.kafka import KafkaSettings, TokenEndpointSettings
from bisupervised.streams.settings.keys.remote import RemoteSettings
from bisupervised.streams.worker.making import make_transport
from pydantic import SecretStr
from support.configurations import SMALLEST

SIGNATURE = "canary-signature-of-a-call"


async def _hello(request: web.Request) -> web.Response:
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    return web.json_response({"asked": str(request.url), "who": str(certificate)})


async def _serve(context: ssl.SSLContext | None = None) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", _hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return runner, runner.addresses[0][1]


def remote(**keys: Any) -> RemoteSettings:
    return RemoteSettings(model="m", threshold=0.5, **keys)


async def _asked(settings: RemoteSettings) -> str:
    transport = await asyncio.to_thread(make_transport, settings)
    try:
        response = await transport.post(f"{settings.url}/v1", b"{}", {}, 5.0)
    finally:
        await transport.close()
    return response.body.decode()


async def test_calls_go_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, port = await _serve()
    proxy = f"http://127.0.0.1:{port}"
    try:
        assert "remote.example/v1" in await _asked(remote(url="http://remote.example", proxy=proxy))
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        asked = await _asked(remote(url="http://remote.example", proxy_of_environment=True))
        assert "remote.example/v1" in asked
        assert f"127.0.0.1:{port}/v1" in await _asked(remote(url=proxy, proxy_of_environment=True))
        assert f"127.0.0.1:{port}/v1" in await _asked(remote(url=proxy))
    finally:
        await runner.cleanup()


@pytest.fixture
def authority(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """How the server encrypts, which wants a certificate of its clients, and the folder with the files."""
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client = ca.issue_cert("worker@example.org")
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    (tmp_path / "text").write_text("no certificate")
    return context, tmp_path


async def test_a_server_with_an_authority_of_its_own(authority: tuple[ssl.SSLContext, Path]) -> None:
    context, folder = authority
    runner, port = await _serve(context)
    known = {"url": f"https://127.0.0.1:{port}", "ssl_ca_file": str(folder / "ca.pem")}
    try:
        assert "worker@example.org" in await _asked(remote(**known, ssl_certificate_file=str(folder / "client.pem")))
        for keys in (known, {"url": known["url"]}):
            with pytest.raises(RemoteError):
                await _asked(remote(**keys))
    finally:
        await runner.cleanup()


async def _serve_others(context: ssl.SSLContext | None = None) -> tuple[web.AppRunner, int]:
    """A registry and a token endpoint, under one address."""
    app = web.Application()
    app.router.add_get("/schemas/types", _kinds)
    app.router.add_post("/token", _token)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return runner, runner.addresses[0][1]


async def _kinds(_: web.Request) -> web.Response:
    return web.json_response(["AVRO"])


async def _token(_: web.Request) -> web.Response:
    return web.json_response({"access_token": "a-token", "expires_in": 60})


def registry(**keys: Any) -> Registry:
    return make_registry(RegistrySettings(timeout_s=5.0, **keys))


def tokens(url: str, endpoint: dict[str, str] | None) -> Tokens:
    table = None if endpoint is None else TokenEndpointSettings.model_validate(endpoint)
    kafka = KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_url=url,
        sasl_oauth_client_id="worker",
        sasl_oauth_client_secret=SecretStr("canary-secret"),
        sasl_oauth_endpoint=table,
    )
    made, faults = read_connection(kafka)
    assert faults == []
    assert made is not None
    found = made.tokens
    assert isinstance(found, Tokens)
    return found


async def test_a_registry_and_a_token_endpoint_with_an_authority_of_their_own(
    authority: tuple[ssl.SSLContext, Path],
) -> None:
    context, folder = authority
    runner, port = await _serve_others(context)
    url = f"https://127.0.0.1:{port}"
    whole = {"ssl_ca_file": str(folder / "ca.pem"), "ssl_certificate_file": str(folder / "client.pem")}
    try:
        assert await registry(url=url, **whole).kinds() == ["AVRO"]
        assert await (await asyncio.to_thread(tokens, f"{url}/token", whole)).token() == "a-token"
        with pytest.raises(RegistryUnavailable):
            await registry(url=url, ssl_ca_file=whole["ssl_ca_file"]).kinds()
        with pytest.raises(NoToken, match="the token endpoint cannot be asked"):
            await (await asyncio.to_thread(tokens, f"{url}/token", None)).token()
    finally:
        await runner.cleanup()


async def test_a_registry_and_a_token_endpoint_behind_a_proxy() -> None:
    runner, port = await _serve_others()
    proxy = f"http://127.0.0.1:{port}"
    try:
        assert await registry(url="http://registry.example", proxy=proxy).kinds() == ["AVRO"]
        made = await asyncio.to_thread(tokens, "http://tokens.example/token", {"proxy": proxy})
        assert await made.token() == "a-token"
    finally:
        await runner.cleanup()


async def test_a_certificate_that_is_gone_is_told_as_an_outage(authority: tuple[ssl.SSLContext, Path]) -> None:
    """Records wait, and the next question reads the files again."""
    _, folder = authority
    reaching = {"url": "https://127.0.0.1:1", "ssl_ca_file": str(folder / "gone.pem")}
    with pytest.raises(RegistryUnavailable, match=r"cannot be asked: \[registry\] ssl_ca_file: cannot be read"):
        await registry(**reaching).kinds()


async def test_a_local_server_is_reached_as_its_table_says(authority: tuple[ssl.SSLContext, Path]) -> None:
    context, folder = authority
    runner, port = await _serve(context)
    table = (
        f'[local]\nprotocol = "tei"\nurl = "https://127.0.0.1:{port}"\nthreshold = 0.5\nlabels = ["a", "b"]\n'
        f'ssl_ca_file = "{folder / "ca.pem"}"\nssl_certificate_file = "{folder / "client.pem"}"\n'
    )
    await asyncio.to_thread((folder / "my.toml").write_text, table + SMALLEST[SMALLEST.index("[remote]") :])
    try:
        local = (await asyncio.to_thread(load_settings, folder / "my.toml", {})).local
        assert "worker@example.org" in await _asked(local.as_remote())
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('[registry]\nssl_ca_file = "/none"\n', "[registry] ssl_ca_file: has no use without url"),
        (
            '[request]\nformat = "avro"\n[registry]\nurl = "https://a"\nssl_ca_file = "/none"\n',
            "[registry] ssl_ca_file: cannot be read",
        ),
        (
            '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "OAUTHBEARER"\nsasl_oauth_token_file = "TOKEN"\n'
            '[kafka.sasl_oauth_endpoint]\nproxy = "http://a"\n',
            "[kafka.sasl_oauth_endpoint]: has no use without [kafka] sasl_oauth_url",
        ),
        (
            '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "OAUTHBEARER"\nsasl_oauth_url = "https://a"\n'
            'sasl_oauth_client_id = "a"\nsasl_oauth_client_secret_file = "TOKEN"\n'
            '[kafka.sasl_oauth_endpoint]\nssl_certificate_file = "TOKEN"\n',
            "[kafka.sasl_oauth_endpoint] ssl_key_file: does not open with that password",
        ),
    ],
)
def test_what_is_wrong_with_other_tables_is_told(tmp_path: Path, table: str, fault: str) -> None:
    (tmp_path / "token").write_text("a-token")
    (tmp_path / "my.toml").write_text(table.replace("TOKEN", str(tmp_path / "token")) + SMALLEST)
    with pytest.raises(ConfigurationError) as told:
        load_settings(tmp_path / "my.toml", {})
    assert [line[: len(fault)] for line in told.value.faults] == [fault]


def test_the_example_lacks_nothing_but_its_files() -> None:
    with pytest.raises(ConfigurationError) as told:
        load_settings(Path(__file__).parents[2] / "examples" / "logins" / "proxy.toml", {})
    assert [line.partition(": cannot be read")[0] for line in told.value.faults] == [
        "[remote] ssl_ca_file",
        "[remote] api_key_file",
    ]


def test_a_local_model_without_a_server_is_reached_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(SMALLEST.replace("[local]\n", '[local]\nproxy = "http://a"\n'))
    with pytest.raises(ConfigurationError) as told:
        load_settings(tmp_path / "my.toml", {})
    assert told.value.faults == ("[local] proxy: has no use without protocol",)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ('ssl_ca_file = "/none"\n', "[remote] ssl_ca_file: has no effect with an http:// url"),
        ('credentials = "a:b"\napi_key_file = "k"\n', "[remote] credentials: has no use beside a key"),
        ('proxy = "http://a"\nproxy_of_environment = true\n', "[remote] proxy_of_environment: has no use beside proxy"),
        ('proxy = "http://me:secret@a"\n', "[remote] proxy: must not carry a user or a password"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, keys: str, fault: str) -> None:
    (tmp_path / "k").write_text("key")
    (tmp_path / "my.toml").write_text(SMALLEST + keys.replace('"k"', f'"{tmp_path / "k"}"'))
    with pytest.raises(ConfigurationError) as told:
        load_settings(tmp_path / "my.toml", {})
    assert [line[: len(fault)] for line in told.value.faults] == [fault]
    assert "secret" not in str(told.value)


def test_files_of_an_encrypted_remote_are_looked_at(authority: tuple[ssl.SSLContext, Path]) -> None:
    _, folder = authority
    keys = f'ssl_ca_file = "{folder / "text"}"\nssl_key_file = "/none"\n'
    (folder / "my.toml").write_text(SMALLEST.replace("http://", "https://") + keys)
    with pytest.raises(ConfigurationError) as told:
        load_settings(folder / "my.toml", {})
    assert told.value.faults == (
        "[remote] ssl_key_file: cannot be read: No such file or directory",
        "[remote] ssl_certificate_file: is missing: the certificate that belongs to ssl_key_file",
    )


# signatures


async def test_each_call_is_signed_and_the_signature_comes_out_nowhere() -> None:
    seen: list[Any] = []

    def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        seen.append((method, url, dict(headers), body))
        return {"authorization": SIGNATURE, "x-date": "today"}

    quoted = Response(403, {"x": SIGNATURE}, f"not signed well: {SIGNATURE}".encode())
    inner = ScriptedTransport([Response(200, {}, b"{}"), quoted])
    transport = Signed(inner, sign, "my:sign")
    assert (await transport.post("http://a/b", b"body", {"h": "1"}, 1.0)).body == b"{}"
    assert seen == [("POST", "http://a/b", {"h": "1"}, b"body")]
    assert inner.sent[0].headers == {"h": "1", "authorization": SIGNATURE, "x-date": "today"}
    refused = await transport.post("http://a/b", b"body", {}, 1.0)
    assert SIGNATURE not in f"{refused}"


async def test_a_call_that_cannot_be_signed_may_be_tried_again() -> None:
    def sign(*_: Any) -> dict[str, str]:
        raise LookupError("no role")

    with pytest.raises(RemoteError, match="my:sign cannot sign the call: LookupError: no role"):
        await Signed(ScriptedTransport([]), sign, "my:sign").post("http://a", b"", {}, 1.0)


def test_a_function_of_ones_own_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("signing_of_mine")
    module.__dict__["sign"] = lambda *_: {}
    monkeypatch.setitem(sys.modules, "signing_of_mine", module)
    assert "signing_of_mine:sign" in repr(make_transport(remote(url="http://a", credentials="signing_of_mine:sign")))
    for name in ("signing_of_mine:missing", "no_such_module_here:sign", "math:pi"):
        with pytest.raises(ConfigurationError, match=r"\[remote\] credentials"):
            make_transport(remote(url="http://a", credentials=name))
