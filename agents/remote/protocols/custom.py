"""A protocol of the user's own, by `module:callable`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....schemas.errors import ConfigurationError
from ...importing import own_callable
from ..protocol import RemoteProtocol

_NEEDED = ("build", "estimate", "raise_for", "read")


def load_protocol(spec: str, options: Mapping[str, Any]) -> RemoteProtocol:
    """Call it with `options` as keywords; what comes is the protocol.

    Raises `ConfigurationError` where it cannot be found, does not take these options, or lacks a part of
    `RemoteProtocol`. What the user's own code raises passes through, with its own traceback.
    """
    made = own_callable(spec, "[remote] protocol")
    try:
        protocol: RemoteProtocol = made(**options)
    except TypeError as error:
        raise ConfigurationError([f"[remote.options]: {spec} does not take them: {error}"]) from error
    missing = [part for part in _NEEDED if not hasattr(protocol, part)]
    if missing:
        raise ConfigurationError([f"[remote] protocol: {spec} makes no RemoteProtocol: it lacks {', '.join(missing)}"])
    return protocol
