"""The key to the remote: from the environment or a file of its own, never from the configuration file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import SecretStr

    from .settings import Remote

VARIABLE = "BISUPERVISED_REMOTE__API_KEY"
_KEY = re.compile(r"[!-~]+")
#: headers that carry keys: they are set as one, so that they are kept secret
_CARRIERS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def api_key(remote: Remote) -> str | None:
    """The key; None for none. The environment wins over the file. Raises `ValueError` without a word of the key."""
    return read_key(remote.api_key, remote.api_key_file)


def read_key(given: SecretStr | None, file: str) -> str | None:
    """The key that is given, or else the one in the file; None for neither. Raises `ValueError`, as above."""
    if given is not None:
        return _checked(given.get_secret_value())
    if not file:
        return None
    try:
        text = Path(file).read_bytes().decode("ascii")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("must hold a key, which is one word") from None
    return _checked(text)


def _checked(text: str) -> str:
    key = text.strip()
    if not _KEY.fullmatch(key):
        raise ValueError("must hold a key, which is one word")
    return key


def key_faults(remote: Remote) -> list[str]:
    """What is wrong with the key, if there is one."""
    try:
        api_key(remote)
    except ValueError as error:
        return [f"{VARIABLE if remote.api_key is not None else '[remote] api_key_file'}: {error}"]
    return []


def take_written_key(document: dict[str, Any]) -> list[str]:
    """Remove a key from the configuration file's document, and tell that it must not be there."""
    remote = document.get("remote")
    if not isinstance(remote, dict) or "api_key" not in remote:
        return []
    del remote["api_key"]
    return [f"[remote] api_key: must not stand in the file; set {VARIABLE}, or api_key_file"]


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
