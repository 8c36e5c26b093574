"""Headers of every call, and that none of them carries a key: that one is a secret, see `secret.py`."""

from __future__ import annotations

import re

VARIABLE = "BISUPERVISED_REMOTE__API_KEY"
#: headers that carry keys: they are set as one, so that they are kept secret
_CARRIERS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


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
