"""The token for the worker's page: from the environment or a file of its own, never from the configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .api_key import read_key

if TYPE_CHECKING:
    from .settings import Web

VARIABLE = "BISUPERVISED_WEB__TOKEN"


def web_token(web: Web) -> str | None:
    """The token; None for none. The environment wins over the file. Raises `ValueError` without a word of it."""
    return read_key(web.token, web.token_file)


def token_faults(web: Web) -> list[str]:
    """What is wrong with the token, if there is one."""
    try:
        web_token(web)
    except ValueError as error:
        return [f"{VARIABLE if web.token is not None else '[web] token_file'}: {error}"]
    return []


def take_written_token(document: dict[str, Any]) -> list[str]:
    """Remove a token from the configuration file's document, and tell that it must not be there."""
    web = document.get("web")
    if not isinstance(web, dict) or "token" not in web:
        return []
    del web["token"]
    return [f"[web] token: must not stand in the file; set {VARIABLE}, or token_file"]
