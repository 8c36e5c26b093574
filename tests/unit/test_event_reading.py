"""What the bytes of events say: frames, Avro, Protobuf, text. confluent-kafka 2.16.1 wrote the framed ones."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from bisupervised.agents.events.avro import avro_reader
from bisupervised.agents.events.framing import data_of, message_of, schema_of
from bisupervised.agents.events.protobuf import protobuf_reader
from bisupervised.agents.events.reading import (
    NotReady,
    PlainReader,
    RegistryReader,
    as_framed_json,
    as_text,
    by_callable,
)
from bisupervised.agents.events.registry import Registry, RegistryUnavailable, Schema, SchemaUnknown
from bisupervised.agents.remote.sending import outbound
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.codec import Request, RequestFormat, decode_request
from bisupervised.schemas.errors import InvalidRequest, RemoteError
from support.records import Record

REVIEW = (
    '{"type": "record", "name": "Review", "namespace": "shop", "fields": [{"name": "id", "type": "long"}, '
    '{"name": "text", "type": "string"}, {"name": "stars", "type": ["null", "int"], "default": null}]}'
)
REVIEW_BYTES = bytes.fromhex("0000000001221c617272697665642062726f6b656e0204")
PRICED = orjson.dumps(
    {
        "type": "record",
        "name": "Review",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "text", "type": "string"},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    }
).decode()
CUSTOMER = '{"type": "record", "name": "Customer", "namespace": "shop", "fields": [{"name": "name", "type": "string"}]}'
ORDER = (
    '{"type": "record", "name": "Order", "namespace": "shop", "fields": '
    '[{"name": "text", "type": "string"}, {"name": "by", "type": "shop.Customer"}]}'
)
TREE = '{"type": "record", "name": "Tree", "fields": [{"name": "inner", "type": ["null", "Tree"]}]}'

PROTO = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
message Ignored { string x = 1; }
message Order {
  message Line { string product = 1; int32 count = 2; }
  int64 id = 1;
  string text = 2;
  repeated Line lines = 3;
  google.protobuf.Timestamp at = 4;
}
"""
#: the same as confluent-kafka registers it
DESCRIPTOR = (
    "CgpzaG9wLnByb3RvEgRzaG9wGh9nb29nbGUvcHJvdG9idWYvdGltZXN0YW1wLnByb3RvIhQKB0lnbm9yZWQSCQoBeBgBIAEoCSKSAQoFT3JkZXISCgoC"
    "aWQYASABKAMSDAoEdGV4dBgCIAEoCRIfCgVsaW5lcxgDIAMoCzIQLnNob3AuT3JkZXIuTGluZRImCgJhdBgEIAEoCzIaLmdvb2dsZS5wcm90b2J1Zi5U"
    "aW1lc3RhbXAaJgoETGluZRIPCgdwcm9kdWN0GAEgASgJEg0KBWNvdW50GAIgASgFYgZwcm90bzM="
)
ORDER_BYTES = bytes.fromhex("000000000102020880808080802012046c6174651a0a0a066b6574746c651002220608c0abd2cf06")
IGNORED_BYTES = bytes.fromhex("0000000001000a0161")
LINE_BYTES = bytes.fromhex("00000000010402000a0161")


def read(value: bytes, kind: str, schema: Schema) -> Any:
    return (avro_reader if kind == "AVRO" else protobuf_reader)(schema)(data_of(value))


# frames


def test_a_frame_names_its_schema() -> None:
    assert (schema_of(REVIEW_BYTES), data_of(b"\0\0\0\1\2rest")) == (1, b"rest")
    for plain in (b'{"input": 1}', b"", b"\0\0\0", b"\1\0\0\0\1"):
        assert schema_of(plain) is None
        with pytest.raises(InvalidRequest, match="not framed by a schema registry: it begins with"):
            data_of(plain)


@pytest.mark.parametrize("data", [b"", b"\x02", b"\xff\xff\xff\xff\xff\xff", b"\x01\x00", b"\x80\x08"])
def test_a_message_that_is_not_named(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="which message"):
        message_of(data)


# Avro


def test_avro_as_a_client_of_others_writes_it() -> None:
    assert read(REVIEW_BYTES, "AVRO", Schema("AVRO", REVIEW)) == {"id": 17, "text": "arrived broken", "stars": 2}


