"""Whether an answer is what somebody says is right."""

from __future__ import annotations

import unicodedata
from typing import Any

from ..importing import own_callable
from .drawn import Matches


def matching(way: str, named: str = "[audit] matches") -> Matches:
    """`exact`, `normalised`, or `module:callable` of the user's own. `named`: where it is said, for messages.

    Raises `ConfigurationError`.
    """
    if way == "exact":
        return exact
    if way == "normalised":
        return normalised
    made = own_callable(way, named)
    return lambda prediction, truth: bool(made(prediction, truth))


def exact(prediction: Any, truth: Any) -> bool:  # noqa: ANN401  # any JSON values
    """They are equal, or read the same: a file of labels may hold 3 as text."""
    return bool(prediction == truth) or _text(prediction) == _text(truth)


def normalised(prediction: Any, truth: Any) -> bool:  # noqa: ANN401  # any JSON values
    """The same for their words alone."""
    return exact(prediction, truth) or _words(_text(prediction)) == _words(_text(truth))


def _text(value: Any) -> str:  # noqa: ANN401  # any JSON value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _words(text: str) -> str:
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    begin, end = 0, len(plain)
    while begin < end and not plain[begin].isalnum():
        begin += 1
    while end > begin and not plain[end - 1].isalnum():
        end -= 1
    return plain[begin:end] or plain
