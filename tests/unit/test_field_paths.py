"""Where a part of a request stands: `payload.after.text`."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from bisupervised.schemas.codec import RequestFormat, decode_request
from bisupervised.schemas.errors import InvalidRequest
from bisupervised.schemas.field_paths import Steps, find, path_of, place, steps_of
from support.records import Record

EVENT = {"meta": {"id": 7, "until": 9}, "messages": [{"text": "first"}, {"text": "second"}], "a.b": {"c\\d": 1}, "n": 5}


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("", ()),
        ("input", ("input",)),
        ("payload.after.text", ("payload", "after", "text")),
        ("messages.0.text", ("messages", "0", "text")),
        (r"a\.b", ("a.b",)),
        (r"a\.b.c\\d", ("a.b", "c\\d")),
        ("ein Wort.größe", ("ein Wort", "größe")),
    ],
)
def test_a_path_and_its_steps(path: str, steps: Steps) -> None:
    assert steps_of(path) == steps
    assert path_of(steps) == path


@pytest.mark.parametrize("path", [".", "a.", ".a", "a..b", "a\\", r"a\b", r"a\.b."])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="fields with a dot between each two"):
        steps_of(path)


@pytest.mark.parametrize(
    ("path", "there"), [("messages.1.text", "second"), (r"a\.b.c\\d", 1), ("meta", EVENT["meta"]), ("", EVENT)]
)
def test_what_stands_there(path: str, there: Any) -> None:
    assert find(EVENT, steps_of(path)) == there


@pytest.mark.parametrize(
    "path", ["messages.2.text", "messages.-1", "messages.text", "n.x", "a.b", "messages.99999", "meta.0"]
)
def test_nothing_stands_there(path: str) -> None:
    with pytest.raises(LookupError):
        find(EVENT, steps_of(path))


def test_a_value_is_put_where_it_is_found() -> None:
    document: dict[str, Any] = {"list": [1], "meta": {"kept": True}, "flat": 3}
    for path in ("input", "meta.id", "list.2.text", "list.name", "flat.deep.0", r"a\.b"):
        place(document, steps_of(path), path)
        assert find(document, steps_of(path)) == path
    assert document["meta"] == {"kept": True, "id": "meta.id"}


SHAPE = RequestFormat("messages.1.text", "meta.id", "meta.until")


def test_a_request_with_its_parts_further_in() -> None:
    found = decode_request(Record(orjson.dumps(EVENT)), SHAPE)
    assert (found.input, found.id, found.deadline_ms, found.document) == ("second", 7, 9, EVENT)


def test_a_list_has_parts_as_well() -> None:
    found = decode_request(Record(b'[{"text": "a"}, 3]'), RequestFormat("0.text", "1", ""))
    assert (found.input, found.id, found.deadline_ms) == ("a", 3, None)


@pytest.mark.parametrize("written", ["17.0", "12345678901234567890123", "[1, 2]"])
def test_an_id_further_in_is_kept_as_it_is_written(written: str) -> None:
    value = f'{{"l": [0, {{"id":  {written} }}], "input": 1}}'.encode()
    assert decode_request(Record(value), RequestFormat(id="l.1.id")).id == written


@pytest.mark.parametrize("event", [{"text": 1}, {"text": 1, "meta": None}, {"text": 1, "meta": {"id": None}}])
def test_a_request_needs_neither_of_the_others(event: object) -> None:
    found = decode_request(Record(orjson.dumps(event)), RequestFormat("text", "meta.id", "meta.until"))
    assert (found.input, found.id, found.deadline_ms) == (1, None, None)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"payload": {"after": {"body": "x", "id": 1}}}, "; payload.after has body, id$"),
        ({"payload": {"after": None}}, "; payload has after$"),
        ({"payload": {"after": [1, 2]}}, "; payload.after is a list of 2$"),
        ({"payload": 3}, "; payload is no object$"),
        ({"payload": {}}, "; payload is an empty object$"),
        ([1], "; the value is a list of 1$"),
        ({str(n): n for n in range(20)}, "; the value has 0, 1, 10, 11, 12, 13, 14, 15, …$"),
        ({"payload.after.text": 1}, r"has a dot in it: write it as 'payload\\\\.after\\\\.text'$"),
    ],
)
def test_where_the_way_ends_is_told(event: object, said: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"^the value has no field 'payload\.after\.text'.*{said}"):
        decode_request(Record(orjson.dumps(event)), RequestFormat("payload.after.text"))


def test_a_deadline_further_in_must_be_one_and_the_header_wins() -> None:
    shape = RequestFormat("n", "", "meta.until")
    with pytest.raises(InvalidRequest, match="deadline"):
        decode_request(Record(b'{"n": 1, "meta": {"until": "soon"}}'), shape)
    late = Record(b'{"n": 1, "meta": {"until": "soon"}}', headers=[(shape.deadline_header, b"7")])
    assert decode_request(late, shape).deadline_ms == 7


@pytest.mark.parametrize("shape", [RequestFormat(id_header="ce_id"), RequestFormat("", id_header="ce_id")])
def test_an_id_in_a_header_wins(shape: RequestFormat) -> None:
    value = b'{"input": 1, "id": 2}'
    assert decode_request(Record(value, headers=[("ce_id", b"A-1")]), shape).id == "A-1"
    assert decode_request(Record(value, headers=[("ce_id", b"\xff")]), shape).id == "�"
    assert decode_request(Record(value, headers=[("other", b"A-1")]), shape).id == (2)
    assert decode_request(Record(b"[1]", headers=[("ce_id", b"A-1")]), RequestFormat("", id_header="ce_id")).id == "A-1"
