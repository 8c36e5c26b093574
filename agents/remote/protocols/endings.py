"""The words by which servers say how an answer ended: whole, or withheld."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..retry import WITHHELD

#: words for a whole answer, in any case: OpenAI's first, then what others write for it
WHOLE = (
    *("stop", "eos", "eos_token", "end_turn", "stop_sequence"),
    *("complete", "stop_token", "endoftext"),
)
#: before a word, where a server writes the name of its enumeration: FINISH_REASON_STOP, FinishReason.STOP
_ENUMERATIONS = ("finish_reason_", "finishreason.")
#: words for an answer that was cut off at its most tokens
_CUT = ("length", "max_tokens", "model_length")


def is_whole(ended: Any, further: Sequence[str] = ()) -> bool:  # noqa: ANN401  # any JSON value
    """Whether the word means a whole answer; `further`: these too."""
    return isinstance(ended, str) and ((word := _word(ended)) in WHOLE or word in map(_word, further))


def is_withheld(ended: Any) -> bool:  # noqa: ANN401  # any JSON value
    """Whether the word means an answer that was withheld; some servers write why behind a colon."""
    return isinstance(ended, str) and _word(ended.partition(":")[0].strip()) in WITHHELD


def is_cut(ended: Any) -> bool:  # noqa: ANN401  # any JSON value
    """Whether the word means an answer that was cut off at its most tokens."""
    return isinstance(ended, str) and _word(ended) in _CUT


def _word(ended: str) -> str:
    word = ended.lower()
    for name in _ENUMERATIONS:
        word = word.removeprefix(name)
    return word
