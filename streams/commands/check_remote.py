"""What `check --connect` asks the remote: its name, a connection, and a request that costs nothing, if there is one."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson

from ...agents.remote.asking import Bill
from ...agents.remote.client import ClientPolicy, RemoteClient
from ...agents.remote.retry import RetryPolicy
from ...agents.remote.sending import outbound
from ...schemas.codec import Request
from ...schemas.errors import BiSupervisedError, ConfigurationError, RecordError
from ..worker.making import make_transport
from ..worker.protocols import make_protocol
from .findings import Finding, fault, note, ok

if TYPE_CHECKING:
    from ...agents.remote.transport import Response, Transport
    from ..settings.tables import RemoteSettings, Settings

#: seconds that one step may take
PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class _Probe:
    """A request that costs nothing."""

    path: str
    asks: str  #: in words


async def look_at_remote(settings: Settings, *, pay: bool) -> AsyncIterator[Finding]:
    """Name, connection, then the cheap request; with `pay`, one call as a worker makes it."""
    for line in await asyncio.to_thread(_protocol_faults, settings.remote):
        yield fault("remote", line)
    reached = await _connect(settings.remote)
    yield reached
    if reached.level == "fault":
        return
    transport = make_transport(settings.remote)
    try:
        probe = _probe(settings.remote)
        if probe is None:
            text = "has no request that costs nothing: only the connection was tried"
            yield note("remote", f"protocol {settings.remote.protocol!r} {text}")
        else:
            async for finding in _ask(transport, settings.remote, probe):
                yield finding
        if pay:
            yield await _pay(transport, settings)
    finally:
        await transport.close()


def _protocol_faults(remote: RemoteSettings) -> list[str]:
    """Why a protocol of the user's own cannot be loaded."""
    try:
        make_protocol(remote)
    except ConfigurationError as error:
        return list(error.faults)
    return []


async def _connect(remote: RemoteSettings) -> Finding:
    parts = urlsplit(remote.url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(min(PATIENCE_S, remote.timeout_s)):
            _, writer = await asyncio.open_connection(host, port, ssl=secure or None)
    except socket.gaierror:
        return fault("remote", f"no address is known for {host}: is [remote] url right?")
    except ssl.SSLError as error:
        return fault("remote", f"no TLS with {host}:{port}: {error.reason or error}")
    except TimeoutError:
        return fault("remote", f"{host}:{port} does not answer: is a firewall between?")
    except OSError as error:
        return fault("remote", f"nothing listens at {host}:{port} ({_why(error)}): is the server up?")
    writer.close()
    return ok("remote", f"{host}:{port} can be reached{' over TLS' if secure else ''}")


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)  # its own text repeats the address


def _probe(remote: RemoteSettings) -> _Probe | None:
    if remote.protocol == "open_inference":
        return _Probe("/v2/health/ready", "whether it is ready")
    if remote.protocol == "openai_chat":
        path = remote.openai_chat.path if remote.openai_chat else "/v1/chat/completions"
        return _Probe(path.removesuffix("/chat/completions") + "/models", "which models it has")
    if remote.protocol == "tei":
        return _Probe("/info", "what it is")
    return None


async def _ask(transport: Transport, remote: RemoteSettings, probe: _Probe) -> AsyncIterator[Finding]:
    response = await _get(transport, remote, probe.path)
    if isinstance(response, Finding):
        yield response
        return
    if (found := _refusal(response, probe)) is not None:
        yield found
        return
    if remote.protocol == "open_inference":
        yield ok("remote", "says that it is ready")
        async for finding in _model(transport, remote):
            yield finding
        return
    for finding in _listed(response, remote) if remote.protocol == "openai_chat" else _information(response):
        yield finding


async def _get(transport: Transport, remote: RemoteSettings, path: str) -> Response | Finding:
    try:
        return await transport.post(
            remote.url + path, b"", remote.headers, min(PATIENCE_S, remote.timeout_s), method="GET"
        )
    except BiSupervisedError as error:
        return fault("remote", f"{path}: {error}")


