"""Templates for prompts and bodies: text with `{name}` in it, and JSON made of such text.

Only whole values of named fields go in. There is no attribute access, index or format, so a template reaches
nothing but what is handed to it: a name with dots is that of a field that is sent so. A brace that is meant as one is
doubled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

import orjson

from ....schemas.errors import InvalidRequest

_NAME = re.compile(r"[A-Za-z_](?:[\w-]|\\?\.(?=[\w-]))*")


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text."""

    parts: tuple[tuple[str, str], ...]  #: literal text, and the field that follows it; '' for none

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for _, name in self.parts if name)

    def render(self, values: Mapping[str, Any]) -> str:
        """Text goes in as it is, anything else as JSON. Raises `InvalidRequest` for a missing field."""
        return "".join(text + (_as_text(_value(values, name)) if name else "") for text, name in self.parts)

    def fill(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        """As `render`, but a template that is one field alone gives its value as it is."""
        if len(self.parts) == 1 and not self.parts[0][0] and self.parts[0][1]:
            return _value(values, self.parts[0][1])
        return self.render(values)


def parse(text: str) -> Template:
    """Raises `ValueError` for braces that name no field."""
    try:
        pieces = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"is no template: {error}; a brace that is meant as one is doubled") from error
    return Template(tuple((literal, _checked(name, spec, how)) for literal, name, spec, how in pieces))


def _checked(name: str | None, spec: str | None, conversion: str | None) -> str:
    if name is None:
        return ""
    if spec or conversion or not _NAME.fullmatch(name):
        shown = f"{{{name}{'!' + conversion if conversion else ''}{':' + spec if spec else ''}}}"
        raise ValueError(f"{shown} is no field such as {{input}}; a brace that is meant as one is doubled")
    return name


def parse_json(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """The same value with every text parsed, keys excepted. Raises as `parse`."""
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, Mapping):
        return {key: parse_json(inner) for key, inner in value.items()}
    return [parse_json(inner) for inner in value] if isinstance(value, list | tuple) else value


def fill_json(parsed: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
    """What `parse_json` gave, with its fields. Raises `InvalidRequest` for a missing one."""
    if isinstance(parsed, Template):
        return parsed.fill(values)
    if isinstance(parsed, dict):
        return {key: fill_json(inner, values) for key, inner in parsed.items()}
    return [fill_json(inner, values) for inner in parsed] if isinstance(parsed, list) else parsed


def names_in(parsed: Any) -> frozenset[str]:  # noqa: ANN401  # what `parse_json` gave
    """Every field that is named in it."""
    if isinstance(parsed, Template):
        return parsed.names
    inner = parsed.values() if isinstance(parsed, dict) else parsed if isinstance(parsed, list) else ()
    return frozenset[str]().union(*map(names_in, inner))


def values_of(given: Any, fields: tuple[str, ...]) -> Mapping[str, Any]:  # noqa: ANN401  # any JSON value
    """An input under the names that templates use: its fields, or `input` where it is the model's input itself."""
    return given if fields else {"input": given}


def _value(values: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401  # any JSON value
    if name not in values:
        raise InvalidRequest(f"the request has no field {name!r}, which the remote's template names")
    return values[name]


def _as_text(value: Any) -> str:  # noqa: ANN401  # any JSON value
    return value if isinstance(value, str) else orjson.dumps(value).decode()
