"""A commented example of every option, made from the settings themselves: `bisupervised config`.

What is required stands there as it is; every other option is a comment with the value it has by itself. A value that
only illustrates, because there is none by default, comes from the field's `examples`.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from .file import all_tables, table_of
from .secret import secret_keys, variable
from .tables import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from .place import Place

_WIDTH = 110
_HEAD = """\
Every option of BiSupervised on Kafka, made by `bisupervised config`. What is required stands here as it is; a line
that begins with # and no space shows what holds without it. Check a file with `bisupervised check --config FILE`.

BISUPERVISED_<TABLE>__<KEY> in the environment overrides a key (BISUPERVISED_LOCAL__THRESHOLD=0.9), lists and tables as
JSON. Secrets come from the environment, or from a file that a key ending in _file names.

A running worker takes over both thresholds, the file of thresholds, requests_per_minute, tokens_per_minute and
in_flight when this file changes, or on SIGHUP. All else needs a restart."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def example() -> str:
    """The text of the file."""
    tables = all_tables()
    required = _required()
    settings = _instance(Settings, "", required)
    blocks = [_comment(_HEAD)]
    # a server that is the local model has the same tables as the remote
    for name, table in ((name, table) for name, table in tables.items() if not name.startswith("local.")):
        held = _held(settings, name) or _instance(table, name, _missing(table, name))
        blocks.append(_block(name, table, held, required))
    return "\n\n".join(blocks) + "\n"


def _required() -> frozenset[Place]:
    """What a configuration must say. Asked of the settings: some keys are required by what others say."""
    outer = [name for name in all_tables() if name and "." not in name]
    return frozenset(place for name in outer for place in _missing(all_tables()[name], name))


def _missing(table: type[BaseModel], name: str) -> frozenset[Place]:
    try:
        table.model_validate({})
    except ValidationError as error:
        return frozenset((name, str(fault["loc"][0])) for fault in error.errors() if fault["type"] == "missing")
    return frozenset()


def _instance(table: type[BaseModel], name: str, required: frozenset[Place]) -> BaseModel:
    """The table as it is where only what is required was said."""
    if name:
        return table.model_validate({key: _examples(table, key)[0] for at, key in required if at == name})
    inner = {at for at, _ in required}
    return table.model_validate({at: _instance(all_tables()[at], at, required) for at in inner})


def _examples(table: type[BaseModel], key: str) -> list[Any]:
    examples = table.model_fields[key].examples
    if not examples:
        raise LookupError(f"{table.__name__}.{key} has no value by default: give its Field examples=[…]")
    return examples


def _held(settings: BaseModel, name: str) -> BaseModel | None:
    table: Any = settings
    for part in name.split(".") if name else ():
        table = getattr(table, part, None)
    return table if isinstance(table, BaseModel) else None


def _block(name: str, table: type[BaseModel], held: BaseModel, required: frozenset[Place]) -> str:
    lines = [_comment(" ".join((table.__doc__ or "").split())), f"[{name}]"] if name else []
    if "." in name:  # the table of one protocol: to have it is to use it
        lines[-1] = f"#{lines[-1]}"
    secrets = secret_keys({name: table})
    for key, field in table.model_fields.items():
        place = (name, field.alias or key)
        if table_of(field) is not None:
            continue
        lines += ["", _comment(_described(field))]
        if place in secrets:
            lines.append(f"# (in the environment: {variable(place)})")
            continue
        line = f"{place[1]} = {toml(_value(table, key, held))}"
        lines.append(line if place in required and "." not in name else f"#{line}")
    return "\n".join(lines).lstrip("\n")


def _described(field: FieldInfo) -> str:
    text = field.description or ""
    choices = [str(choice) for choice in _choices(field.annotation)]
    if not all(re.search(rf"\b{re.escape(choice)}\b", text) for choice in choices):
        text += f"; one of {', '.join(choices)}"
    if field.examples and field.default not in (PydanticUndefined, field.examples[0]):
        text += "; not set by default" if field.default is None else f"; {toml(field.default)} by default"
    return text


def _choices(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401  # annotations have no type in common
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(choice for inner in get_args(annotation) for choice in _choices(inner))


def _value(table: type[BaseModel], key: str, held: BaseModel) -> Any:  # noqa: ANN401  # whatever a key may hold
    examples = table.model_fields[key].examples
    value = examples[0] if examples else getattr(held, key)
    return _examples(table, key)[0] if value is None else value


def _comment(text: str) -> str:
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    wrapped = ["\n".join(f"# {line}" for line in textwrap.wrap(text, _WIDTH)) for text in paragraphs]
    return "\n#\n".join(wrapped)


def toml(value: Any) -> str:  # noqa: ANN401  # whatever a key may hold
    """A value as TOML has it, on one line."""
    if isinstance(value, dict):
        pairs = (f"{key if _BARE.fullmatch(key) else json.dumps(key)} = {toml(inner)}" for key, inner in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)  # texts, numbers and booleans are the same in both
