"""Which of a completion's tokens make up the answer, and what they say about each label.

A server may put more into its log-probabilities than the content: reasoning, a token that ends the text. The tokens of
the answer are found by their text; where they are not, there is no score.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from .labels import folded, says_nothing
from .wrapping import reasons_still, without_reasoning

#: tokens behind the content that say nothing, `<|im_end|>` or a closing code fence, at most
_MOST_BEHIND = 4
#: how vocabularies write white space
_BLANKS = str.maketrans("", "", "▁ĠĊ")
#: between the words of a label
_JOINT = re.compile(r"(?<=[^\W\d_])[_-](?=[^\W\d_]|\Z)")


class Candidate(msgspec.Struct):
    """A token that might have stood in a place."""

    token: str = ""
    logprob: float | None = None
    bytes: Any = None  # a list of integers, where the server tells


class Token(msgspec.Struct):
    """A token of a completion."""

    token: str = ""
    logprob: float | None = None
    bytes: Any = None  # a list of integers, where the server tells
    top_logprobs: Any = None  # read where it is wanted: it must not cost another score


class _Logprobs(msgspec.Struct):
    """As chat completions tell them; `tokens` and the next two as legacy completions do, which some servers keep to."""

    content: list[Token] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[Any] | None = None


_logprobs = msgspec.json.Decoder(_Logprobs)


class AnswerTokens(NamedTuple):
    """The tokens of a completion that make up its answer."""

    answer: list[Token]
    behind: Sequence[Token] = ()  #: those that follow


class Unscored(Exception):
    """There is no score, and this is why."""


def tokens_told(told: bytes) -> list[Token]:
    """The tokens that a choice's `logprobs` tell. Raises `Unscored` where they tell none."""
    try:
        found = _logprobs.decode(told)
    except msgspec.DecodeError as error:
        if told.strip() in (b"", b"null"):
            raise Unscored("the remote told no log-probabilities") from error
        raise Unscored(f"the log-probabilities cannot be read: {error}") from error
    if found.content:
        return found.content
    tokens = list(_legacy(found))
    if not tokens:
        raise Unscored("the remote told no log-probabilities")
    return tokens


def _legacy(found: _Logprobs) -> Iterator[Token]:
    tops = found.top_logprobs or [None] * len(found.tokens or ())
    for token, logprob, top in zip(found.tokens or (), found.token_logprobs or (), tops, strict=False):
        yield Token(token, logprob, None, top)


def tokens_of(
    answer: str, content: str, tokens: Sequence[Token], stops: Sequence[str] = (), *, after: str = ""
) -> AnswerTokens:
    """The tokens that make up `answer`, which stands in `content` before `after`; what a stop sequence cut off may
    follow it. Raises `Unscored` where they are not found.

    White space is not compared: servers cut it off, and write it in ways of their own.
    """
    wanted, whole, last = _squeezed(answer.encode()), _squeezed(content.encode()), _squeezed(after.encode())
    behind = whole[::-1].find((wanted + last)[::-1])  # from the end, and unlike rfind in linear time
    ends = [end for end in (_squeezed(stop.encode()) for stop in stops) if end]
    for pieces in _spellings(tokens):
        end = _end_of(whole, pieces, ends)
        if wanted and behind >= 0 and end is not None:
            end -= behind + len(last)
            return _covering(tokens, pieces, end - len(wanted), end)
    raise Unscored("the log-probabilities are not those of the answer: its text is not that of the tokens")


def _spellings(tokens: Sequence[Token]) -> Iterator[list[bytes]]:
    """The tokens' texts without white space: from their bytes, where all have them, and from their names."""
    with suppress(TypeError, ValueError):  # of bytes that are none
        yield [_squeezed(_bytes_of(token)) for token in tokens]
    yield [_squeezed(token.token.translate(_BLANKS).encode("utf-8", "replace")) for token in tokens]


def _bytes_of(token: Token | Candidate) -> bytes:
    if not isinstance(token.bytes, list):
        raise TypeError("no bytes are told")
    return bytes(token.bytes)


def _squeezed(text: bytes) -> bytes:
    return b"".join(text.split())


def _end_of(whole: bytes, pieces: Sequence[bytes], ends: Sequence[bytes]) -> int | None:
    """Where the content ends in what the tokens say. None where it does not end it, or reasoning goes on before it."""
    said = b"".join(pieces)
    for piece in (b"", *reversed([piece for piece in pieces if piece][-_MOST_BEHIND:])):
        if not says_nothing(_text(piece)):
            break
        said = said[: len(said) - len(piece)]
        if said.endswith(whole):
            return len(said) if _is_before_an_answer(_text(said[: len(said) - len(whole)])) else None
    stopped = any(said.startswith(whole + end) for end in ends)
    return len(whole) if stopped else None


def _is_before_an_answer(text: str) -> bool:
    """Whether an answer may follow: there is nothing, or reasoning that has ended. Other words may be reasoning whose
    end looks like the answer.
    """
    return not text or (not reasons_still(text) and says_nothing(without_reasoning(text)))


def _covering(tokens: Sequence[Token], pieces: Sequence[bytes], first: int, last: int) -> AnswerTokens:
    """The tokens between these places. Raises `Unscored` where one at the edge holds letters of something else."""
    found: list[Token] = []
    end = following = 0
    for number, (token, piece) in enumerate(zip(tokens, pieces, strict=True), 1):
        begin, end = end, end + len(piece)
        if begin < last and end > first:
            before, after = piece[: max(0, first - begin)], piece[len(piece) - max(0, end - last) :]
            if not (says_nothing(_text(before)) and says_nothing(_text(after))):
                raise Unscored("a token holds a piece of the answer and of what stands beside it")
            found.append(token)
            following = number
    return AnswerTokens(found, tokens[following:])


