"""The answer out of what models wrap around it: parts of a message, reasoning, code fences, tags of an answer."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

#: types of parts that hold the answer's text; parts of reasoning have others
_TEXT_PARTS = (None, "text", "output_text")
#: in the name of a tag, say that it holds reasoning: `<think>`, `<seed:think>`, `<|begin_of_thought|>`
_WORDS = (
    "think|thought|reason|reflect|analy[sz]|scratch_?pad|monologue|deliberat|ponder|contemplat|meditat|brainstorm"
    "|rationale|inner_|internal|planning|cot_"
)
_NAME = rf"[\w:.▁-]{{0,32}}(?:\bcot\b|{_WORDS})[\w:.▁-]{{0,32}}"  # bounded: a hostile name takes no time
#: where reasoning ends: `</think>`, `[/THINK]`, `◁/think▷`, a final channel, and as some models say it in words. The
#: beginning may be missing: some templates write it into the prompt.
_ENDS = re.compile(
    rf"</{_NAME}\s{{0,8}}>|\[/{_NAME}\]|◁/think▷|<[|｜]/{_NAME}[|｜]>|<[|｜](?:end|close)[_▁]{_NAME}[|｜]>|<channel\|>"
    r"|<\|channel\|>final<\|message\|>|here(?:'s|\s?is)\s?my\s?response:|\.\.\.done thinking\.",
    re.IGNORECASE,
)
_BEGINS = re.compile(
    rf"<{_NAME}(?:\s[^<>]{{0,200}})?>|\[{_NAME}\]|◁think▷|<[|｜]{_NAME}[|｜]>|<\|channel>thought"
    r"|<\|channel\|>(?:analysis|commentary)|\A\s*(?:here(?:'s| is) (?:my|a|the) )?"
    r"(?:thoughts?|thinking|reasoning|chain[- ]of[- ]thought)(?: process)?(?::|\.\.\.)",
    re.IGNORECASE,
)
#: characters at either end of a text in which reasoning is looked for: more takes the event loop too long
_LOOKED_AT = 64 * 1024
_FENCES = ("```", "~~~")
#: tokens of a template that a server did not leave out: `<|eot_id|>`, `</s>`, `<｜end▁of▁sentence｜>`
_SPECIAL = r"(?:<[|｜][^<>|｜]{1,40}[|｜]>|</?s>|<[be]os>|<(?:start|end)_of_turn>|\[/?(?:INST|EOS|BOS)\])"
_EDGE = 400  #: characters at the end in which they are looked for
_SPECIAL_FIRST, _SPECIAL_LAST = re.compile(rf"(?:{_SPECIAL}\s{{0,8}})+"), re.compile(rf"(?:\s{{0,8}}{_SPECIAL})+\Z")
_BOXED = re.compile(r"\$*\s*\\boxed\{(?:\\text\{)?([^{}]*)\}?\}\s*\$*\.?")
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
    if not isinstance(content, list):
        return ""
    said = [part.get("refusal") for part in content if isinstance(part, dict) and part.get("type") == "refusal"]
    return next((text for text in said if isinstance(text, str)), "")


def reasons_still(text: str) -> bool:
    """Whether reasoning has begun in this text and not ended."""
    ended = _ended(text)
    places = {ended, max(ended, len(text) - _LOOKED_AT)}
    return any(_BEGINS.search(text, place, place + _LOOKED_AT) for place in places)


def reasoning_ends(text: str) -> bool:
    """Whether reasoning ends in this text: all that stands before is reasoning."""
    return _ended(text) > 0


def _ended(text: str) -> int:
    """Where the reasoning has ended; 0 where none has."""
    return max((match.end() for match in _ENDS.finditer(text, max(0, len(text) - _LOOKED_AT))), default=0)


def unwrapped(text: str, *, alone: bool = False) -> str:
    """The answer in a text: what follows the reasoning, out of the one code fence or the one tag around it.

    `alone`: only where nothing stands beside the fence or the tag, for an answer may hold code. '' where all of it is
    reasoning that has not ended.
    """
    if reasons_still(text):
        return ""
    answer = without_reasoning(text)
    for inside in (_inside_tag, _inside_fence):
        beside, inner = inside(answer)
        answer = answer if alone and beside.strip() else inner.strip()
    boxed = _BOXED.fullmatch(answer)
    return boxed.group(1).strip() if boxed else answer


def without_reasoning(text: str) -> str:
    """What follows the reasoning that has ended, without the special tokens at its edges."""
    answer = text[_ended(text) :].strip()
    leading, trailing = _SPECIAL_FIRST.match(answer), _SPECIAL_LAST.search(answer[-_EDGE:])
    kept = len(answer) - (len(trailing.group()) if trailing else 0)
    return answer[leading.end() if leading else 0 : kept].strip()


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
