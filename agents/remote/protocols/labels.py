"""Which label an answer names: models write "Positive.", "**positive**" and "Label: positive" for one thing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from html import unescape
from itertools import chain, islice
from typing import Any, NamedTuple

import orjson

from ....schemas.errors import InvalidAnswer
from ..protocol import brief
from .lenient_json import document_in
from .wrapping import reasoning_ends, reasons_still

#: levels that a prediction may be nested: our own codec gives up at about 900
DEEPEST = 64
#: characters of an answer that are looked at for a label, and shown where it is none
_LONGEST, _SHOWN_CHARS = 1024, 100
#: letters of a word in mark-up that may be meant as a label
_TELLING = 3
#: places of an answer where one label is looked for: where it stands more than once, it does not stand alone
_PLACES = 4
#: letters that are mark-up: tags, special tokens, commands of LaTeX, entities, languages of code fences, ticked boxes.
#: Only what is known: any other word in brackets may negate the label.
_MARKUP = re.compile(
    r"<\|channel\|>\w+<\|message\|>|<[^<>]*>|&#?\w+;|[\[(][xX][\])]"
    r"|\[/?(?:INST|SYS|EOS|BOS|PAD|SEP|CLS|UNK|MASK|ANSWER|LABEL|CLASS|OUTPUT|RESULT|RESPONSE|FINAL|START|END)\]"
    r"|\\(?:boxed|fbox|text[a-z]*|math[a-z]*|emph|underline|bf|it|rm|sf|tt|large|Large|quad|left|right|begin|end|n|r|t)"
    r"(?![A-Za-z])"
    r"|```(?:(?:json|text|txt|plaintext|plain|python|xml|html|yaml|yml|csv|md|markdown|label|latex|tex|bash)\b)?"
)
#: words that make another label of the one in their tag
_NEGATING = (
    "del|strike|not?|non|nor|never|neither|without|except|unlike|anti|un|fake|false|wrong|incorrect|rejected|excluded"
    "|opposite|other|rather|instead|far|avoid|hardly|barely|maybe|perhaps|could|either|previous|example|if|unless"
    "|isn|nicht|kein|pas|jamais|ne|ni|не|不|非|没|无|반|ない"
)
#: before a label, turn it into another one, or leave it open; an empty box is a label that was not chosen
_NEGATIONS = re.compile(
    r"[!¬≠≤≥±☐□⬜◻○◯]|(?<!~)~{1,2}(?!~)|<>|=?/=|\[\s*\]|\(\s*\)|line-through"
    rf"|<[|｜]?\s?(?:{_NEGATING})\b[^<>]*>",
    re.IGNORECASE,
)
#: before or behind a label, say that it is not this one
_CROSSES = re.compile("[❌❎✗✘✖☒🚫⛔👎]")
#: before a number, make another one of it
_SIGNED = re.compile(r"[-+−–.,/]$|[<>]=?\s*$")
#: right behind a label, make another one of it: A+, C#, 50%
_ENDINGS = "+#%-−"
#: right behind a label in quotes, makes it the name of a field
_NAMES_A_FIELD = re.compile(r"""["'’]\s*:""")
#: signs that say how others look, or nothing: of emoji, and the frame of a key
_UNSEEN = "\ufe0e\ufe0f\u20e3"
#: between the words of a label: `not_spam` is written "not spam", too
_JOINT = re.compile(r"(?<=[^\W\d_])(?:\s+|[_\-‐–])(?=[^\W\d_])|\s+")
_ANY_JOINT = r"(?:\s+|[_\-‐–])?"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: what may introduce a label, in front of a colon: "The final answer is: positive". Nothing else may, for whatever
#: else stands before a label may negate it, or only mention it.
_NOUNS = _words(
    "label answer class classification category sentiment prediction output result response reply verdict decision "
    "intent emotion topic type tag rating grade choice conclusion judgment judgement assessment polarity tone stance "
    "assistant value "
    "antwort klasse kategorie stimmung ergebnis réponse étiquette classe catégorie résultat respuesta etiqueta "
    "categoría resultado resposta categoria risposta etichetta risultato antwoord "
    "ответ метка класс категория 答案 回答 标签 標籤 类别 類別 情感 结果 答え ラベル 分類 정답 레이블 답변"
)
_BESIDE_NOUNS = _words("the my a final predicted correct best chosen selected assigned overall likely most")
_COPULAS = frozenset(("is", "ist", "est", "es", "è"))
_WORD = re.compile(r"([^\W_]+)")
_COLON = re.compile(r"(?<![<>!~≠=])={1,2}(?![/=])|[:→⇒|\n]|->|=>|\s[-–—]\s")
_MARKER = re.compile(r"\d{1,2}|[a-z]", re.IGNORECASE)
_BEHIND_A_MARKER = re.compile(r"[*_]*(?:\)|\.[*_]*\s)")

#: what may stand beside the field of the label in a JSON object
_BESIDE_LABELS = _words(
    "confidence score probability certainty reason reasoning rationale explanation justification id index"
)


