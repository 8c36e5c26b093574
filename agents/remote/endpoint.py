"""Who is asked, and how a call can end, in OpenTelemetry's words: for the metrics and the spans alike."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from ...schemas.errors import RecordError
from .retry import Terminal


class Endpoint(NamedTuple):
    """A remote model."""

    operation: str = "predict"  #: gen_ai.operation.name: `chat`, or a word of our own
    provider: str = ""  #: gen_ai.provider.name: the protocol's, for whoever stands behind it is not known
    model: str = ""  #: gen_ai.request.model
    address: str = ""  #: server.address
    port: int = 0  #: server.port


def endpoint(protocol: str, model: str, url: str) -> Endpoint:
    """What is known of the remote from the settings."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    operation, provider = ("chat", "openai") if protocol == "openai_chat" else ("predict", protocol)
    return Endpoint(operation, provider, model, parts.hostname or "", port)


def error_type(error: BaseException | None) -> str:
    """How a call ended: '' for an answer, a reason code, `terminal`, or `cancelled`, which tells nothing."""
    if error is None:
        return ""
    if isinstance(error, Terminal):
        return "terminal"
    return error.reason if isinstance(error, RecordError) else "cancelled"
