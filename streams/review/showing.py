"""What of a request a person sees, as parts: pictures, texts, and data. Records may hold anything.

What the models said is in the headers of a record, and no header is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from ...schemas.field_paths import Steps, find, steps_of
from ..web.pictures import Picture, picture_of

#: most bytes and most pixels on a side of a picture
MOST_BYTES, MOST_PIXELS = 8 * 1024 * 1024, 4096
#: most characters of a text
MOST_CHARS = 200_000
#: most fields of an input that are parts of their own
_FIELDS = 40


@dataclass(frozen=True, slots=True)
class Part:
    """Something to see."""

    name: str  #: of the field; '' for the input itself
    kind: Literal["text", "data", "picture"]
    text: str = ""
    left_out: int = 0  #: characters that were too many
    picture: Picture | None = None

    def document(self) -> dict[str, Any]:
        """As the page gets it."""
        found: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.picture is not None:
            return found | {"picture": f"/pictures/{self.picture.name}"}
        return found | {"text": self.text, "left_out": self.left_out}


@dataclass(frozen=True, slots=True)
class Shown:
    """A request as a person sees it."""

    input: tuple[Part, ...]
    rest: tuple[Part, ...] = ()  #: what else the request says

    def picture(self, name: str) -> Picture | None:
        """The picture of this name, where it is one of it."""
        found = (part.picture for part in (*self.input, *self.rest) if part.picture is not None)
        return next((picture for picture in found if picture.name == name), None)


@dataclass(frozen=True, slots=True)
class Shape:
    """Which parts of a request mean what, as the settings say."""

    input: str = "input"  #: where the input stands; '' where the whole value is it
    hidden: frozenset[str] = frozenset()  #: fields that say nothing to people
    image: tuple[int, ...] = ()  #: of inputs that are flat lists


def show(document: Any, shape: Shape) -> Shown:  # noqa: ANN401  # a request may hold anything
    """What to see of a request's document, or of its bytes where they are none."""
    way = steps_of(shape.input)
    try:
        found = find(document, way)
    except LookupError:
        return Shown(_parts(document, shape))
    rest = _without(document, way) if way else None
    if isinstance(rest, dict):
        rest = {name: inner for name, inner in rest.items() if name not in shape.hidden}
    return Shown(_parts(found, shape), _parts(rest, shape) if rest else ())


def _without(value: Any, way: Steps) -> Any:  # noqa: ANN401  # an input may hold anything
    """The same without what stands there, and without what holds nothing else."""
    step, *further = way
    if not isinstance(value, dict):
        return value
    inner = _without(value[step], tuple(further)) if further else None
    rest = {name: one for name, one in value.items() if name != step}
    return (
        rest if inner is None or inner == {} else {name: inner if name == step else one for name, one in value.items()}
    )


def _parts(value: Any, shape: Shape) -> tuple[Part, ...]:  # noqa: ANN401  # an input may hold anything
    if isinstance(value, dict) and 0 < len(value) <= _FIELDS:
        return tuple(_part(name, inner, shape) for name, inner in value.items())
    return (_part("", value, shape),)


def _part(name: str, value: Any, shape: Shape) -> Part:  # noqa: ANN401  # an input may hold anything
    picture = None if isinstance(value, dict) else picture_of(value, shape.image, MOST_BYTES, MOST_PIXELS)
    if picture is not None:
        return Part(str(name)[:200], "picture", picture=picture)
    if isinstance(value, str | bytes):
        return _text(name, _words(value))
    try:
        text = orjson.dumps(value, default=_words, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # such as a whole number of more than 64 bits
        text = str(value)
    return _text(name, text, "data" if isinstance(value, dict | list) else "text")


def _words(value: Any) -> str:  # noqa: ANN401  # what is no JSON: bytes, and what Avro and Protobuf have besides
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _text(name: str, text: str, kind: Literal["text", "data"] = "text") -> Part:
    whole = text[:MOST_CHARS].encode(errors="replace").decode()  # half a sign is no text
    return Part(str(name)[:200], kind, whole, max(0, len(text) - MOST_CHARS))
