"""Who is asked, and how a call can end, in OpenTelemetry's words: for the metrics and the spans alike."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from ...schemas.errors import RecordError
from .retry import Terminal

#: what protocols of chats are called there
_CHATS = {"openai_chat": ("chat", "openai"), "anthropic_messages": ("chat", "anthropic")}


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
    operation, provider = _CHATS.get(protocol, ("predict", protocol))
    return Endpoint(operation, provider, model, parts.hostname or "", port)


@lru_cache(maxsize=64)  # a remote has few addresses, and each call shows one
def shown_address(url: str) -> str:
    """A whole address as people may read it: no user, and no values of its query, which may be secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    query = "&".join(f"{name}=…" for name in (piece.partition("=")[0] for piece in parts.query.split("&")) if name)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def error_type(error: BaseException | None) -> str:
    """How a call ended: '' for an answer, a reason code, `terminal`, or `cancelled`, which tells nothing."""
    if error is None:
        return ""
    if isinstance(error, Terminal):
        return "terminal"
    return error.reason if isinstance(error, RecordError) else "cancelled"
