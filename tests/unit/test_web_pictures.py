from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import orjson
import pytest
from bisupervised.streams.web.pictures import MOST_BYTES, Gallery, Picture, picture_of


def png(width: int = 2, height: int = 2) -> bytes:
    """The beginning of a PNG, which is all that is looked at."""
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(5)


def jpeg(width: int = 3, height: int = 2) -> bytes:
    comment = b"\xff\xfe\x00\x04hi"
    return b"\xff\xd8" + comment + b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", height, width) + bytes(6)


def text(body: bytes, head: str = "") -> str:
    return head + base64.b64encode(body).decode()


def pixels(picture: Picture | None) -> tuple[tuple[int, int, int], list[int]]:
    """Width, height and kind of colour, and the bytes of the rows."""
    assert picture is not None
    assert picture.media_type == "image/png"
    width, height, _, kind = struct.unpack(">IIBB", picture.body[16:26])
    size = int.from_bytes(picture.body[33:37], "big")
    rows = zlib.decompress(picture.body[41 : 41 + size])
    step = width * (3 if kind == 2 else 1) + 1
    return (width, height, kind), [level for at in range(height) for level in rows[at * step + 1 : (at + 1) * step]]


@pytest.mark.parametrize("head", ["", "data:image/png;base64,", "data:image/svg+xml;base64,"])
@pytest.mark.parametrize(("body", "kind"), [(png(), "image/png"), (jpeg(), "image/jpeg")])
def test_a_text_is_the_picture_that_its_bytes_say_whatever_its_label(head: str, body: bytes, kind: str) -> None:
    found = picture_of(text(body, head))
    assert found is not None
    assert (found.media_type, found.body) == (kind, body)


HOSTILE = (
    "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    text(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "data:image/svg+xml;base64,"),
    text(b"<html><script>alert(1)</script>", "data:text/html;base64,"),
    text(b"GIF89a" + bytes(64)),
    "data:image/png;base64,@@@",
    "data:image/png,plain",
    text(png()[:20]),
    text(png(100_000, 100_000)),
    text(png(0, 5)),
    text(jpeg(60_000, 60_000)),
    text(b"\xff\xd8\xff" + bytes(20)),
    text(b"\xff\xd8\xff\xe0\x00\x00" * 9),
    text(png() + bytes(MOST_BYTES)),
    "é" * 100,
    "",
)


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_not_surely_a_small_picture_is_none(value: str) -> None:
    assert picture_of(value) is None
    assert picture_of({"image": value}) is None


def test_rows_of_numbers_are_a_picture_in_grey() -> None:
    rows = [[0.0, 0.5, 1.0, 0.0], *[[1.0] * 4] * 3]
    size, levels = pixels(picture_of(rows))
    assert size == (4, 4, 0)
    assert levels[:4] == [0, 128, 255, 0]


def test_rows_of_triples_are_a_picture_in_colour() -> None:
    size, levels = pixels(picture_of([[[255, 0, 127]] * 5] * 4))
    assert size == (5, 4, 2)
    assert levels[:3] == [255, 0, 127]


def test_other_numbers_are_shown_between_their_extremes() -> None:
    _, levels = pixels(picture_of([[-3, 1, 1, 5]] * 4))
    assert levels[:4] == [0, 128, 128, 255]


def test_a_flat_list_is_a_picture_where_the_settings_give_its_shape() -> None:
    flat = [0.25] * 20
    assert picture_of(flat) is None
    assert pixels(picture_of(flat, (4, 5)))[0] == (5, 4, 0)
    assert picture_of(flat, (4, 4)) is None


@pytest.mark.parametrize(
    "value",
    [
        [],
        [[]],
        [[1, 2], [3]],
        [["a"] * 4] * 4,
        [[None] * 4] * 4,
        [[{}] * 4] * 4,
        [[1, 2]] * 2,
        [[1] * 300] * 4,
        [[10**400] * 4] * 4,
        [[[1, 2]] * 4] * 4,
        5,
        None,
        True,
    ],
    ids=str,
)
def test_other_lists_are_no_pictures(value: Any) -> None:
    assert picture_of(value) is None


def test_numbers_of_any_size_make_bytes() -> None:
    assert pixels(picture_of([[-1.7e308, 1.7e308, 0, 0]] * 4))[0] == (4, 4, 0)


def test_a_picture_in_a_field_is_found() -> None:
    found = picture_of({"caption": "a cat", "image": text(png())})
    assert found is not None
    assert found.body == png()


def test_a_gallery_shows_what_was_hung_last_and_nothing_else() -> None:
    gallery = Gallery("input")
    value = orjson.dumps({"input": text(png())})
    names = gallery.show({"r-0-1": value, "r-0-2": b"not json", "r-0-3": b'{"input": 1}'})
    assert list(names) == ["r-0-1"]
    shown = gallery.get(names["r-0-1"])
    assert shown is not None
    assert shown.body == png()
    gallery.show({})
    assert gallery.get(names["r-0-1"]) is None


def test_a_picture_further_in_is_found() -> None:
    gallery = Gallery("data.image")
    value = orjson.dumps({"data": {"image": text(png())}})
    assert list(gallery.show({"r-0-1": value, "r-0-2": b'{"data": 1}', "r-0-3": b"[1]"})) == ["r-0-1"]


def test_the_whole_value_may_be_the_input() -> None:
    assert Gallery("").show({"r-0-1": orjson.dumps([[0] * 4] * 4)})


def test_a_value_of_bytes_may_be_a_picture() -> None:
    gallery = Gallery("")
    values = {"png": png(), "jpeg": jpeg(), "large": png(5000, 1), "avro": b"\0\0\0\0\1\x04hi"}
    assert gallery.show(values).keys() == {"png", "jpeg"}
