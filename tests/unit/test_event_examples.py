"""The configurations in `examples/events` read the events of others: change events and CloudEvents."""

from __future__ import annotations

from pathlib import Path

import pytest
from bisupervised.agents.remote.sending import outbound
from bisupervised.schemas.codec import Request, decode_request
from bisupervised.schemas.errors import InvalidRequest
from bisupervised.streams.events.making import request_format
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker.protocols import make_protocol
from support.records import Record

EXAMPLES = Path(__file__).parents[2] / "examples" / "events"

# the form of Debezium 3.0's PostgreSQL connector, without and with schemas
ROW = '{"id": 1001, "product": "kettle", "text": "arrived broken"}'
SOURCE = (
    '{"version": "3.0.5.Final", "connector": "postgresql", "name": "shop", "ts_ms": 1714000000000, "table": "reviews"}'
)
CHANGE = (
    f'{{"before": null, "after": {ROW}, "source": {SOURCE}, "op": "c", "ts_ms": 1714000000142, "transaction": null}}'
)
DELETED = f'{{"before": {ROW}, "after": null, "source": {SOURCE}, "op": "d", "ts_ms": 1714000000142}}'

# written by the package cloudevents 1.13.0, `to_binary` and `to_structured` of cloudevents.kafka
BINARY = Record(
    b'{"review": {"text": "arrived broken", "stars": 2}, "customer": 17}',
    key=b"cust-17",
    headers=[
        ("content-type", b"application/json"),
        ("ce_type", b"com.example.review.written"),
        ("ce_source", b"/shop/reviews"),
        ("ce_id", b"A234-1234-1234"),
        ("ce_time", b"2026-05-01T12:00:00Z"),
        ("ce_specversion", b"1.0"),
    ],
)
STRUCTURED = Record(
    b'{"type": "com.example.review.written", "source": "/shop/reviews", "id": "A234-1234-1234", '
    b'"time": "2026-05-01T12:00:00Z", "datacontenttype": "application/json", "partitionkey": "cust-17", '
    b'"specversion": "1.0", "data": {"review": {"text": "arrived broken", "stars": 2}, "customer": 17}}',
    key=b"cust-17",
    headers=[("content-type", b"application/json")],
)


def settings_of(name: str) -> Settings:
    return load_settings(EXAMPLES / f"{name}.toml")


def read(record: Record, settings: Settings) -> Request:
    return decode_request(record, request_format(settings))


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.toml")))
def test_each_is_a_configuration(name: str) -> None:
    make_protocol(settings_of(name).remote)


@pytest.mark.parametrize(("name", "record"), [("cloudevents_binary", BINARY), ("cloudevents_structured", STRUCTURED)])
def test_a_cloud_event(name: str, record: Record) -> None:
    found = read(record, settings_of(name))
    assert (found.input, found.id, found.deadline_ms) == ("arrived broken", "A234-1234-1234", None)


def test_events_of_plain_text() -> None:
    found = read(Record(b"arrived broken", headers=[("review-id", b"r-1")]), settings_of("text"))
    assert (found.input, found.id) == ("arrived broken", "r-1")


def test_events_with_a_registrys_bytes_before_their_json() -> None:
    found = read(
        Record(b'\x00\x00\x00\x00\x07{"id": 7, "review": {"text": "arrived broken"}}'), settings_of("json_registry")
    )
    assert (found.input, found.id) == ("arrived broken", 7)


def test_events_of_any_bytes_leave_as_base64() -> None:
    settings = settings_of("image_bytes")
    found = read(Record(b"\x89PNG\xff", headers=[("picture-id", b"p-1")]), settings)
    assert (found.input, found.id) == (b"\x89PNG\xff", "p-1")
    body = make_protocol(settings.remote).build([outbound(found, settings.remote.send)]).body
    assert body == b'{"image":"iVBOR/8="}'


def test_events_of_a_format_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    settings = settings_of("own_format")
    found = read(Record(b"17;late;arrived; broken"), settings)
    assert (found.input, found.id) == ("arrived; broken", 17)
    with pytest.raises(InvalidRequest, match="own_format:read cannot read the value: ValueError"):
        read(Record(b"no number"), settings)


def test_a_change_event_and_what_leaves_of_it() -> None:
    settings = settings_of("debezium")
    found = read(Record(CHANGE.encode()), settings)
    assert (found.input, found.id) == ("arrived broken", 1001)
    sent = outbound(found, settings.remote.send)
    assert sent == {"after.text": "arrived broken", "after.product": "kettle"}
    body = make_protocol(settings.remote).build([sent]).body
    assert b"A customer writes about kettle: arrived broken" in body


def test_a_change_event_with_its_schema() -> None:
    request = settings_of("debezium").request
    update = {"input": f"payload.{request.input}", "id": f"payload.{request.id}"}
    settings = settings_of("debezium")
    inside = settings.model_copy(update={"request": request.model_copy(update=update)})
    found = read(Record(f'{{"schema": {{"type": "struct"}}, "payload": {CHANGE}}}'.encode()), inside)
    assert (found.input, found.id) == ("arrived broken", 1001)
    with pytest.raises(InvalidRequest, match=r"there is 'payload.after.text'|the value has payload, schema"):
        read(Record(f'{{"schema": {{"type": "struct"}}, "payload": {CHANGE}}}'.encode()), settings)


def test_a_deleted_row_is_no_request() -> None:
    with pytest.raises(InvalidRequest, match=r"no field 'after.text'; the value has after, before, op"):
        read(Record(DELETED.encode()), settings_of("debezium"))
    with pytest.raises(InvalidRequest, match="tombstone"):
        read(Record(None), settings_of("debezium"))
