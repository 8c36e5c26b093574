"""What bytes are that should be UTF-8 text, and JSON of others as it stands. No I/O.

A byte order mark is no fault: it is dropped. What is no UTF-8 text at all is named, where its first bytes tell.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from .decoding import decoded

#: what some editors and spreadsheets write before UTF-8 text
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: bytes that are looked at: the longest beginning that tells something
_HEAD = 64
_UNPACK = "unpack it first"
_CONVERT = "save it as UTF-8"
#: by their first bytes; what begins with another's beginning comes first
_BEGINNINGS = (
    (b"\xff\xfe\x00\x00", f"UTF-32 text: {_CONVERT}"),
    (b"\x00\x00\xfe\xff", f"UTF-32 text: {_CONVERT}"),
    (b"\xff\xfe", f"UTF-16 text: {_CONVERT}"),
    (b"\xfe\xff", f"UTF-16 text: {_CONVERT}"),
    (b"\x1f\x8b", f"compressed by gzip: {_UNPACK}"),
    (b"PK\x03\x04", f"a zip archive, or a spreadsheet such as .xlsx: {_UNPACK}, or save it as CSV"),
    (b"\x28\xb5\x2f\xfd", f"compressed by zstd: {_UNPACK}"),
    (b"BZh", f"compressed by bzip2: {_UNPACK}"),
    (b"\xfd7zXZ\x00", f"compressed by xz: {_UNPACK}"),
    (b"\x04\x22\x4d\x18", f"compressed by lz4: {_UNPACK}"),
    (b"\xff\x06\x00\x00sNaPpY", f"compressed by snappy: {_UNPACK}"),
    (b"\x82SNAPPY\x00", f"compressed by snappy: {_UNPACK}"),
    (b"\x78\x9c", f"compressed by zlib: {_UNPACK}"),
    (b"\x78\xda", f"compressed by zlib: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive: {_UNPACK}"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet (.xls): save it as CSV"),
    (b"PAR1", "Parquet: name the file .parquet"),
    (b"Obj\x01", "an Avro file: write it as JSON Lines"),
    (b"\xac\xed\x00\x05", "a serialized Java object: write JSON"),
)


class NotText(ValueError):
    """Bytes that are no UTF-8 text. The message says what they are and what to do, as far as that is known."""


def named(data: bytes) -> str:
    """What bytes are that are no text, and what to do; '' where their beginning does not tell."""
    for beginning, name in _BEGINNINGS:
        if data.startswith(beginning):
            return name
    if len(data) >= 8:
        if _every_other_is_zero(data):
            return f"UTF-16 text: {_CONVERT}"
        if any(not any(data[side : side + 3]) and not any(data[side + 4 : side + 7]) for side in (0, 1)):
            return f"UTF-32 text: {_CONVERT}"
    if len(data) > 5 and data[0] == 0:
        schema = int.from_bytes(data[1:5])
        return (
            f"framed by a schema registry (magic byte 0, schema {schema}): produce plain JSON, without its serializer"
        )
    return ""


def _every_other_is_zero(data: bytes) -> bool:
    """As in UTF-16 without a mark, where most text is ASCII."""
    head = data[: min(len(data) & ~1, _HEAD)]
    return any(not any(head[side::2]) and all(head[1 - side :: 2]) for side in (0, 1))


def without_mark(data: bytes) -> bytes:
    """The same without a byte order mark."""
    return data.removeprefix(BYTE_ORDER_MARK)


def text_of(data: bytes) -> str:
    """UTF-8 text, without a byte order mark. Raises `NotText`."""
    try:
        text = without_mark(data).decode()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise NotText(f"is {named(data) or f'not UTF-8 text (at line {line})'}") from error
    if "\0" in text[:_HEAD] and (name := named(data)):
        raise NotText(f"is {name}")
    return text


def json_of(data: bytes) -> Any:  # noqa: ANN401  # any JSON value
    """A document of JSON, with or without a byte order mark.

    Raises `orjson.JSONDecodeError`, or `NotText` where it is known what else it is.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if data.startswith(BYTE_ORDER_MARK):
            return orjson.loads(without_mark(data))
        if name := named(data):
            raise NotText(f"is {name}") from error
        raise


def verbatim(data: bytes, *steps: str) -> str | None:
    """What stands in a JSON document on this way (`field_paths`), as it is written there; None where nothing does.

    A number that no 64 bits hold, and one with a fraction, is another after it was parsed: its text is not.
    """
    try:
        written: Any = _inside(without_mark(data), steps)
        return bytes(written).decode()
    except (LookupError, ValueError):  # the latter also of msgspec, and of what is no text
        return None


def _inside(document: Any, steps: tuple[str, ...]) -> Any:  # noqa: ANN401  # bytes, or a view of them
    for step in steps:
        parts = decoded(_parts, document)
        document = parts[step] if isinstance(parts, dict) else parts[int(step)]
    return document


_parts = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw])