class Named(NamedTuple):
    """A label, and how an answer writes it."""

    label: str
    written: str  #: '' where it is not known which piece of the answer it is
    after: str = ""  #: what stands behind it in the answer


def one_of(prediction: Any, labels: Sequence[str], *, exact: bool = False) -> Any:  # noqa: ANN401  # any JSON value
    """The label that the prediction names; where there are no labels the prediction, text without the white space
    around it. `exact`: to the letter. Raises `InvalidAnswer` where it names none of the labels, or is nested so deeply
    that not every reader of JSON could read it again.
    """
    if isinstance(prediction, dict | list) and _nested_beyond(prediction, DEEPEST):
        raise InvalidAnswer(f"the answer is nested more than {DEEPEST} levels deep")
    if not labels:
        return prediction.strip() if isinstance(prediction, str) else prediction
    return named(prediction, labels, exact=exact).label


def named(prediction: Any, labels: Sequence[str], *, exact: bool = False) -> Named:  # noqa: ANN401  # any JSON value
    """The label that this is. Case, white space, punctuation and mark-up around it are ignored, and so is a word that
    introduces it, unless `exact`. Raises `InvalidAnswer` where it is none, or where it may be two.
    """
    text = (prediction if isinstance(prediction, str) else _scalar(prediction)).strip()
    if text in labels:
        return Named(text, text)
    found = [] if exact or len(text) > _LONGEST else _found_anyhow(text, labels)
    longest = max((len(each.written) for each in found), default=0)
    fitting = [each for each in found if len(each.written) == longest]
    if len(fitting) != 1:
        raise InvalidAnswer(f"the answer {brief(prediction)[:_SHOWN_CHARS]!r} is none of the {len(labels)} labels")
    return fitting[0]


def _scalar(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """A number or a truth as a label writes it; nothing of anything else."""
    return orjson.dumps(value).decode() if isinstance(value, int | float) and abs(value) < 2**63 else ""


def _found_anyhow(text: str, labels: Sequence[str]) -> list[Named]:
    return _found(text, labels) or _in_json(text, labels) or _escaped(text, labels)


def _found(text: str, labels: Sequence[str]) -> list[Named]:
    """Every label that stands in the text with nothing but mark-up, punctuation and its introduction around it."""
    whole, places = _spelled(text)
    keys, symbols = _keys(tuple(labels)), _symbols(tuple(labels))
    return [
        Named(label, text[begin:end], text[end:])
        for label in labels
        if _pattern(label).pattern  # an invisible one is none
        for match in islice(_pattern(label).finditer(whole), _PLACES)
        if (span := _span(match, whole, places)) is not None
        for begin, end in [span]
        if _alone(text[:begin], match.group(), text[end:], keys)
        and not any(symbol in whole[: match.start()] or symbol in whole[match.end() :] for symbol in symbols)
    ]


def _span(match: re.Match[str], whole: str, places: Sequence[int]) -> tuple[int, int] | None:
    """Where the match stands in the text; None where it ends within a letter."""
    first, last = match.span()
    begins = first == 0 or places[first - 1] != places[first]
    ends = last == len(whole) or (places[last] != places[last - 1] and unicodedata.category(whole[last])[0] != "M")
    return (places[first], places[last - 1] + 1) if begins and ends else None


def named_in_form(text: str, labels: Sequence[str], *, exact: bool) -> Named:
    """The same in the answer of a server that was asked for JSON, and may not have heeded it."""
    if not exact:
        return named(text, labels)
    field = _label_field(text)
    if field is not None:
        return _placed(text, *field, named(field[1], labels, exact=True))
    quoted = text.removeprefix('"').removesuffix('"')
    return named(quoted if len(text) - len(quoted) == 2 else text, labels, exact=True)


def _in_json(text: str, labels: Sequence[str]) -> list[Named]:
    """The label in the one field of a JSON object that is called so; other fields may only explain it."""
    field = _label_field(text)
    try:
        return [] if field is None else [_placed(text, *field, named(field[1], labels))]
    except InvalidAnswer:
        return []


def _label_field(text: str) -> tuple[str, Any] | None:
    """The name and the value of that field; None where there is none, or several."""
    try:
        document = document_in(text) if text.startswith(("{", "[")) else None
    except ValueError:
        return None
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, dict):
        return None
    telling = [name for name in document if _introduces(f"{name}:", frozenset(), "")]
    others = {folded(name) for name in document} - {folded(name) for name in telling}
    return (telling[0], document[telling[0]]) if len(telling) == 1 and others <= _BESIDE_LABELS else None


def _placed(text: str, name: str, value: Any, found: Named) -> Named:  # noqa: ANN401  # any JSON value
    """The same with its place in the whole text, where the value is written there without escapes."""
    said = re.escape(value if isinstance(value, str) else _scalar(value))
    match = re.search(rf"""["']{re.escape(name)}["']\s*:\s*["']?{said}""", text)
    return found._replace(after=found.after + text[match.end() :]) if match else found._replace(written="", after="")


