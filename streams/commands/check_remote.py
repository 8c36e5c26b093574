"""What `check --connect` asks the remote: its name, a connection, and a request that costs nothing, if there is one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson

from ...agents.remote.endpoint import shown_address
from ...schemas.errors import BiSupervisedError, ConfigurationError
from ..settings.keys.protocol_options import AnthropicOptions
from ..worker.making import make_transport
from ..worker.protocols import make_protocol
from .findings import Finding, fault, note, ok
from .remote_address import called_path, why_doubled
from .remote_batches import look_at_batches
from .remote_connection import PATIENCE_S, host_of, speaks_tls, why_unreachable
from .remote_question import ask_once
from .remote_tensors import described

if TYPE_CHECKING:
    from ...agents.remote.protocol import RemoteProtocol
    from ...agents.remote.transport import Response, Transport
    from ..settings.keys.remote import RemoteSettings
    from ..settings.tables import Settings

#: characters of a server's own words that a line repeats
_SAID_CHARS = 80


@dataclass(frozen=True, slots=True)
class _Probe:
    """A request that costs nothing."""

    path: str
    asks: str  #: in words


async def look_at_remote(settings: Settings, *, pay: bool) -> AsyncIterator[Finding]:
    """Name, connection, then the cheap request; with `pay`, one call as a worker makes it."""
    remote = settings.remote
    protocol, faults = await asyncio.to_thread(_loaded, remote)
    for line in faults:
        yield fault("remote", line)
    path = called_path(settings, protocol)
    unreachable = await why_unreachable(host_of(remote.url), _patience_s(remote))
    if unreachable is not None:
        yield fault("remote", unreachable)
        return
    yield ok("remote", _reached(remote, path))
    if path is not None and (doubled := why_doubled(remote, path)) is not None:
        yield fault("remote", doubled)
    transport = make_transport(remote)
    try:
        async for finding in _probed(transport, remote, next(iter(settings.local.warm_up), None)):
            yield finding
        if remote.batches and protocol is not None:
            yield await look_at_batches(settings, protocol, _patience_s(remote))
        if pay and protocol is not None:
            yield await ask_once(transport, protocol, settings)
    finally:
        await transport.close()


def _loaded(remote: RemoteSettings) -> tuple[RemoteProtocol | None, list[str]]:
    """The protocol, or why one of the user's own cannot be loaded."""
    try:
        return make_protocol(remote), []
    except ConfigurationError as error:
        return None, list(error.faults)


def _patience_s(remote: RemoteSettings) -> float:
    return min(PATIENCE_S, remote.timeout_s)


def _reached(remote: RemoteSettings, path: str | None) -> str:
    host = host_of(remote.url)
    calls = f"calls go to {shown_address(remote.url + path)}; " if path is not None else ""
    return f"{calls}{host} can be reached{' over TLS' if host.secure else ''}"


# the request that costs nothing


def _probe(remote: RemoteSettings) -> _Probe | None:
    if remote.protocol == "open_inference":
        return _Probe("/v2/health/ready", "whether it is ready")
    if remote.protocol == "openai_chat":
        path = remote.openai_chat.path if remote.openai_chat else "/v1/chat/completions"
        return _Probe(_beside(path), "which models it has")
    if remote.protocol == "anthropic_messages":
        path = (remote.anthropic_messages or AnthropicOptions()).path
        return _Probe(f"{path.removesuffix('/messages')}/models/{quote(remote.model, safe='')}", "which models it has")
    if remote.protocol == "tei":
        return _Probe("/info", "what it is")
    return None


def _beside(path: str) -> str:
    """Where the models are listed: beside the completions, under the same query."""
    way, question, query = path.partition("?")
    return f"{way.rstrip('/').removesuffix('/chat/completions')}/models{question}{query}"


async def _probed(transport: Transport, remote: RemoteSettings, sample: Any) -> AsyncIterator[Finding]:  # noqa: ANN401  # any JSON value
    probe = _probe(remote)
    if probe is None:
        text = "has no request that costs nothing: only the connection was tried"
        yield note("remote", f"protocol {remote.protocol!r} {text}")
        found = await _stray(transport, remote, surely=False)
        if found is not None:
            yield found
        return
    async for finding in _ask(transport, remote, probe, sample):
        yield finding