def test_what_json_does_not_have_becomes_text() -> None:
    value = bytes.fromhex("0000000002240866696e650404e280d8c7b6bc67")
    found = read(value, "AVRO", Schema("AVRO", PRICED))
    assert found == {"id": 18, "text": "fine", "price": "12.50", "at": "2026-05-01T12:00:00+00:00"}


def test_bytes_and_what_holds_them() -> None:
    schema = Schema("AVRO", '{"type": "map", "values": {"type": "array", "items": "bytes"}}')
    assert avro_reader(schema)(b"\x02\x02a\x02\x04\xff\xfe\x00\x00") == {"a": ["//4="]}


def test_a_schema_that_refers_to_another() -> None:
    schema = Schema("AVRO", ORDER, (("shop.Customer", CUSTOMER),))
    assert read(bytes.fromhex("0000000004086c61746506416e6e"), "AVRO", schema) == {
        "text": "late",
        "by": {"name": "Ann"},
    }


@pytest.mark.parametrize(
    "data", [b"", b"\x22", b"\x22\xff\xff\xff\xff\x0f", REVIEW_BYTES[5:-2] + b"\x08", b"\xff" * 40]
)
def test_what_is_not_of_its_schema(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not of its Avro schema"):
        avro_reader(Schema("AVRO", REVIEW))(data)


def test_bytes_that_are_left_over() -> None:
    with pytest.raises(InvalidRequest, match="3 bytes are left over"):
        avro_reader(Schema("AVRO", REVIEW))(REVIEW_BYTES[5:] + b"abc")


def test_data_that_is_deep_ends_no_process() -> None:
    """Read in C, 5,000 levels overflow its stack."""
    tree = avro_reader(Schema("AVRO", TREE))
    assert tree(b"\x02\x02\x00") == {"inner": {"inner": {"inner": None}}}
    with pytest.raises(InvalidRequest, match="RecursionError"):
        tree(b"\x02" * 100_000 + b"\x00")


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ("nonsense", "no Avro schema that can be used"),
        ('{"type": "record", "name": "R", "fields": [{"name": "x", "type": "Missing"}]}', "can be used"),
        ('{"type": "array", "items": "null"}', "take no bytes"),
        ('{"type": "array", "items": {"type": "record", "name": "E", "fields": []}}', "take no bytes"),
        (
            '{"type": "map", "values": {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}}',
            "no bytes",
        ),
        ('{"type": "array", "items": ' * 80 + '"int"' + "}" * 80, "more than 64 levels"),
    ],
)
def test_a_schema_that_cannot_be_used(schema: str, why: str) -> None:
    with pytest.raises(SchemaUnknown, match=why):
        avro_reader(Schema("AVRO", schema))


def test_a_list_of_items_that_take_bytes_can() -> None:
    schema = Schema("AVRO", '{"type": "array", "items": ["null", "int"]}')
    assert avro_reader(schema)(b"\x04\x00\x02\x06\x00") == [None, 3]


# Protobuf


@pytest.mark.parametrize("text", [PROTO, DESCRIPTOR])
def test_protobuf_as_a_client_of_others_writes_it(text: str) -> None:
    reads = protobuf_reader(Schema("PROTOBUF", text))
    assert reads(data_of(ORDER_BYTES)) == {
        "id": str(2**40),
        "text": "late",
        "lines": [{"product": "kettle", "count": 2}],
        "at": "2026-05-01T12:00:00Z",
    }
    assert reads(data_of(IGNORED_BYTES)) == {"x": "a"}
    assert reads(data_of(LINE_BYTES)) == {"product": "a", "count": 0}
    for wrong, why in ((b"\x02\x08", "has no message 4"), (b"\x02\x01", "no message"), (b"\x00\x0a\xff", "not of its")):
        with pytest.raises(InvalidRequest, match=why):
            reads(wrong)


def test_a_source_that_refers_to_another() -> None:
    source = 'syntax = "proto3"; import "shop/customer.proto"; message O { shop.Customer by = 1; }'
    customer = 'syntax = "proto3"; package shop; message Customer { string name = 1; }'
    reads = protobuf_reader(Schema("PROTOBUF", source, (("shop/customer.proto", customer),)))
    assert reads(b"\0\x0a\x05\x0a\x03Ann") == {"by": {"name": "Ann"}}


