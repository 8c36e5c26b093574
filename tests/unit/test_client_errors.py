"""What the Kafka client says of a broker that is away is a number beside our own two lines."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, SaslAuthenticationFailed
from bisupervised.streams.kafka.client import Reach
from bisupervised.streams.telemetry.client_errors import ClientErrors
from bisupervised.streams.telemetry.logs import tell_in_time
from support.logs import logging_as_it_was, written
from support.virtual_time import on_virtual_time

PLACE = "127.0.0.1:9092"
REFUSED = ConnectionRefusedError(111, "Connection refused")
client = logging.getLogger("aiokafka.consumer.fetcher")
log = logging.getLogger("bisupervised.streams.no_such")


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    with logging_as_it_was():
        yield


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the log: both of it, so that lines can be put in order."""
    told = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: told[0])
    monkeypatch.setattr(time, "time", lambda: 1e9 + told[0])
    return told


def complain(times: int) -> None:
    for _ in range(times):
        client.error("Failed fetch messages from %s: %s", 1, "closed")


def lines(stream: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_outage_is_two_lines_with_a_count(now: list[float]) -> None:
    stream = written("INFO", as_json=True)
    reach = Reach(lambda: now[0])
    complain(3)  # the client notices first
    for now[0] in (100.0, 100.1, 101.0, 105.0):
        reach.failed(PLACE, REFUSED)
        complain(5)
    now[0] = 108.0
    reach.connected(PLACE)
    reach.connected(PLACE)
    away, back = lines(stream)
    assert (away["action"], away["broker"], away["level"]) == ("broker_away", PLACE, "WARNING")
    assert "Connection refused" in away["message"]
    assert back["action"] == "broker_back"
    assert (back["away_s"], back["tries"], back["client_errors"]) == (8.0, 4, 23)


@on_virtual_time
async def test_a_broker_that_is_back_is_not_told_to_be_away(now: list[float]) -> None:
    """Its tries are in the line that it is back; the next outage is news at once."""
    stream = written("INFO", as_json=True)
    reach = Reach(lambda: now[0])
    telling = asyncio.create_task(tell_in_time())
    reach.failed(PLACE, REFUSED)
    reach.failed(PLACE, REFUSED)
    reach.connected(PLACE)
    now[0] = 150.0
    await asyncio.sleep(2.0)
    reach.failed(PLACE, REFUSED)
    now[0] = 151.0
    reach.connected(PLACE)
    reach.failed(PLACE, REFUSED)
    telling.cancel()
    states = [line["action"].removeprefix("broker_") for line in lines(stream)]
    assert states == ["away", "back", "away", "back", "away"]


def test_whoever_tries_again_too_soon_is_told_what_the_last_one_was(now: list[float]) -> None:
    reach = Reach(lambda: now[0])
    tried = 0
    for now[0] in (100.0 + 0.01 * step for step in range(1000)):  # ten seconds, dozens of tries in each
        with suppress(ConnectionRefusedError):
            reach.spare(PLACE)
            reach.failed(PLACE, REFUSED)
            tried += 1
    assert 39 <= tried <= 41
    with pytest.raises(ConnectionRefusedError, match=str(REFUSED.args[-1])):
        reach.spare(PLACE)
    reach.spare("another:9092")
    now[0] += 0.3
    reach.spare(PLACE)
    with pytest.raises(ConnectionRefusedError):
        reach.spare(PLACE)  # one is trying
    reach.connected(PLACE)
    reach.spare(PLACE)


def test_each_broker_has_its_own_lines(now: list[float]) -> None:
    stream = written("INFO", as_json=True)
    reach = Reach(lambda: now[0])
    reach.failed("one:9092", REFUSED)
    reach.failed("two:9092", REFUSED)
    reach.connected("two:9092")
    reach.connected("three:9092")
    told = [(line["action"], line["broker"]) for line in lines(stream)]
    assert told == [("broker_away", "one:9092"), ("broker_away", "two:9092"), ("broker_back", "two:9092")]


def test_a_broker_that_refuses_our_credentials_is_there(now: list[float]) -> None:
    stream = written("INFO", as_json=True)
    reach = Reach(lambda: now[0])
    reach.failed(PLACE, SaslAuthenticationFailed())
    assert stream.getvalue() == ""
    reach.failed(PLACE, KafkaConnectionError("closed"))
    assert len(lines(stream)) == 1


@on_virtual_time
async def test_what_no_broker_accounts_for_is_written_in_time_and_in_order(now: list[float]) -> None:
    stream = written("INFO", as_json=True)
    complain(4)
    log.warning("away", extra={"action": "acquire_failed"})
    log.warning("away", extra={"action": "acquire_failed"})
    assert [line["action"] for line in lines(stream)] == ["acquire_failed"], "the client's own are held"
    telling = asyncio.create_task(tell_in_time())
    for now[0] in (101.0, 102.0, 103.0, 104.0, 109.0, 110.0, 111.0):
        await asyncio.sleep(1.0)
    telling.cancel()
    told = lines(stream)
    assert [(line["action"], line.get("repeated")) for line in told] == [
        ("acquire_failed", None),
        ("aiokafka.consumer.fetcher", 3),
        ("acquire_failed", 1),
    ], "nobody else said anything meanwhile"
    assert [line["time"] for line in told] == sorted(line["time"] for line in told)


def test_what_was_left_out_is_told_when_the_log_ends(now: list[float]) -> None:
    stream = written("INFO", as_json=False)
    log.warning("away", extra={"action": "acquire_failed"})
    log.warning("away", extra={"action": "acquire_failed"})
    complain(2)
    logging.getLogger().handlers[0].close()
    first, second, third = stream.getvalue().splitlines()
    assert first.endswith("away")
    assert second.endswith("Failed fetch messages from 1: closed (1 times more since the last such line)")
    assert third.endswith("away (1 times more since the last such line)")


def test_whoever_debugs_sees_every_text_of_the_client(now: list[float]) -> None:
    stream = written("DEBUG", as_json=True)
    complain(1)
    assert [line["message"] for line in lines(stream)] == ["Failed fetch messages from 1: closed"]


def test_a_broker_nobody_tries_any_more_hides_nothing() -> None:
    """As one whose address has changed."""
    errors = ClientErrors[str]()
    errors.away("old:9092", 0.0)
    errors.held("a line", 10.0)
    assert errors.over(59.0) is None
    assert errors.over(60.0) == ("a line", 0)
    assert errors.over(99.0) is None, "and is told once"
