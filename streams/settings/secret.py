"""Secrets: from the environment, or from a file of their own; never from the configuration file.

A key of a table that is a `SecretStr` is one. Where the table has a key `<name>_file` beside it, that names the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, SecretStr

from ...schemas.encodings import NotText, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .place import Place

_WORD = re.compile(r"[!-~]+")


def secret(table: BaseModel, key: str) -> str | None:
    """The secret; None for none. The environment wins over the file.

    Raises `ValueError`, without a word of it, where the file cannot be read or either holds nothing.
    """
    given: SecretStr | None = getattr(table, key)
    if given is not None:
        return _something(given.get_secret_value())
    named = getattr(table, f"{key}_file", "")
    return _something(_read(Path(named))) if named else None


def one_word(table: BaseModel, key: str) -> str | None:
    """A secret that must be one word, such as what a header carries. Raises `ValueError`, as `secret` does."""
    text = secret(table, key)
    if text is not None and not _WORD.fullmatch(text.strip()):
        raise ValueError("must be one word")
    return None if text is None else text.strip()


def _read(path: Path) -> str:
    try:
        return text_of(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except NotText as error:
        raise ValueError(f"must hold text; it {error}") from None


def _something(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text.rstrip("\r\n")


def secret_keys(tables: Mapping[str, type[BaseModel]]) -> list[Place]:
    """All of them, of tables by name."""
    return [
        (name, field.alias or key)
        for name, table in tables.items()
        for key, field in table.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    ]


def variable(place: Place) -> str:
    """The environment variable that gives it."""
    table, key = place
    return "BISUPERVISED_" + "__".join([*table.split("."), key]).upper()


def origin(table: BaseModel, place: Place) -> str:
    """Where a secret of this table came from, for a fault about it: the variable, or the key that names the file."""
    name, key = place
    return variable(place) if getattr(table, key) is not None else f"[{name}] {key}_file"


def secret_faults(settings: BaseModel, places: Iterable[Place]) -> list[str]:
    """What is wrong with those that are set."""
    faults = []
    for place in places:
        table: Any = settings
        for name in place[0].split("."):
            table = getattr(table, name, None)
        if table is None:
            continue
        try:
            secret(table, place[1])
        except ValueError as error:
            faults.append(f"{origin(table, place)}: {error}")
    return faults


def word_faults(table: BaseModel, place: Place) -> list[str]:
    """That it is more than a word. What is wrong with it as a secret is told by `secret_faults`."""
    try:
        if secret(table, place[1]) is None:
            return []
    except ValueError:
        return []
    try:
        one_word(table, place[1])
    except ValueError as error:
        return [f"{origin(table, place)}: {error}"]
    return []


def take_written(document: dict[str, Any], places: Iterable[Place]) -> list[str]:
    """Remove secrets from the configuration file's document, and tell that they must not be there."""
    faults = []
    for table, key in places:
        inner: Any = document
        for name in table.split("."):
            inner = inner.get(name) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and key in inner:
            del inner[key]
            faults.append(f"[{table}] {key}: must not stand in the file; set {variable((table, key))}, or {key}_file")
    return faults
