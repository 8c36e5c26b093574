"""The tables by their names, as they are printed."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from ...schemas.errors import ConfigurationError


def names() -> list[str]:
    """All providers and servers that there is a table for."""
    return sorted(one.name.removesuffix(".toml") for one in _folder().iterdir() if one.name.endswith(".toml"))


def block(name: str) -> str:
    """The table as TOML. Raises `ConfigurationError` for a name that is none."""
    if name not in names():
        raise ConfigurationError([f"--remote: must be one of {', '.join(names())} (got {name!r})"])
    return (_folder() / f"{name}.toml").read_text(encoding="utf-8")


def _folder() -> Traversable:
    return files(__package__) / "static"
