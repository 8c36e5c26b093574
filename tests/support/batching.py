"""A pipeline whose remote is asked in batches, and the provider that answers them, in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
from aiohttp import web
from bisupervised.schemas.bulk import BatchTold, BulkEntry, decode_bulk
from support.bulk_server import LyingBulkServer
from support.pipeline import Pipeline
from support.threaded import served

#: settings that make hours of a provider seconds of a test
QUICK: Mapping[str, Any] = {
    "records": 40,
    "age_s": 0.3,
    "poll_first_s": 0.1,
    "poll_most_s": 0.3,
    "call_timeout_s": 1.5,
    "transfer_timeout_s": 1.5,
}


#: for `[kafka]`: a worker that is killed is missed soon
SOON_MISSED: Mapping[str, Any] = {"session_timeout_s": 3.0}


def overrides(url: str, batch: Mapping[str, Any] | None = None, **remote: Any) -> dict[str, Mapping[str, Any]]:
    """What `setup` is given for batches; more of [batch] and of [remote]."""
    chat = {
        "url": url,
        "protocol": "openai_chat",
        "mode": "batch",
        "threshold": 0.0,
        "price_per_call": 0.5,
    }
    return {"stream": {"ordering": "none"}, "remote": chat | remote, "batch": {**QUICK, **(batch or {})}}


@contextmanager
def provider(server: LyingBulkServer) -> Iterator[str]:
    """Serve it, and single questions beside it; gives the URL."""
    app = web.Application()
    server.add_routes(app)

    async def direct(asked: web.Request) -> web.Response:
        status, document = server.answer(orjson.loads(await asked.read()))
        return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")

    app.router.add_post("/v1/chat/completions", direct)
    with served(app) as url:
        yield url


def entries(pipeline: Pipeline) -> list[BulkEntry]:
    """The whole log of the batches."""
    return [decode_bulk(record.value) for record in pipeline.records("batches")]


def last_words(pipeline: Pipeline) -> dict[str, BatchTold]:
    """The last word about each batch."""
    return {batch.id: batch for entry in entries(pipeline) for batch in entry.batches}
