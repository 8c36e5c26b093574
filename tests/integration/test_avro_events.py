"""Events in Avro: they wait for their schema while the registry is down, and travel as they came."""

from __future__ import annotations

import io
import re
from urllib.error import HTTPError
from urllib.request import urlopen

import orjson
from aiohttp import web
from fastavro import parse_schema, schemaless_writer
from support.pipeline import Pipeline, Sent, Setup, check_exactly_once, wait_until
from support.registry import FakeRegistry, framed
from support.threaded import served

FIELDS = '{"name": "numbers", "type": {"type": "array", "items": "double"}}'
EVENT = (
    '{"type": "record", "name": "Event", "fields": [{"name": "id", "type": "long"}, {"name": "body", "type": '
    f'{{"type": "record", "name": "Body", "fields": [{FIELDS}]}}}}]}}'
)
#: a later version of the same: one more field
LATER = EVENT.removesuffix("]}") + ', {"name": "more", "type": "string", "default": ""}]}'
UNKNOWN = 99


def event(registry: FakeRegistry, number: int, schema: str = EVENT, *, local: float = 0.5) -> Sent:
    """An event whose answer is `number % 4`; see `support.pipeline.request`."""
    document = {"id": number, "body": {"numbers": [number % 4, local, 0.9, 0]}, "more": "x"}
    written = io.BytesIO()
    schemaless_writer(written, parse_schema(orjson.loads(schema)), document)
    return Sent(framed(registry.register("requests-value", schema), written.getvalue()), b"key-%d" % (number % 7))


def test_events_in_avro_wait_for_their_schema(setup: Setup) -> None:
    registry = FakeRegistry()
    with served(registry.app) as url:
        request = {"format": "avro", "input": "body.numbers", "id": "id", "deadline_ms": ""}
        _, pipeline = setup(request=request, registry={"url": url})
        known = [event(registry, n, local=0.95 if n % 2 else 0.5) for n in range(6)]
        later = [event(registry, n, LATER) for n in range(6, 9)]
        registry.failing = web.Response(status=503)
        sent = pipeline.send(known)
        worker = pipeline.ready_worker()
        worker.wait_for("schema_unavailable")
        assert _outcomes(pipeline) == 0
        wait_until(lambda: "records wait for schema 1: the registry answers 503" in _ready(worker.page), "the reason")
        with urlopen(worker.page + "metrics", timeout=10) as metrics:
            assert re.search(r"^bisupervised_schema_waiting_records [1-9]", metrics.read().decode(), re.MULTILINE)
        registry.failing = None
        pipeline.wait_for_outcomes(sent)
        bad = [Sent(framed(UNKNOWN, b"abc"), b"a"), Sent(b'{"id": 1}', b"b"), Sent(framed(1, b"\x02\xff"), b"c")]
        sent += pipeline.send([*later, *bad])
        outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    found = {outcome.place: outcome for outcome in outcomes}
    assert [found[one.place].kind for one in sent[:9]] == ["remote", "local"] * 3 + ["remote"] * 3
    assert [result.id for one in sent[:9] if (result := found[one.place].result) is not None] == list(range(9))
    for one, why in zip(sent[9:], ("has no schema 99", "not framed", "not of its Avro schema"), strict=True):
        fallen = found[one.place]
        assert (fallen.kind, fallen.record.value) == ("invalid_request", one.value)
        assert fallen.facts is not None
        assert why in (fallen.facts.detail or "")
    doubtful = {record.value for record in pipeline.records("doubtful")}
    assert doubtful == {one.value for one in sent[:9] if found[one.place].kind == "remote"}
    assert registry.asked.count("GET /schemas/ids/99") == 1, "the remote agent never sees it"


def _ready(page: str) -> str:
    try:
        with urlopen(page + "ready", timeout=10) as told:
            return str(told.read())
    except HTTPError as unready:
        with unready:
            return unready.read().decode()


def _outcomes(pipeline: Pipeline) -> int:
    return len(pipeline.records("results")) + len(pipeline.records("fallback"))