def _escaped(text: str, labels: Sequence[str]) -> list[Named]:
    """Labels that are written with entities of HTML, R&amp;D."""
    plain = unescape(text)
    return [] if plain == text else [each._replace(written="", after="") for each in _found(plain, labels)]


@cache
def _keys(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(folded, labels))


@cache
def _symbols(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels without letters, such as emoji: another one beside a label is no mark-up."""
    return tuple(key for key in _keys(labels) if key and not any(map(str.isalnum, key)))


@cache
def _pattern(label: str) -> re.Pattern[str]:
    key = folded(label).strip()
    joints = [_ANY_JOINT if _between_letters(key, *joint.span()) else r"\s+" for joint in _JOINT.finditer(key)]
    words = map(re.escape, _JOINT.split(key))
    return re.compile("".join(chain.from_iterable(zip(words, [*joints, ""], strict=True))))


def _between_letters(text: str, first: int, last: int) -> bool:
    return text[first - 1].isalpha() and text[last].isalpha()


def folded(text: str) -> str:
    """Text for comparison: neither case nor compatibility forms (full-width letters, ligatures) make a difference, nor
    how accents are composed, nor signs that are not seen.
    """
    return _spelled(text)[0]


def _spelled(text: str) -> tuple[str, Sequence[int]]:
    """The same, and of each of its signs the place in the text."""
    if text.isascii():
        return text.lower(), range(len(text))
    signs: list[tuple[str, int]] = []
    for place, sign in enumerate(text):
        if sign in _UNSEEN or unicodedata.category(sign) == "Cf":
            continue
        for piece in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", sign).casefold()):
            at = len(signs)
            order = unicodedata.combining(piece)
            while order and at and unicodedata.combining(signs[at - 1][0]) > order:
                at -= 1
            signs.insert(at, (piece, place))
    return "".join(sign for sign, _ in signs), [place for _, place in signs]


def _alone(before: str, written: str, after: str, keys: frozenset[str]) -> bool:
    before, after = _plain(before), _plain(after)
    signed = written[:1].isdigit() and _SIGNED.search(_MARKUP.sub("", before))
    changed = signed or _NEGATIONS.search(before) or after.startswith(tuple(_ENDINGS))
    changed = changed or _other_label_in(_MARKUP.findall(before + after), written, keys)
    changed = changed or _CROSSES.search(before + after) or reasons_still(before) or reasoning_ends(after)
    if changed or _NAMES_A_FIELD.match(after) or not says_nothing(after):
        return False
    return says_nothing(before) or ("?" not in after and _introduces(before, keys, written))


def _other_label_in(markup: Sequence[str], written: str, keys: frozenset[str]) -> bool:
    """Whether mark-up names another label, as in `[POSITIVE] negative`. The letters of `<b>` may be one by chance."""
    pieces = [piece for piece in markup if not piece.startswith("<|")]  # no special tokens
    words = {folded(word) for piece in pieces for word in _WORD.findall(piece) if len(word) >= _TELLING}
    return bool((words & keys) - {written})


def _plain(text: str) -> str:
    """Without entities, full-width signs and the like."""
    return unicodedata.normalize("NFKC", unescape(text))


def _introduces(before: str, keys: frozenset[str], label: str) -> bool:
    """Whether this only introduces what follows: `1.`, `Label:`, `The final answer is:`."""
    _, *pieces = _WORD.split(_MARKUP.sub(" ", before))
    last = ""  #: what was read last
    for word, gap in zip(pieces[::2], pieces[1::2], strict=True):
        low = word.casefold()
        if folded(word) in keys:
            return False
        if last in ("", "colon") and _BEHIND_A_MARKER.match(gap) and _marks(word, label):
            last = "marker"
        elif low in _NOUNS:
            last = "colon" if _COLON.search(gap) else "noun"
        elif low in _COPULAS and last in ("noun", "colon"):
            last = "copula"
        elif low in _BESIDE_NOUNS and last != "noun":
            last = "beside"
        else:
            return False
    return last in ("colon", "copula", "marker")


def _marks(marker: str, label: str) -> bool:
    """Whether this may number the label, and is no piece of the label itself."""
    return _MARKER.fullmatch(marker) is not None and (not label[:1].isdigit() if marker.isdigit() else len(label) > 1)


def says_nothing(text: str) -> bool:
    """Whether it is mark-up, punctuation and white space alone."""
    return not text or not any(map(str.isalnum, _MARKUP.sub("", text)))


def _nested_beyond(value: Any, levels: int) -> bool:  # noqa: ANN401  # any JSON value
    layer = [value]
    for _ in range(levels + 1):
        inner = (each.values() if isinstance(each, dict) else each for each in layer if isinstance(each, dict | list))
        layer = [item for items in inner for item in items]
        if not layer:
            return False
    return True
