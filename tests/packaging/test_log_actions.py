"""Every line of the log has an action, and every action is documented."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LEVELS = ("debug", "info", "warning", "error", "critical", "exception", "log")


class Call(NamedTuple):
    """A call of a logger."""

    where: str
    level: str
    actions: frozenset[str]


def calls_in(path: Path) -> Iterator[Call]:
    tree = ast.parse(path.read_text())
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]:
        documents = {
            target.id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and is_log_call(node.func):
                yield Call(f"{path.name}:{node.lineno}", level_of(node), frozenset(actions_of(node, documents)))


def is_log_call(function: ast.expr) -> bool:
    logs = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "log"
    return logs and isinstance(function, ast.Attribute) and function.attr in LEVELS


def level_of(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    return {"exception": "error"}.get(call.func.attr, call.func.attr)


def actions_of(call: ast.Call, documents: dict[str, ast.expr]) -> Iterator[str]:
    """What the keyword `extra` holds under "action", in the call or in a dict that the function made before."""
    for keyword in call.keywords:
        if keyword.arg == "extra":
            named = [node.id for node in ast.walk(keyword.value) if isinstance(node, ast.Name)]
            for expression in (keyword.value, *(documents[name] for name in named if name in documents)):
                yield from actions_in(expression)


def actions_in(expression: ast.expr) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "action":
                    yield from chosen(value)


def chosen(value: ast.expr) -> Iterator[str]:
    """The constants that an action can be: itself, or either branch of a choice."""
    if isinstance(value, ast.IfExp):
        yield from chosen(value.body)
        yield from chosen(value.orelse)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value


def every_call() -> list[Call]:
    files = [path for folder in ("schemas", "agents", "streams") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [call for path in files for call in calls_in(path)]


def documented() -> dict[str, str]:
    """Action to level, in the table of docs/logs.md."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs" / "logs.md").read_text(), re.MULTILINE)
    assert len(rows) == len(dict(rows)), "an action has two rows"
    return dict(rows)


def test_every_line_has_an_action() -> None:
    calls = every_call()
    assert len(calls) > 25, "the search finds the calls"
    assert [call.where for call in calls if not call.actions] == []


def test_every_action_is_documented_with_its_level_and_no_other() -> None:
    written = {action: call.level for call in every_call() for action in call.actions}
    assert written == documented()