@pytest.mark.parametrize(
    ("text", "references", "why"),
    [
        ("nonsense", (), "no Protobuf source that can be used: value.proto:1:1"),
        ('syntax = "proto3"; import "/etc/hostname";', (), "can be used"),
        ('syntax = "proto3";', (("../outside.proto", ""),), "leads elsewhere"),
        (DESCRIPTOR, (("a.proto", 'syntax = "proto3";'),), "the other way round"),
        ("CgpzaG9wLnByb3RvGgNubw==", (), "can be used"),
    ],
)
def test_a_source_that_cannot_be_used(text: str, references: tuple[tuple[str, str], ...], why: str) -> None:
    with pytest.raises(SchemaUnknown, match=why):
        protobuf_reader(Schema("PROTOBUF", text, references))


# a registry, and what waits for it


class Asked:
    """A transport that gives what it was told to, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.paths: list[str] = []

    async def post(self, url: str, body: bytes, headers: Any, timeout_s: float, *, method: str = "POST") -> Response:
        self.paths.append(f"{method} {url}")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, document = answer
        return Response(status, {}, document if isinstance(document, bytes) else orjson.dumps(document))

    async def close(self) -> None:
        return

    @asynccontextmanager
    async def connected(self) -> Any:
        yield self


class Slept:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.began = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.began.set()
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def reader_of(*answers: Any, kind: Any = "AVRO") -> tuple[RegistryReader, Asked, Slept]:
    asked, slept = Asked(*answers), Slept()
    registry = Registry("http://registry", asked.connected, 1.0)
    return RegistryReader(kind, registry, clock=lambda: slept.now, sleep=slept.sleep), asked, slept


def message_with(schema: int) -> bytes:
    return b"\0" + schema.to_bytes(4) + REVIEW_BYTES[5:]


GOOD = (200, {"schema": REVIEW})
UNKNOWN = (404, {"error_code": 40403, "message": "Schema not found"})


async def test_a_schema_is_fetched_once() -> None:
    reader, asked, _ = reader_of(GOOD)
    with pytest.raises(NotReady):
        reader.read(REVIEW_BYTES)
    await asyncio.gather(*(reader.ready([REVIEW_BYTES, b"unframed", REVIEW_BYTES]) for _ in range(3)))
    assert asked.paths == ["GET http://registry/schemas/ids/1"]
    assert reader.read(REVIEW_BYTES)["id"] == 17
    with pytest.raises(InvalidRequest, match="not framed"):
        reader.read(b"unframed")


@pytest.mark.parametrize(
    "down",
    [
        RemoteError("connection lost"),
        (500, {"error_code": 50001, "message": "store"}),
        (404, b"<html>not this server</html>"),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
        (401, {"error_code": 401}),
        (200, {"id": 1}),
        (200, b"welcome"),
    ],
)
async def test_records_wait_while_the_registry_is_down(down: Any, caplog: pytest.LogCaptureFixture) -> None:
    reader, _, slept = reader_of(*[down] * 9, GOOD)
    await reader.ready([REVIEW_BYTES])
    assert reader.read(REVIEW_BYTES)["id"] == 17
    assert slept.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]
    told = [record.__dict__["action"] for record in caplog.records]
    assert told.count("schema_unavailable") == 2, "the first time, and after a minute"
    assert reader.waits_for == ""


async def test_why_records_wait_can_be_seen() -> None:
    reader, _, slept = reader_of((401, {}), (401, {}), GOOD)
    seen: list[tuple[str, tuple[int, float]]] = []

    async def look(seconds: float) -> None:
        seen.append((RequestFormat(reader=reader).trouble, reader.wait()))
        await slept.sleep(seconds)

    reader._sleep = look
    await reader.ready([REVIEW_BYTES, b"unframed", REVIEW_BYTES])
    told = (
        "records wait for schema 1: the registry answers 401 when it is asked for schema 1: see [registry] username "
        "and password (for 0 s)"
    )
    assert seen[0] == (told, (3, 0.0))
    assert seen[1][1] == (3, 0.5)
    assert RequestFormat(reader=reader).trouble == ""
    assert reader.wait() == (0, 0.0)


async def test_who_gives_up_waiting_is_not_counted_any_more() -> None:
    reader, _, slept = reader_of(*[(503, {})] * 1000)
    waiting = asyncio.create_task(reader.ready([REVIEW_BYTES] * 2))
    await slept.began.wait()
    assert reader.wait()[0] == 2
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert reader.wait()[0] == 0


async def test_a_known_schema_waits_where_its_batch_holds_an_unknown_one_and_goes_on_elsewhere() -> None:
    """Outcomes of a batch leave together and in order, so none of it overtakes."""
    reader, _, slept = reader_of(GOOD, *[(503, {})] * 1000)
    await reader.ready([REVIEW_BYTES])
    unknown = message_with(7)
    mixed = asyncio.create_task(reader.ready([REVIEW_BYTES, unknown]))
    await slept.began.wait()
    await reader.ready([REVIEW_BYTES])  # at once: nothing in it is unknown
    assert not mixed.done()
    assert reader.wait()[0] == 2
    mixed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await mixed


async def test_a_schema_that_is_unknown_is_about_the_record_and_asked_for_again_later() -> None:
    reader, asked, slept = reader_of(UNKNOWN, GOOD)
    await reader.ready([REVIEW_BYTES])
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="names schema 1, and the registry has no schema 1"):
            reader.read(REVIEW_BYTES)
        await reader.ready([REVIEW_BYTES])
    assert len(asked.paths) == 1
    slept.now += 61
    await reader.ready([REVIEW_BYTES])
    assert reader.read(REVIEW_BYTES)["id"] == 17


async def test_a_schema_of_another_kind() -> None:
    reader, _, _ = reader_of((200, {"schema": PROTO, "schemaType": "PROTOBUF"}))
    await reader.ready([REVIEW_BYTES])
    with pytest.raises(InvalidRequest, match="of kind PROTOBUF, not AVRO"):
        reader.read(REVIEW_BYTES)


async def test_what_a_schema_refers_to_comes_first() -> None:
    refers = [{"name": "b", "subject": "s/b", "version": 2}]
    asked = Asked(
        (200, {"schema": "a", "references": refers}),
        (200, {"schema": "b", "references": [{"name": "c", "subject": "c", "version": 1}]}),
        (200, {"schema": "c", "references": refers}),
    )
    schema = await Registry("http://registry", asked.connected, 1.0).schema(7)
    assert schema == Schema("AVRO", "a", (("c", "c"), ("b", "b")))
    assert asked.paths[1] == "GET http://registry/subjects/s%2Fb/versions/2"


async def test_what_a_schema_refers_to_may_be_missing() -> None:
    refers = [{"name": "b", "subject": "b", "version": 2}]
    asked = Asked((200, {"schema": "a", "references": refers}), (404, {"error_code": 40402}))
    with pytest.raises(SchemaUnknown, match="no version 2 of b, which it refers to"):
        await Registry("http://registry", asked.connected, 1.0).schema(7)


async def test_the_kinds_of_a_registry() -> None:
    asked = Asked((200, ["AVRO", "JSON"]), (200, {}), (503, b""))
    registry = Registry("http://registry", asked.connected, 1.0)
    assert await registry.kinds() == ["AVRO", "JSON"]
    for _ in range(2):
        with pytest.raises(RegistryUnavailable):
            await registry.kinds()


# requests of all formats


def test_requests_that_are_no_json() -> None:
    framed = PlainReader(as_framed_json)
    shape = RequestFormat("meta.text", "meta.n", "", reader=framed)
    found = decode_request(Record(b'\0\0\0\0\7{"meta": {"text": "a", "n": 1.5}}'), shape)
    assert (found.input, found.id) == ("a", "1.5")
    with pytest.raises(InvalidRequest, match="behind the frame is not JSON"):
        decode_request(Record(b"\0\0\0\0\7nonsense"), shape)
    whole = RequestFormat("", "", "", reader=PlainReader(as_text))
    assert decode_request(Record("é".encode()), whole).input == "é"
    with pytest.raises(InvalidRequest, match="the value is not UTF-8 text"):
        decode_request(Record(b"\xff\xff"), whole)
    with pytest.raises(InvalidRequest, match="tombstone"):
        decode_request(Record(None), whole)


def test_a_function_of_ones_own() -> None:
    def half(value: bytes) -> dict[str, float]:
        return {"input": struct.unpack("<f", value)[0]}

    shape = RequestFormat(reader=PlainReader(by_callable(half, "my:half")))
    assert decode_request(Record(struct.pack("<f", 0.5)), shape).input == 0.5
    with pytest.raises(InvalidRequest, match="my:half cannot read the value: error: unpack requires"):
        decode_request(Record(b"abc"), shape)


def test_bytes_leave_as_base64() -> None:
    assert outbound(Request(b"\xff", b"\xff", None, None), ()) == "/w=="
