"""Which label an answer names: models write "Positive.", "**positive**" and "<b>positive</b>" for one thing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import orjson

from ....schemas.errors import InvalidAnswer
from ..protocol import brief
from .wrapping import reasoning_ends, reasons_still

#: levels that a prediction may be nested: our own codec gives up at about 900
DEEPEST = 64
#: characters of an answer that are looked at for a label, and shown where it is none
_LONGEST, _SHOWN_CHARS = 1024, 100
#: places of an answer where one label is looked for: where it stands more than once, it does not stand alone
_PLACES = 4
#: letters that are mark-up: tags, special tokens, commands of LaTeX, entities, the language of a code fence
_MARKUP = re.compile(r"<[^<>]*>|\[/?[A-Z_]+\]|\\[A-Za-z]+|&[a-z]+;|```[\w-]*")
#: before a label, turn it into another one
_NEGATIONS = re.compile(
    r"[!¬≠]|(?<!~)~{1,2}(?!~)|<(?:del|strike|not)\b[^<>]*>|\\(?:not|neg|lnot|ne|sout|cancel)\b|&(?:not|ne);",
    re.IGNORECASE,
)
#: before or behind a label, say that it is not this one
_CROSSES = re.compile("[❌✗✘✖☒🚫]")
_SIGNS = "-+−.,/"
#: right behind a label, make another one of it: A+, C#, 50%
_ENDINGS = "+#%-−"


class Named(NamedTuple):
    """A label, and how an answer writes it."""

    label: str
    written: str


def one_of(prediction: Any, labels: Sequence[str], *, exact: bool = False) -> Any:  # noqa: ANN401  # any JSON value
    """The label that the prediction names; where there are no labels the prediction, text without the white space
    around it. `exact`: to the letter. Raises `InvalidAnswer` where it names none of the labels, or is nested so deeply
    that not every reader of JSON could read it again.
    """
    if _nested_beyond(prediction, DEEPEST):
        raise InvalidAnswer(f"the answer is nested more than {DEEPEST} levels deep")
    if not labels:
        return prediction.strip() if isinstance(prediction, str) else prediction
    return named(prediction, labels, exact=exact).label


def named(prediction: Any, labels: Sequence[str], *, exact: bool = False) -> Named:  # noqa: ANN401  # any JSON value
    """The label that this is. Case, white space, punctuation and mark-up around it are ignored, unless `exact`.
    Raises `InvalidAnswer` where it is none, or where it may be two.
    """
    text = (prediction if isinstance(prediction, str) else _scalar(prediction)).strip()
    if text in labels:
        return Named(text, text)
    found = [] if exact or len(text) > _LONGEST else _found(text, labels)
    longest = max((len(each.written) for each in found), default=0)
    fitting = [each for each in found if len(each.written) == longest]
    if len(fitting) != 1:
        raise InvalidAnswer(f"the answer {brief(prediction)[:_SHOWN_CHARS]!r} is none of the {len(labels)} labels")
    return fitting[0]


def _scalar(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """A number or a truth as a label writes it; nothing of anything else."""
    return orjson.dumps(value).decode() if isinstance(value, int | float) and abs(value) < 2**63 else ""


def _found(text: str, labels: Sequence[str]) -> list[Named]:
    """Every label that stands in the text with nothing but mark-up and punctuation around it."""
    return [
        Named(label, match.group())
        for label in labels
        if label.strip()
        for match in islice(_pattern(label).finditer(text), _PLACES)
        if _alone(text[: match.start()], match.group(), text[match.end() :])
    ]


@cache
def _pattern(label: str) -> re.Pattern[str]:
    return re.compile(r"\s+".join(map(re.escape, label.split())), re.IGNORECASE)


def _alone(before: str, written: str, after: str) -> bool:
    signed = written[:1].isdigit() and before.endswith(tuple(_SIGNS))
    changed = signed or bool(_NEGATIONS.search(before)) or after.startswith(tuple(_ENDINGS))
    changed = changed or bool(_CROSSES.search(before + after)) or reasons_still(before) or reasoning_ends(after)
    return not changed and says_nothing(before) and says_nothing(after)


def says_nothing(text: str) -> bool:
    """Whether it is mark-up, punctuation and white space alone."""
    return not any(map(str.isalnum, _MARKUP.sub("", text)))


def _nested_beyond(value: Any, levels: int) -> bool:  # noqa: ANN401  # any JSON value
    layer = [value]
    for _ in range(levels + 1):
        inner = (each.values() if isinstance(each, dict) else each for each in layer if isinstance(each, dict | list))
        layer = [item for items in inner for item in items]
        if not layer:
            return False
    return True
