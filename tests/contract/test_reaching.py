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
from bisupervised.agents.remote.credentials import Signed
from bisupervised.agents.remote.transport import Response, ScriptedTransport
from bisupervised.schemas.errors import ConfigurationError, RemoteError
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.keys.remote import RemoteSettings
from bisupervised.streams.worker.making import make_transport
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