def _refusal(response: Response, probe: _Probe) -> Finding | None:
    """None where it was answered. Asking for more than may be asked says nothing about the real calls."""
    if response.succeeded:
        return None
    status = f"{probe.path} was answered with status {response.status}"
    if response.status in (401, 403):
        return fault("remote", f"refuses the key: {status}; set BISUPERVISED_REMOTE__API_KEY or [remote] api_key_file")
    if response.status in (404, 405):
        return note("remote", f"does not say {probe.asks}: {status}; is [remote] protocol right?")
    return fault("remote", f"is not ready: {status}")


async def _model(transport: Transport, remote: RemoteSettings) -> AsyncIterator[Finding]:
    response = await _get(transport, remote, f"/v2/models/{quote(remote.model, safe='')}")
    if isinstance(response, Finding):
        yield response
    elif response.status in (400, 404):
        yield fault("remote", f"has no model {remote.model!r}: [remote] model must be one that the server has")
    elif not response.succeeded:
        yield note("remote", f"does not say whether it has the model {remote.model!r}: status {response.status}")
    else:
        yield ok("remote", f"has the model {remote.model!r}")
        for finding in _described(_json(response), remote):
            yield finding


def _described(document: Any, remote: RemoteSettings) -> Iterator[Finding]:  # noqa: ANN401  # whatever a server says
    """A note where the tensors that the model says it has are not those of the settings."""
    there = _tensors(document, "inputs")
    if there and there.get(remote.input_name) != remote.datatype:
        says = ", ".join(f"{name!r} of {datatype}" for name, datatype in there.items())
        asked = f"{remote.input_name!r} of {remote.datatype}"
        yield note("remote", f"says that it takes {says}, not {asked}: are [remote] input_name and datatype right?")
    there = _tensors(document, "outputs")
    if there and remote.output_name not in there:
        says = ", ".join(map(repr, there))
        yield note(
            "remote", f"says that it puts out {says}, not {remote.output_name!r}: is [remote] output_name right?"
        )


def _tensors(document: Any, side: str) -> dict[str, str]:  # noqa: ANN401  # whatever a server says
    """Names and datatypes, of what follows the protocol."""
    listed = document.get(side) if isinstance(document, dict) else None
    tensors = [tensor for tensor in listed if isinstance(tensor, dict)] if isinstance(listed, list) else []
    return {str(tensor.get("name")): str(tensor.get("datatype")) for tensor in tensors}


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


def _information(response: Response) -> Iterator[Finding]:
    document = _json(response)
    name = document.get("model_id") if isinstance(document, dict) else None
    if name is None:
        yield note("remote", "answers, but does not say which model it serves: is it Text Embeddings Inference?")
        return
    yield ok("remote", f"serves {name}")
    kind = document.get("model_type")
    if isinstance(kind, dict) and "classifier" not in kind:
        yield fault("remote", f"serves no classifier but {', '.join(kind) or 'nothing'}: /predict will be refused")


def _json(response: Response) -> Any:  # noqa: ANN401  # whatever a server says
    try:
        return orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None


async def _pay(transport: Transport, settings: Settings) -> Finding:
    """One call, tried once, about the first input of the warm-up."""
    remote, inputs = settings.remote, settings.local.warm_up
    if not inputs:
        return fault("remote", "no call was made: [local] warm_up holds no input to ask about")
    policy = ClientPolicy(
        url=remote.url,
        timeout_s=remote.timeout_s,
        retry=RetryPolicy(1, 0.0, 0.0, remote.deadline_s),
        headers=remote.headers,
    )
    bill = Bill()
    try:
        asked = Request({settings.request.input: inputs[0]}, inputs[0], id=None, deadline_ms=None)
        client = RemoteClient(transport, make_protocol(remote), policy)
        (answer,) = await client.ask([outbound(asked, remote.send)], f"check-{uuid.uuid4().hex}", None, bill)
    except RecordError as error:
        return fault("remote", f"{bill.calls} call made, no answer: {error.reason}: {error}")
    said = f"answers {answer.prediction!r} with the score {answer.score}, in {answer.latency_ms:.0f} ms"
    return ok("remote", f"one call was made: it {said}")