def _text(piece: bytes) -> str:
    return piece.decode("utf-8", "replace")


def label_probabilities(tokens: AnswerTokens, labels: Sequence[str]) -> dict[str, float]:
    """The probability of each label, by the tokens that might have stood where the answer's stand.

    A candidate counts for a label where it begins this one and no other. Where labels begin alike, the tokens are
    followed until they part; where one label is the beginning of another, that may be the token behind the answer.
    What is left of 1 is doubt. Raises `Unscored` where no candidates are told.
    """
    keys = {label: _spellings_of(label) for label in labels}
    found = dict.fromkeys(labels, 0.0)
    said, mass = b"", 1.0
    if not tokens.answer or not _tops(tokens.answer[0]):
        raise Unscored("the remote told no top_logprobs for the answer's first token")
    for token in tokens.answer:
        if token.logprob is None:
            raise Unscored("the remote told no log-probability for a token of the answer")
        _share(found, said, mass, token, keys)
        said += _piece(token)
        mass *= math.exp(min(0.0, token.logprob))
        if _is_text(said) and len(_owners(_key(_text(said)), keys)) <= 1:
            return found
    # the tokens have ended and one label begins with another: what follows tells which
    if tokens.behind and tokens.behind[0].logprob is not None:
        _share(found, said, mass, tokens.behind[0], keys)
    else:
        for label in _written_out(_key(_text(said)), keys):
            found[label] += mass
    return found


_Keys = Mapping[str, tuple[str, ...]]


def _share(found: dict[str, float], said: bytes, mass: float, token: Token, keys: _Keys) -> None:
    """Give what may stand here, behind what was said, to the label that it makes of it."""
    before = _key(_text(said)) if _is_text(said) else ""
    for piece, probability in _candidates(token).items():
        if not _is_text(said + piece):
            continue  # it ends in the midst of a letter
        text = _key(_text(said + piece))
        owners = _owners(text, keys) if text else []
        if before and says_nothing(_text(piece)) and not (text != before and _goes_on(text, keys)):
            owners = _written_out(before, keys)
        if len(owners) == 1:
            found[owners[0]] += mass * probability


def _candidates(token: Token) -> Mapping[bytes, float]:
    """The probability of each piece of text that might have stood here, the one that does included."""
    # two tokens may have one text: their probabilities add up, but for one that is told twice
    told = {(each.token, _piece(each), each.logprob) for each in _tops(token) if each.logprob is not None}
    if (token.token, _piece(token)) not in {each[:2] for each in told}:
        told.add((token.token, _piece(token), token.logprob or 0.0))
    found: dict[bytes, float] = {}
    for _, piece, logprob in sorted(told):
        found[piece] = found.get(piece, 0.0) + math.exp(min(0.0, logprob))
    return found


def _tops(token: Token) -> list[Candidate]:
    """The candidates that are told, in a list or, as some servers do, in a mapping. Raises `Unscored`."""
    told = token.top_logprobs
    if isinstance(told, dict):
        told = [{"token": text, "logprob": logprob} for text, logprob in told.items()]
    try:
        return msgspec.convert(told or [], list[Candidate])
    except msgspec.ValidationError as error:
        raise Unscored(f"the top_logprobs cannot be read: {error}") from error


def _piece(token: Token | Candidate) -> bytes:
    """What a token writes: by its bytes, for it may be a piece of a letter, or else by its name."""
    try:
        told = _bytes_of(token)
    except (TypeError, ValueError):  # of bytes that are none
        told = b""
    return told or token.token.translate(_BLANKS).encode("utf-8", "replace")


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def _owners(text: str, keys: _Keys) -> list[str]:
    """The labels that this may be the beginning of."""
    for form in _forms(text):
        if owners := [label for label, spellings in keys.items() if _begins(spellings, form)]:
            return owners
    return []


def _begins(spellings: Sequence[str], text: str) -> bool:
    return any(key.startswith(text) or (text.startswith(key) and says_nothing(text[len(key) :])) for key in spellings)


def _goes_on(text: str, keys: _Keys) -> bool:
    """Whether a label has this, and may have more behind it."""
    forms = tuple(islice(_forms(text), 2))
    return any(key.startswith(forms) for spellings in keys.values() for key in spellings)


def _written_out(said: str, keys: _Keys) -> list[str]:
    """The label that this is, in full."""
    return next(filter(None, ([label for label in keys if form in keys[label]] for form in _forms(said))), [])


def _forms(text: str) -> Iterator[str]:
    """The ways to read it, as it stands first; the others are made where they are wanted."""
    if text:
        yield text
    if (bare := _bare(text)) not in (text, ""):
        yield bare
    if (joined := _joined(bare)) not in (text, bare, ""):
        yield joined


@cache
def _spellings_of(label: str) -> tuple[str, ...]:
    return _key(label), _joined(_key(label))


def _key(text: str) -> str:
    return "".join(folded(text.translate(_BLANKS)).split())


def _bare(text: str) -> str:
    """Without the quotes and mark-up before it."""
    return text.lstrip("\"'`*_([{<>:,.-#“”„«»‘’")


def _joined(text: str) -> str:
    """Without the signs between the words of a label, `not_spam`."""
    return _JOINT.sub("", text)


def evened(probabilities: Mapping[str, float]) -> list[float]:
    """One row of classes that sums to 1: the doubt belongs to all of them alike."""
    total = sum(probabilities.values())
    doubt = max(0.0, 1.0 - total) / len(probabilities)
    return [probability / max(total, 1.0) + doubt for probability in probabilities.values()]
