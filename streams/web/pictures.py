"""Finding pictures in inputs. Records may hold anything: only what is certainly a small picture is shown.

A text is a PNG or JPEG in base64, with or without `data:image/…;base64,`. Its first bytes decide, not its label. A list
of rows of numbers is a grey picture, rows of triples are a colour picture, and a flat list is a picture where the
settings give its shape. Of an input that is an object, the first field that is a picture is shown.
"""

from __future__ import annotations

import base64
import struct
import zlib
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...schemas.encodings import json_of
from ...schemas.field_paths import find, steps_of

#: most bytes of a picture
MOST_BYTES = 64 * 1024
#: most pixels on a side: a small file may decode to a huge picture
MOST_PIXELS = 2048
#: pixels on a side of a picture that is drawn from numbers
_LEAST_DRAWN, _MOST_DRAWN = 4, 256
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
#: JPEG segments that say the size of the picture
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Picture(NamedTuple):
    """A picture that may be sent to a browser."""

    name: str  #: digest of its content
    media_type: str
    body: bytes


class Gallery:
    """The pictures of the records that the page shows now. Each is decoded once."""

    def __init__(self, input_field: str, shape: tuple[int, ...] = ()) -> None:
        self._way = steps_of(input_field)
        self._shape = shape
        self._found: dict[str, Picture | None] = {}
        self._by_name: dict[str, Picture] = {}

    def show(self, values: dict[str, bytes]) -> dict[str, str]:
        """Replace the pictures by those of these records. Takes values by source, returns pictures' names by source."""
        self._found = {
            source: self._found[source] if source in self._found else self._picture(value)
            for source, value in values.items()
        }
        self._by_name = {picture.name: picture for picture in self._found.values() if picture is not None}
        return {source: picture.name for source, picture in self._found.items() if picture is not None}

    def get(self, name: str) -> Picture | None:
        """The picture of this name; None where it is not shown now."""
        return self._by_name.get(name)

    def _picture(self, value: bytes) -> Picture | None:
        try:
            document = json_of(value)
        except ValueError:  # both that it is no JSON and that it is known to be something else
            return picture_of(value)  # with [request] format = "bytes" it may be one
        if isinstance(document, dict):
            try:
                document = find(document, self._way)
            except LookupError:
                return None
        return picture_of(document, self._shape)


def picture_of(
    value: Any,  # noqa: ANN401  # an input may hold anything
    shape: tuple[int, ...] = (),
    most_bytes: int = MOST_BYTES,
    most_pixels: int = MOST_PIXELS,
) -> Picture | None:
    """The picture in an input: the input itself, or its first field that is one."""
    candidates = value.values() if isinstance(value, dict) else (value,)
    for candidate in candidates:
        if isinstance(candidate, bytes):
            found = _checked(candidate, most_bytes, most_pixels)
        else:
            text = isinstance(candidate, str)
            found = _encoded(candidate, most_bytes, most_pixels) if text else _drawn(candidate, shape)
        if found is not None:
            return _named(*found)
    return None


def _named(media_type: str, body: bytes) -> Picture:
    return Picture(blake2b(body, digest_size=16).hexdigest(), media_type, body)


def _encoded(text: str, most_bytes: int, most_pixels: int) -> tuple[str, bytes] | None:
    """Media type and bytes of a picture in base64; None where the text is none."""
    head, comma, data = text.partition(",")
    encoded = data if comma and head.startswith("data:image/") else text
    if len(encoded) > most_bytes * 4 // 3 + 4:
        return None
    try:
        body = base64.b64decode(encoded, validate=True)
    except ValueError:
        return None
    return _checked(body, most_bytes, most_pixels)


def _checked(body: bytes, most_bytes: int, most_pixels: int) -> tuple[str, bytes] | None:
    media_type, size = _recognised(body)
    fits = len(body) <= most_bytes and all(0 < side <= most_pixels for side in size)
    return (media_type, body) if fits else None


def _recognised(body: bytes) -> tuple[str, tuple[int, int]]:
    """Media type, width and height by the first bytes; a size of 0 where it is no picture."""
    if body.startswith(_PNG) and body[12:16] == b"IHDR" and len(body) >= 24:
        width, height = struct.unpack(">II", body[16:24])
        return "image/png", (width, height)
    if body.startswith(_JPEG):
        return "image/jpeg", _jpeg_size(body)
    return "", (0, 0)


def _jpeg_size(body: bytes) -> tuple[int, int]:
    """Width and height in the first frame segment; (0, 0) without one."""
    place = 2
    while place + 9 <= len(body) and body[place] == 0xFF:
        marker, length = body[place + 1], int.from_bytes(body[place + 2 : place + 4], "big")
        if marker in _FRAMES:
            height, width = struct.unpack(">HH", body[place + 5 : place + 9])
            return width, height
        place += 2 + length
    return 0, 0


def _drawn(value: Any, shape: tuple[int, ...]) -> tuple[str, bytes] | None:  # noqa: ANN401  # an input may hold anything
    """Media type and bytes of a PNG that shows the numbers; None where they are not the rows of a picture."""
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_DRAWN**2 * 3:
        return None
    try:
        pixels = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if pixels.ndim == 1 and shape and pixels.size == int(np.prod(shape)):
        pixels = pixels.reshape(shape)
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    if not (pixels.ndim == 2 or colour) or not np.isfinite(pixels).all():
        return None
    if not all(_LEAST_DRAWN <= side <= _MOST_DRAWN for side in pixels.shape[:2]):
        return None
    return "image/png", _png(_levels(pixels))


def _levels(pixels: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Grey levels 0 to 255. Numbers within 0..1 or 0..255 keep that scale; others are scaled from least to greatest."""
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    with np.errstate(over="ignore", invalid="ignore"):  # a hostile record may hold extreme numbers
        scaled = (pixels - low) / (high - low) * 255
    return np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0).round().clip(0, 255).astype(np.uint8)


def _png(levels: NDArray[np.uint8]) -> bytes:
    """A PNG with eight bits for each channel, grey or RGB, rows unfiltered (https://www.w3.org/TR/png-3/)."""
    height, width = levels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if levels.ndim == 3 else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
