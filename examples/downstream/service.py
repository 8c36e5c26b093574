"""A service behind BiSupervised: it keeps each answer once, and sorts the fallback by reason.

    python service.py --servers 127.0.0.1:9092 --database service.db

It needs aiokafka only, and no part of BiSupervised: all it knows are the two topics. The trick is that what it has
done and how far it has read are written in one transaction of its own database (here SQLite). So it may be killed at
any time; where it had read a record and not yet committed it, it reads it again, and `source` tells that it is known.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

#: who takes care of which reason; a reason that is not listed goes to "operations"
DESKS = {
    # the remote was down, slow or not to be paid: worth another try later, by `bisupervised fallback replay`
    "timeout": "replay",
    "remote_error": "replay",
    "rate_limited": "replay",
    "budget": "replay",
    # both models are unsure, or their answer is no answer: a person decides
    "low_confidence": "person",
    "no_confidence": "person",
    "invalid_answer": "person",
    # the remote refuses this input for its own content: a replay does not help
    "refused": "person",
    # the same input would fail again: whoever produced it has to mend it
    "invalid_request": "producer",
    "too_large": "producer",
    # the model raised on it, or killed the process: whoever owns the model has to look
    "model_error": "operations",
}

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (source TEXT PRIMARY KEY, key BLOB, prediction TEXT, answered_by TEXT);
CREATE TABLE IF NOT EXISTS cases (source TEXT PRIMARY KEY, desk TEXT, reason TEXT, detail TEXT, key BLOB, value BLOB);
CREATE TABLE IF NOT EXISTS positions (topic TEXT, part INTEGER, next INTEGER, PRIMARY KEY (topic, part));
"""


def open_database(path: Path) -> sqlite3.Connection:
    """The service's own database, made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    database.executescript(SCHEMA)
    return database


def handle(database: sqlite3.Connection, records: list[Any], results: str) -> None:
    """Do what the records ask for, and remember how far we have read: one transaction, all or nothing."""
    with database:
        for record in records:
            if record.topic == results:
                keep_answer(database, record)
            else:
                open_case(database, record)
            database.execute(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)", (record.topic, record.partition, record.offset + 1)
            )


def keep_answer(database: sqlite3.Connection, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
    """A record of `results`. The source is the identity: an answer that is known already changes nothing."""
    result = json.loads(record.value)
    database.execute(
        "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)",
        (source_of(result), record.key, json.dumps(result["prediction"]), result["answered_by"]),
    )
    # where the request is a replay, the case of its former pass is solved
    headers = dict(record.headers)
    if "bisupervised-replay" in headers:
        former = source_of(json.loads(headers["bisupervised-replay"]))
        database.execute("DELETE FROM cases WHERE source = ?", (former,))


def open_case(database: sqlite3.Connection, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
    """A record of `fallback`: the value is the request as it came, the header `bisupervised` says what is known."""
    headers = dict(record.headers)
    facts = json.loads(headers["bisupervised"])
    reason = headers["bisupervised-reason"].decode()
    if "bisupervised-replay" in headers:  # it fell back once more: the new case takes the place of the old one
        former = source_of(json.loads(headers["bisupervised-replay"]))
        database.execute("DELETE FROM cases WHERE source = ?", (former,))
    desk = DESKS.get(reason, "operations")
    database.execute(
        "INSERT OR IGNORE INTO cases VALUES (?, ?, ?, ?, ?, ?)",
        (source_of(facts), desk, reason, facts.get("detail"), record.key, record.value),
    )


def source_of(document: dict[str, Any]) -> str:
    """The identity of a request, as `bisupervised fallback show` takes it."""
    source = document["source"]
    return f"{source['topic']}-{source['partition']}-{source['offset']}"


async def run(servers: str, database: sqlite3.Connection, results: str, fallback: str) -> None:
    """Read both topics until cancelled."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        isolation_level="read_committed",  # what is aborted never happened
        enable_auto_commit=False,  # our database keeps the positions
        auto_offset_reset="earliest",
    )
    async with consumer:
        places = await partitions_of(servers, [results, fallback])
        consumer.assign(places)
        print(f"reading {results} and {fallback} at {servers}; Ctrl-C ends it", flush=True)  # noqa: T201  # a program
        for topic, part, position in database.execute("SELECT topic, part, next FROM positions"):
            if TopicPartition(topic, part) in places:
                consumer.seek(TopicPartition(topic, part), position)
        while True:
            fetched = await consumer.getmany(timeout_ms=500, max_records=500)
            records = [record for batch in fetched.values() for record in batch]
            if records:
                # in this thread: a few hundred rows take milliseconds, and nothing else is waiting
                handle(database, records, results)


async def partitions_of(servers: str, topics: list[str]) -> list[TopicPartition]:
    """All partitions of these topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        described = await admin.describe_topics(topics)
    finally:
        await admin.close()
    return [TopicPartition(each["topic"], part["partition"]) for each in described for part in each["partitions"]]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Keep answers once, and sort the fallback by reason.")
    parser.add_argument("--servers", default="127.0.0.1:9092")
    parser.add_argument("--database", type=Path, default=Path("service.db"))
    parser.add_argument("--results", default="results")
    parser.add_argument("--fallback", default="fallback")
    given = parser.parse_args()
    database = open_database(given.database)
    try:
        asyncio.run(run(given.servers, database, given.results, given.fallback))
    except KeyboardInterrupt:
        pass
    finally:
        database.close()


if __name__ == "__main__":
    main()
