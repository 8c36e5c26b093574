"""Events that are no JSON, asked in batches: they travel as they came, and wait for their schema."""

from __future__ import annotations

import io
import struct
import time
from typing import Any

import orjson
import pytest
from aiohttp import web
from bisupervised.schemas.avro import is_avro
from fastavro import parse_schema, schemaless_writer
from support.batching import SOON_MISSED, overrides, provider
from support.bulk_server import LyingBulkServer
from support.pipeline import Sent, Setup, check_exactly_once, wait_until
from support.registry import FakeRegistry, framed
from support.threaded import served

SCHEMA = orjson.dumps(
    {
        "type": "record",
        "name": "Event",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "deadline_ms", "type": ["null", "long"], "default": None},
            {"name": "numbers", "type": {"type": "array", "items": "double"}},
        ],
    }
).decode()
PROTO = """syntax = "proto3";
message Event { int32 id = 1; repeated double numbers = 2; }"""
UNKNOWN = 99


def avro_event(registry: FakeRegistry, number: int, *, local: float = 0.5, deadline_ms: int | None = None) -> Sent:
    written = io.BytesIO()
    document = {"id": number, "deadline_ms": deadline_ms, "numbers": [number % 4, local, 0.9, 0]}
    schemaless_writer(written, parse_schema(orjson.loads(SCHEMA)), document)
    return Sent(framed(registry.register("requests-value", SCHEMA), written.getvalue()), b"key-%d" % (number % 7))


def asked(server: LyingBulkServer) -> list[Any]:
    """What the provider was asked, over all its batches."""
    bodies = [body for batch in server.batches.values() for _, body in batch.requests]
    return sorted(orjson.loads(body["messages"][-1]["content"]) for body in bodies)


@pytest.mark.long(20)
def test_events_in_avro_are_asked_in_batches_and_wait_for_their_schema_after_a_restart(setup: Setup) -> None:
    """The registry is away when another worker goes on with the batch: deadlines are kept, and answers wait."""
    server, registry = LyingBulkServer(takes_s=3600.0), FakeRegistry()
    with served(registry.app) as registry_url, provider(server) as url:
        request = {"format": "avro", "input": "numbers", "id": "id", "deadline_ms": "deadline_ms"}
        budget = {"calls": 1000, "per": "month", "when_spent": "accept_local"}
        _, pipeline = setup(
            partitions=1,
            **overrides(url),
            request=request,
            registry={"url": registry_url},
            results={"format": "avro"},
            budget=budget,
            kafka=SOON_MISSED,
        )
        victim = pipeline.ready_worker()
        soon_ms = round(time.time() * 1000) + 8_000
        hurried = pipeline.send([avro_event(registry, number, deadline_ms=soon_ms) for number in range(3)])
        sent = pipeline.send([avro_event(registry, number) for number in range(20)])
        bad = pipeline.send([Sent(framed(UNKNOWN, b"abc"), b"a"), Sent(b'{"id": 1}', b"b")])
        wait_until(lambda: len(asked(server)) == 23, "all are at the provider", explain=victim.tail)
        victim.kill()
        heir = pipeline.worker()
        heir.wait_for("batches_taken_over")
        registry.failing = web.Response(status=503)
        early = pipeline.wait_for_outcomes([*hurried, *bad])
        assert {outcome.kind for outcome in early} == {"timeout", "invalid_request"}
        for batch in server.batches.values():
            batch.ends = 0.0
        heir.wait_for("schema_unavailable")
        assert pipeline.records("answers") == []
        registry.failing = None
        outcomes = pipeline.settle([*hurried, *sent, *bad])
    check_exactly_once([*hurried, *sent, *bad], outcomes)
    found = {outcome.place: outcome for outcome in outcomes}
    assert {found[one.place].kind for one in sent} == {"remote"}
    assert [result.id for one in sent if (result := found[one.place].result)] == list(range(20))
    assert all(is_avro(record.value) for record in pipeline.records("results"))
    assert {record.value for record in pipeline.records("batched")} == {one.value for one in [*hurried, *sent]}
    assert asked(server) == sorted([float(number % 4), 0.5, 0.9, 0.0] for number in [*range(3), *range(20)])
    assert server.paid_twice == []


def test_events_in_protobuf_are_asked_in_batches(setup: Setup) -> None:
    server, registry = LyingBulkServer(), FakeRegistry()
    identity = registry.register("requests-value", PROTO, "PROTOBUF")
    with served(registry.app) as registry_url, provider(server) as url:
        request = {"format": "protobuf", "input": "numbers", "id": "id", "deadline_ms": ""}
        _, pipeline = setup(partitions=1, **overrides(url), request=request, registry={"url": registry_url})
        sent = pipeline.send([Sent(framed(identity, b"\0" + proto_event(number)), b"k") for number in range(5)])
        pipeline.worker()
        check_exactly_once(sent, pipeline.settle(sent))
        assert [outcome.kind for outcome in pipeline.outcomes()] == ["remote"] * 5
        assert asked(server) == sorted([number % 4, 0.5, 0.9, 0] for number in range(5))


def proto_event(number: int) -> bytes:
    """A message of `PROTO`, by hand: field 1 a varint, field 2 packed doubles."""
    packed = struct.pack("<4d", number % 4, 0.5, 0.9, 0.0)
    return b"\x08" + bytes([number]) + b"\x12" + bytes([len(packed)]) + packed
