"""The key to the remote: from the environment or a file of its own, never from the configuration file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .secret import origin, secret

if TYPE_CHECKING:
    from .settings import Remote

VARIABLE = "BISUPERVISED_REMOTE__API_KEY"
_PLACE = ("remote", "api_key")
_KEY = re.compile(r"[!-~]+")
#: headers that carry keys: they are set as one, so that they are kept secret
_CARRIERS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def api_key(remote: Remote) -> str | None:
    """The key; None for none. Raises `ValueError` without a word of the key."""
    text = secret(remote, "api_key")
    if text is None:
        return None
    key = text.strip()
    if not _KEY.fullmatch(key):
        raise ValueError("must hold a key, which is one word")
    return key


def key_faults(remote: Remote) -> list[str]:
    """What a header cannot carry. What is wrong with it as a secret is told by `secret_faults`."""
    try:
        if secret(remote, "api_key") is None:
            return []
    except ValueError:
        return []
    try:
        api_key(remote)
    except ValueError as error:
        return [f"{origin(remote, _PLACE)}: {error}"]
    return []


def plain_headers(headers: dict[str, str]) -> dict[str, str]:
    """The same. Raises `ValueError` for what is no header, and for one that carries a key."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not value.isprintable():
            raise ValueError("must be names and values of HTTP headers")
        if name.lower() in _CARRIERS:
            raise ValueError(f"must not hold {name.lower()}: set {VARIABLE}, api_key_header and api_key_scheme")
    return headers


def header_name(name: str) -> str:
    """The same. Raises `ValueError` for what is no name of a header."""
    if not _HEADER.fullmatch(name):
        raise ValueError("must be the name of an HTTP header")
    return name
