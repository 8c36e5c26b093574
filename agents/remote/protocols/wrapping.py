"""The answer out of what models wrap around it: parts of a message, reasoning, code fences, tags of an answer."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

#: types of parts that hold the answer's text; parts of reasoning have others
_TEXT_PARTS = (None, "text", "output_text")
_REASONING = "think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad"
#: where reasoning ends: `<think>…</think>`, `[THINK]…[/THINK]`, `◁/think▷`, a final channel. The beginning may be
#: missing: some templates write it into the prompt.
_ENDS = re.compile(
    rf"</(?:{_REASONING})>|\[/(?:{_REASONING})\]|◁/think▷|<\|end_of_thinking\|>|<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)
_BEGINS = re.compile(rf"<(?:{_REASONING})>|\[(?:{_REASONING})\]|◁think▷|<\|channel\|>analysis", re.IGNORECASE)
_FENCES = ("```", "~~~")
#: what may stand behind the opening fence: the name of a language
_LANGUAGE = re.compile(r"[ \t]*[\w+.-]*[ \t]*\r?\n|(?:json|text|txt|plaintext)\s")
_TAG = re.compile(r"<(answer|output|result|response|final_answer)>", re.IGNORECASE)


def text_in(content: Any) -> str:  # noqa: ANN401  # whatever a server calls the content
    """The text of a message's content: itself, or its parts of text joined."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "".join(map(_text_of, parts))


def _text_of(part: Any) -> str:  # noqa: ANN401  # as above
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type") not in _TEXT_PARTS:
        return ""
    text = part.get("text")
    inner = text.get("value") if isinstance(text, dict) else text
    return inner if isinstance(inner, str) else ""


def refusal_in(content: Any) -> str:  # noqa: ANN401  # as above
    """What a part of refusal says; '' where there is none."""
    parts = content if isinstance(content, list) else ()
    said = [part.get("refusal") for part in parts if isinstance(part, dict) and part.get("type") == "refusal"]
    return next((text for text in said if isinstance(text, str)), "")


def reasons_still(text: str) -> bool:
    """Whether reasoning has begun in this text and not ended."""
    ended = max((match.end() for match in _ENDS.finditer(text)), default=0)
    return _BEGINS.search(text, ended) is not None


def reasoning_ends(text: str) -> bool:
    """Whether reasoning ends in this text: all that stands before is reasoning."""
    return _ENDS.search(text) is not None


def unwrapped(text: str, *, alone: bool = False) -> str:
    """The answer in a text: what follows the reasoning, out of the one code fence or the one tag around it.

    `alone`: only where nothing stands beside the fence or the tag, for an answer may hold code. '' where all of it is
    reasoning that has not ended.
    """
    if reasons_still(text):
        return ""
    answer = text[max((match.end() for match in _ENDS.finditer(text)), default=0) :].strip()
    for inside in (_inside_tag, _inside_fence):
        beside, inner = inside(answer)
        answer = answer if alone and beside.strip() else inner.strip()
    return answer


def _inside_tag(answer: str) -> tuple[str, str]:
    """What stands beside the one tag of an answer, and what inside; where there is no such, all of it is inside."""
    openings = list(islice(_TAG.finditer(answer), 2))
    if len(openings) != 1:
        return "", answer
    [opening] = openings
    inner, closing, after = answer[opening.end() :].partition(f"</{opening.group(1)}>")
    return (answer[: opening.start()] + after, inner) if closing else ("", answer)


def _inside_fence(answer: str) -> tuple[str, str]:
    """The same of the one code fence."""
    for fence in _FENCES:
        pieces = answer.split(fence, 3)
        if len(pieces) == 3:
            language = _LANGUAGE.match(pieces[1])
            return pieces[0] + pieces[2], pieces[1][language.end() if language else 0 :]
    return "", answer
