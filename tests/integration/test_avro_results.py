"""Results in Avro: the worker waits for the registry, and those who read JSON read them, too."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from aiohttp import web
from bisupervised.schemas.avro import is_avro, result_schema
from bisupervised.schemas.codec import decode_result
from bisupervised.streams.offline.recordings.system_topics import read_topics, result_in
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.tools.tail import run_tail
from support.pipeline import Setup, check_exactly_once, request
from support.registry import FakeRegistry
from support.threaded import served


def test_results_in_avro(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    registry = FakeRegistry()
    with served(registry.app) as url:
        _, pipeline = setup(results={"format": "avro"}, registry={"url": url})
        registry.failing = web.Response(status=503)
        sent = pipeline.send([request(number, local=0.95 if number % 2 else 0.5) for number in range(12)])
        worker = pipeline.worker()
        worker.wait_for("result_schema_unavailable")
        assert worker.actions()["partition_acquired"] == 0, "it takes nothing that it could not write"
        registry.failing = None
        outcomes = pipeline.settle(sent)
        check_exactly_once(sent, outcomes)
        assert {outcome.kind for outcome in outcomes} == {"local", "remote"}
        subject = f"{pipeline.topic('results')}-value"
        assert [registry.schemas[one]["schema"] for one in registry.subjects[subject]] == [result_schema()]
        values = [record.value for record in pipeline.records("results")]
        assert all(is_avro(value) for value in values)
        settings = load_settings(pipeline.config)
        asyncio.run(run_tail(settings, "results", from_beginning=True, limit=None, follow=False, as_json=True))
        shown = [orjson.loads(line)["value"] for line in capsys.readouterr().out.splitlines()]
        assert {decode_result(value.encode()).source for value in shown} == {
            outcome.result.source for outcome in outcomes if outcome.result is not None
        }
        found = []
        asyncio.run(read_topics(settings, {settings.topics.results: lambda record: found.append(result_in(record))}))
        assert len(found) == len(values)
        assert None not in found
