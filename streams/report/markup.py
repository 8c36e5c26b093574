"""HTML from text: nothing that was not written in this wing reaches the page as markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import orjson

#: characters that would act instead of being shown: control characters but line breaks, and those that change direction
_ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def text(value: object) -> str:
    """As text of an element or of an attribute, with what would act spelled out."""
    return escape(_ACTING.sub(lambda sign: f"\\u{ord(sign[0]):04x}", str(value).replace("\r\n", "\n")))


def foreign(value: object) -> str:
    """Text of somebody else's, isolated so that its direction does not affect the text around it."""
    return f"<bdi>{text(value)}</bdi>"


def as_text(value: object) -> str:
    """A text as it is, and any other JSON value as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    except orjson.JSONEncodeError:  # bytes of an image, say
        return f"<{type(value).__name__}>"


def shortened(text: str, most: int) -> str:
    """The beginning of a text longer than `most` characters, with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def share(value: float | None, digits: int = 1) -> str:
    """A share as a percentage; no line breaks before its sign."""
    return "–" if value is None else f"{100 * value:.{digits}f}\u00a0%"


def table(caption: str, heads: Sequence[str], rows: Sequence[str], *, numbers_from: int = 1) -> str:
    """A table that may be wider than the screen. Heads from `numbers_from` on stand over numbers."""
    cells = "".join(
        f'<th scope="col"{_N if at >= numbers_from else ""}>{text(head)}</th>' for at, head in enumerate(heads)
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f'<caption class="unseen">{text(caption)}</caption><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def row(head: str, *cells: str) -> str:
    """A row of a table: its head and its numbers, as markup."""
    return f'<tr><th scope="row">{head}</th>{"".join(f"<td{_N}>{cell}</td>" for cell in cells)}</tr>'


_N = ' class="n"'