async def _ask(  # sample: an input, where one is known
    transport: Transport,
    remote: RemoteSettings,
    probe: _Probe,
    sample: Any,  # noqa: ANN401  # any JSON value
) -> AsyncIterator[Finding]:
    response = await _get(transport, remote, probe.path)
    if isinstance(response, Finding):
        yield response
        return
    if (found := await _refusal(response, remote, probe)) is not None:
        yield found
        if response.status == 404 and remote.protocol == "openai_chat":
            async for finding in _elsewhere(transport, remote, probe):
                yield finding
        return
    if remote.protocol == "open_inference":
        yield ok("remote", "says that it is ready")
        async for finding in _model(transport, remote, sample):
            yield finding
        return
    if not _evidence(response, remote) and (found := await _stray(transport, remote)) is not None:
        yield found
        return
    for finding in _LOOKED_AT[remote.protocol](response, remote):
        yield finding


async def _get(transport: Transport, remote: RemoteSettings, path: str) -> Response | Finding:
    """The answer, or the fault where there is none, or one that is no JSON's server's."""
    address = shown_address(remote.url + path)
    try:
        response = await transport.post(remote.url + path, b"", _headers(remote), _patience_s(remote), method="GET")
    except BiSupervisedError as error:
        return await _no_answer(remote, f"{address}: {error}")
    if response.succeeded and _is_page(response):
        why = "was answered with a web page, not with JSON: a login page, a proxy or another server may be there"
        return fault("remote", f"{address} {why}; is [remote] url right?")
    return response


def _headers(remote: RemoteSettings) -> dict[str, str]:
    if remote.protocol != "anthropic_messages":
        return remote.headers
    return {**remote.headers, "anthropic-version": (remote.anthropic_messages or AnthropicOptions()).version}


async def _no_answer(remote: RemoteSettings, said: str) -> Finding:
    """A fault in these words, unless it is known better: the other side may speak TLS."""
    host = host_of(remote.url)
    if not host.secure and await speaks_tls(host, _patience_s(remote)):
        return fault("remote", f"{host} speaks TLS: [remote] url must begin with https://")
    return fault("remote", f"{said}; does {host} speak HTTP, and is the port right?")


def _is_page(response: Response) -> bool:
    """Whether it is made for people."""
    kind = response.headers.get("content-type", "").lower()
    return "html" in kind or response.body.lstrip()[:1] == b"<"


async def _refusal(response: Response, remote: RemoteSettings, probe: _Probe) -> Finding | None:
    """None where it was answered. Asking for more than may be asked says nothing about the real calls."""
    if response.succeeded:
        return None
    address = shown_address(remote.url + probe.path)
    status = f"{address} was answered with status {response.status}"
    if 300 <= response.status < 400:
        return _redirected(response, address)
    if response.status in (401, 403):
        return fault("remote", f"refuses the key: {status}; set BISUPERVISED_REMOTE__API_KEY or [remote] api_key_file")
    if response.status in (404, 405):
        return note("remote", f"does not say {probe.asks}: {status}; are [remote] url and protocol right?")
    if response.status in (400, 426):
        return await _no_answer(remote, status)
    return fault("remote", f"is not ready: {status}")


def _redirected(response: Response, address: str) -> Finding:
    to = shown_address(response.headers.get("location", ""))[:_SAID_CHARS]
    where = f" to {to}" if to else ""
    return fault("remote", f"{address} redirects{where}, and no call follows it: set [remote] url to where it is")


async def _stray(transport: Transport, remote: RemoteSettings, *, surely: bool = True) -> Finding | None:
    """What the answer to a path says that no server has; None where it says nothing.

    A success is a fault where it is `surely` one: a function behind a gateway may answer every path.
    """
    path = f"/bisupervised-check-{uuid.uuid4().hex[:12]}"
    response = await _get(transport, remote, path)
    if isinstance(response, Finding):
        return response
    if 300 <= response.status < 400:
        return _redirected(response, shown_address(remote.url + path))
    if not response.succeeded:
        return None
    text = f"answers everything with status {response.status}, also {shown_address(remote.url + path)}"
    if surely:
        return fault("remote", f"{text}, which no such server has: is [remote] url right?")
    return note("remote", f"{text}: whether it answers questions, only --pay tells")


