"""Which of a completion's tokens make up the answer, and what they say about each label.

A server may put more into its log-probabilities than the content: reasoning, a token that ends the text. The tokens of
the answer are found by their text; where they are not, there is no score.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from .labels import says_nothing
from .wrapping import reasons_still

#: tokens behind the content that say nothing, `<|im_end|>` or a closing code fence, at most
_MOST_BEHIND = 4
#: how vocabularies write white space
_BLANKS = str.maketrans("", "", "▁ĠĊ")


class Candidate(msgspec.Struct):
    """A token that might have stood in a place."""

    token: str = ""
    logprob: float | None = None


class Token(msgspec.Struct):
    """A token of a completion."""

    token: str = ""
    logprob: float | None = None
    bytes: Any = None  # a list of integers, where the server tells
    top_logprobs: list[Candidate] | None = None


class _Logprobs(msgspec.Struct):
    """As chat completions tell them; `tokens` and the next two as legacy completions do, which some servers keep to."""

    content: list[Token] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


_logprobs = msgspec.json.Decoder(_Logprobs)


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
        yield Token(token, logprob, None, [Candidate(*each) for each in (top or {}).items()])


def tokens_of(answer: str, content: str, tokens: Sequence[Token], stops: Sequence[str] = ()) -> list[Token]:
    """The tokens that make up `answer`, which stands in `content`; what a stop sequence cut off may follow it. Raises
    `Unscored` where they are not found.

    White space is not compared: servers cut it off, and write it in ways of their own.
    """
    wanted, whole = _squeezed(answer.encode()), _squeezed(content.encode())
    behind = whole[::-1].find(wanted[::-1])  # from the end, and unlike rfind in linear time
    ends = [end for end in (_squeezed(stop.encode()) for stop in stops) if end]
    for pieces in _spellings(tokens):
        last = _end_of(whole, pieces, ends)
        if wanted and behind >= 0 and last is not None:
            return list(_covering(tokens, pieces, last - behind - len(wanted), last - behind))
    raise Unscored("the log-probabilities are not those of the answer: its text is not that of the tokens")


def _spellings(tokens: Sequence[Token]) -> Iterator[list[bytes]]:
    """The tokens' texts without white space: from their bytes, where all have them, and from their names."""
    with suppress(TypeError, ValueError):  # of bytes that are none
        yield [_squeezed(_bytes_of(token)) for token in tokens]
    yield [_squeezed(token.token.translate(_BLANKS).encode("utf-8", "replace")) for token in tokens]


def _bytes_of(token: Token) -> bytes:
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
            return None if reasons_still(_text(said[: len(said) - len(whole)])) else len(said)
    stopped = any(said.startswith(whole + end) for end in ends)
    return len(whole) if stopped else None


def _covering(tokens: Sequence[Token], pieces: Sequence[bytes], first: int, last: int) -> Iterator[Token]:
    """The tokens between these places. Raises `Unscored` where one at the edge holds letters of something else."""
    end = 0
    for token, piece in zip(tokens, pieces, strict=True):
        begin, end = end, end + len(piece)
        if begin < last and end > first:
            before, after = piece[: max(0, first - begin)], piece[len(piece) - max(0, end - last) :]
            if not (says_nothing(_text(before)) and says_nothing(_text(after))):
                raise Unscored("a token holds a piece of the answer and of what stands beside it")
            yield token


def _text(piece: bytes) -> str:
    return piece.decode("utf-8", "replace")


def label_probabilities(tokens: Sequence[Token], labels: Sequence[str]) -> dict[str, float]:
    """The probability of each label, by the tokens that might have stood where the answer's stand.

    A candidate counts for a label where it begins this one and no other. Where labels begin alike, the tokens are
    followed until they part. What is left of 1 is doubt. Raises `Unscored` where no candidates are told.
    """
    keys = {label: _key(label) for label in labels}
    found = dict.fromkeys(labels, 0.0)
    said, mass = "", 1.0
    for token in tokens:
        if not token.top_logprobs or token.logprob is None:
            raise Unscored("the remote told no top_logprobs for the answer's first token")
        follows = said + _key(token.token)
        for text, probability in _candidates(token).items():
            owners = _owners(said + text, keys) if text or said else []
            if len(owners) == 1:
                found[owners[0]] += mass * probability
        owners = _owners(follows, keys)
        if len(owners) <= 1:
            break
        mass *= math.exp(min(0.0, token.logprob))
        said = follows
    else:  # the tokens have ended and one label begins with another: it is the one that is written out
        for label in [label for label, key in keys.items() if key == _bare(said)]:
            found[label] += mass
    return found


def _candidates(token: Token) -> Mapping[str, float]:
    """The probability of each text that might have stood here, the one that does included."""
    # two tokens may have one text: their probabilities add up, but for one that is told twice
    told = {(each.token, each.logprob) for each in token.top_logprobs or () if each.logprob is not None}
    if token.token not in {text for text, _ in told}:
        told.add((token.token, token.logprob or 0.0))
    found: dict[str, float] = {}
    for text, logprob in sorted(told):
        key = _key(text)
        found[key] = found.get(key, 0.0) + math.exp(min(0.0, logprob))
    return found


def _owners(text: str, keys: Mapping[str, str]) -> list[str]:
    """The labels that this may be the beginning of."""
    return [label for label, key in keys.items() if any(_begins(key, each) for each in {text, _bare(text)} if each)]


def _begins(key: str, text: str) -> bool:
    return key.startswith(text) or (text.startswith(key) and not any(map(str.isalnum, text[len(key) :])))


def _key(text: str) -> str:
    return "".join(text.translate(_BLANKS).split()).casefold()


def _bare(text: str) -> str:
    """Without the quotes and mark-up before it."""
    return text.lstrip("\"'`*_([{<>:,.-#“”„«»‘’")


def evened(probabilities: Mapping[str, float]) -> list[float]:
    """One row of classes that sums to 1: the doubt belongs to all of them alike."""
    total = sum(probabilities.values())
    doubt = max(0.0, 1.0 - total) / len(probabilities)
    return [probability / max(total, 1.0) + doubt for probability in probabilities.values()]
