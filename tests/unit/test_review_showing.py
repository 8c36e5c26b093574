"""What of a request a person sees."""

from __future__ import annotations

import base64
from datetime import date
from decimal import Decimal

import numpy as np
import orjson
import pytest
from bisupervised.streams.review.showing import MOST_BYTES, MOST_CHARS, Shape, show
from bisupervised.streams.web.pictures import _png

PNG = _png(np.zeros((4, 4), dtype=np.uint8))
JPEG = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x20" + b"\x00" * 20
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'


def encoded(body: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(body).decode()}"


def kinds(value: object, **shape: object) -> list[tuple[str, str]]:
    found = show({"input": value}, Shape(**shape))  # type: ignore[arg-type]  # a test's own
    return [(part.name, part.kind) for part in found.input]


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("hello", [("", "text")]),
        (3, [("", "text")]),
        (None, [("", "text")]),
        ([], [("", "data")]),
        ({}, [("", "data")]),
        ([1, 2, 3], [("", "data")]),
        ({"title": "a", "tags": [1]}, [("title", "text"), ("tags", "data")]),
        (encoded(PNG), [("", "picture")]),
        (encoded(JPEG), [("", "picture")]),
        ({"photo": encoded(PNG), "title": "a"}, [("photo", "picture"), ("title", "text")]),
        (encoded(SVG), [("", "text")]),
        (encoded(b"GIF89a" + b"\x00" * 20), [("", "text")]),
        (encoded(b"\x89PNG\r\n\x1a\n" + SVG), [("", "text")]),
        (encoded(PNG + b"\x00" * MOST_BYTES), [("", "text")]),
        ("<script>alert(1)</script>", [("", "text")]),
        (PNG, [("", "picture")]),
        ([10**30, "\ud800"], [("", "data")]),
        ("\ud800", [("", "text")]),
        (SVG, [("", "text")]),
        (PNG + b"\x00" * MOST_BYTES, [("", "text")]),
        (
            {"amount": Decimal("1.5"), "raw": [b"\xff"], "when": {1: date(2026, 1, 2)}},
            [("amount", "text"), ("raw", "data"), ("when", "data")],
        ),
    ],
)
def test_only_what_is_a_png_or_a_jpeg_by_its_bytes_is_a_picture(value: object, seen: list[tuple[str, str]]) -> None:
    assert kinds(value) == seen


def test_a_flat_list_is_a_picture_where_the_settings_give_its_shape() -> None:
    assert kinds([0.5] * 64, image=(8, 8)) == [("", "picture")]
    assert kinds([0.5] * 64) == [("", "data")]


def test_what_else_the_request_says_is_beside_it() -> None:
    value = {"input": "a", "id": 7, "deadline_ms": 1, "shop": {"name": "north"}}
    found = show(value, Shape(hidden=frozenset({"deadline_ms"})))
    assert [part.text for part in found.input] == ["a"]
    assert [(part.name, part.kind) for part in found.rest] == [("id", "text"), ("shop", "data")]
    whole = show(value, Shape(input=""))
    assert [part.name for part in whole.input] == ["input", "id", "deadline_ms", "shop"]
    assert whole.rest == ()


def test_an_input_may_stand_anywhere() -> None:
    value = {"op": "u", "payload": {"after": {"text": "a"}, "before": None}, "list": [{"text": "b"}]}
    found = show(value, Shape(input="payload.after.text"))
    assert [part.text for part in found.input] == ["a"]
    assert [(part.name, orjson.loads(part.text) if part.kind == "data" else part.text) for part in found.rest] == [
        ("op", "u"),
        ("payload", {"before": None}),
        ("list", [{"text": "b"}]),
    ]
    assert [part.text for part in show(value, Shape(input="list.0.text")).input] == ["b"]
    assert [part.name for part in show(value, Shape(input="payload.text")).input] == ["op", "payload", "list"]


def test_what_is_no_json_is_a_text_and_what_is_long_is_cut_and_says_so() -> None:
    assert show(b"\xff<b>", Shape()).input[0].text == "\ufffd<b>"
    (part,) = show(({"input": "x" * (MOST_CHARS + 5)}), Shape()).input
    assert (len(part.text), part.left_out) == (MOST_CHARS, 5)
    assert len(show(({"input": {f"f{n}": n for n in range(1000)}}), Shape()).input) == 1


def test_a_picture_is_found_by_its_name_alone() -> None:
    found = show(({"input": encoded(PNG)}), Shape())
    (part,) = found.input
    assert part.picture is not None
    assert found.picture(part.picture.name) == part.picture
    assert part.picture.media_type == "image/png"
    assert part.picture.body == PNG
    assert found.picture("another") is None
    assert "text" not in part.document()