def _evidence(response: Response, remote: RemoteSettings) -> bool:
    """Whether this is what a server of the protocol says, and no other would by chance."""
    document = _json(response)
    if not isinstance(document, dict):
        return False
    if remote.protocol == "openai_chat":
        return isinstance(document.get("data"), list) and bool(document["data"])
    return isinstance(document.get(_EVIDENCE[remote.protocol]), str)


async def _elsewhere(transport: Transport, remote: RemoteSettings, probe: _Probe) -> AsyncIterator[Finding]:
    """Where models are not listed at the address of the settings: whether they are at the usual one."""
    parts = urlsplit(remote.url)
    usual = f"{parts.scheme}://{parts.netloc}/v1/models"
    if usual == remote.url + probe.path:
        return
    try:
        response = await transport.post(usual, b"", remote.headers, _patience_s(remote), method="GET")
    except BiSupervisedError:
        return
    if response.succeeded and _evidence(response, remote):
        asked = shown_address(remote.url + probe.path)
        text = f"has no {asked}, but {usual} lists models: [remote] url and [remote.openai_chat] path do not fit it"
        yield fault("remote", f"{text}; the usual ones are {parts.scheme}://{parts.netloc} and /v1/chat/completions")


async def _model(transport: Transport, remote: RemoteSettings, sample: Any) -> AsyncIterator[Finding]:  # noqa: ANN401  # as above
    response = await _get(transport, remote, f"/v2/models/{quote(remote.model, safe='')}")
    if isinstance(response, Finding):
        yield response
    elif response.status in (400, 404):
        yield fault("remote", f"has no model {remote.model!r}: [remote] model must be one that the server has")
    elif not response.succeeded:
        yield note("remote", f"does not say whether it has the model {remote.model!r}: status {response.status}")
    elif not _evidence(response, remote) and (found := await _stray(transport, remote)) is not None:
        yield found
    else:
        yield ok("remote", f"has the model {remote.model!r}")
        for finding in described(_json(response), remote, sample):
            yield finding


def _listed(response: Response, remote: RemoteSettings) -> Iterator[Finding]:
    document = _json(response)
    data = document.get("data") if isinstance(document, dict) else None
    names = [entry.get("id") for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
    if remote.model in names:
        keyed = remote.api_key is not None or remote.api_key_file
        yield ok("remote", f"{'takes the key, and ' * bool(keyed)}has the model {remote.model!r}")
    elif names:
        some = ", ".join(repr(name) for name in names[:5])
        yield fault("remote", f"has no model {remote.model!r}; it lists {some}{', …' if len(names) > 5 else ''}")
    else:
        yield note("remote", "answers, but lists no models")


def _known(response: Response, remote: RemoteSettings) -> Iterator[Finding]:
    """Of a server that was asked about this one model, and had an answer."""
    document = _json(response)
    if isinstance(document, dict) and isinstance(document.get("id"), str):
        keyed = remote.api_key is not None or remote.api_key_file
        yield ok("remote", f"{'takes the key, and ' * bool(keyed)}has the model {remote.model!r}")
    else:
        yield note("remote", f"answers, but does not say whether it has the model {remote.model!r}")


def _information(response: Response, _remote: RemoteSettings) -> Iterator[Finding]:
    document = _json(response)
    name = document.get("model_id") if isinstance(document, dict) else None
    if name is None:
        yield note("remote", "answers, but does not say which model it serves: is it Text Embeddings Inference?")
        return
    yield ok("remote", f"serves {name}")
    kind = document.get("model_type")
    if isinstance(kind, dict) and "classifier" not in kind:
        yield fault("remote", f"serves no classifier but {', '.join(kind) or 'nothing'}: /predict will be refused")


_LOOKED_AT = {"openai_chat": _listed, "anthropic_messages": _known, "tei": _information}
#: a field that only a server of this protocol answers with
_EVIDENCE = {"open_inference": "name", "anthropic_messages": "id", "tei": "model_id"}


def _json(response: Response) -> Any:  # noqa: ANN401  # whatever a server says
    try:
        return orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None
