"""As much of PromQL as tells which series an expression reads, and by which labels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_RANGE = re.compile(r"\[[^\]]*\]")
_MATCHERS = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_LABEL = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORD = re.compile(r"[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()")
_OPERATORS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
_ALERT = re.compile(r"^ *- alert: (\w+)", re.MULTILINE)
_EXPRESSION = re.compile(r"^ *expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)", re.MULTILINE)


def series_in(expression: str) -> dict[str, set[str]]:
    """The series that it reads, and the labels by which it picks among them."""
    text = _STRING.sub('""', _RANGE.sub("", expression))
    found: dict[str, set[str]] = defaultdict(set)
    for name, matchers in _MATCHERS.findall(text):
        found[name].update(_LABEL.findall(matchers))
    bare = _GROUPING.sub("", _MATCHERS.sub("", text))
    for name in _WORD.findall(bare):
        if name.lower() not in _OPERATORS:
            found[name].update()
    return dict(found)


def grouping_in(expression: str) -> set[str]:
    """The labels that it groups by."""
    return {label for labels in _GROUPING.findall(expression) for label in re.split(r"[,\s]+", labels) if label}


def alerts_in(path: Path) -> Iterator[tuple[str, str]]:
    """Name and expression of each rule of a file laid out as ours is."""
    text = path.read_text()
    names = _ALERT.findall(text)
    expressions = [folded or plain for folded, plain in _EXPRESSION.findall(text)]
    yield from zip(names, expressions, strict=True)
