"""A plain Faust agent with Faust's own Kafka client, at least once: as its documentation shows.

Tuned: no web server, no leader's topic, no watch for idle streams, a linger so that sends share a request. It uses
nothing of BiSupervised.
"""

from __future__ import annotations

import sys
from typing import Any

import faust
from faust.types import StreamT
from shared import arguments, decide

asked = arguments()
app = faust.App(
    asked.group,
    broker=f"kafka://{asked.servers}",
    datadir=f"{asked.group}-data",
    value_serializer="json",
    key_serializer="raw",
    web_enabled=False,
    topic_allow_declare=False,
    topic_disable_leader=True,
    producer_linger=0.01,
    producer_max_batch_size=512 * 1024,
    stream_wait_empty=False,
)
requests = app.topic(asked.requests, key_type=bytes)
results = app.topic(asked.results, key_type=bytes)
doubtful = app.topic(asked.doubtful, key_type=bytes)


@app.agent(requests)
async def answer(stream: StreamT[dict[str, Any]]) -> None:
    """Answer event by event."""
    async for key, request in stream.items():
        value, trusted = decide(request)
        await (results if trusted else doubtful).send(key=key, value=value)


sys.argv[1:] = ["worker", "--loglevel", "warn", "--without-web"]
app.main()
