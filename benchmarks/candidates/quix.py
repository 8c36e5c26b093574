"""quixstreams, exactly once: a StreamingDataFrame that answers each value and picks its topic.

Tuned: one callable that picks the topic, where two filters would run each value through both; keys as bytes. A
checkpoint each 100 ms, like the others: its default of 5 s was not faster. It takes orjson by itself.
"""

from __future__ import annotations

from quixstreams import Application
from shared import COMMIT_S, arguments, decide

asked = arguments()
app = Application(
    broker_address=asked.servers,
    consumer_group=asked.group,
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=COMMIT_S,
    auto_create_topics=False,
    loglevel="WARNING",
)
requests = app.topic(asked.requests, key_deserializer="bytes", value_deserializer="json")
results = app.topic(asked.results, key_serializer="bytes", value_serializer="json")
doubtful = app.topic(asked.doubtful, key_serializer="bytes", value_serializer="json")

frame = app.dataframe(requests).apply(lambda request: decide(request)[0])
frame.to_topic(lambda value, *_: results if value["score"] >= value["threshold"] else doubtful)
app.run()
