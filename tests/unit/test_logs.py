"""A line of the log, as people and as machines read it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator

import pytest
from support.logs import LIBRARIES, logging_as_it_was, written

log = logging.getLogger("bisupervised.streams.no_such")


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    with logging_as_it_was():
        yield


def test_a_line_has_time_level_action_and_text() -> None:
    stream = written("INFO", as_json=False)
    log.info("took over %s", "requests-0", extra={"action": "partition_acquired"})
    assert stream.getvalue()[23:] == " INFO     partition_acquired     took over requests-0\n"


def test_a_line_without_an_action_names_its_logger() -> None:
    stream = written("INFO", as_json=False)
    log.warning("words")
    assert "WARNING  bisupervised.streams.no_such words" in stream.getvalue()


def test_a_librarys_line_in_json_has_its_loggers_name_for_an_action() -> None:
    stream = written("INFO", as_json=True)
    logging.getLogger("aiokafka.conn").warning("words")
    assert json.loads(stream.getvalue())["action"] == "aiokafka.conn"


def test_json_has_a_field_for_whatever_extra_holds() -> None:
    stream = written("INFO", as_json=True)
    log.error("failed on %d", 3, extra={"action": "agent_failed", "records": 3, "odd": {1}})
    document = json.loads(stream.getvalue())
    assert document.pop("time")
    assert document == {
        "level": "ERROR",
        "logger": "bisupervised.streams.no_such",
        "message": "failed on 3",
        "action": "agent_failed",
        "records": 3,
        "odd": "{1}",
    }


def test_a_repeated_warning_is_counted_and_told_with_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A librarys, too, however it orders what it lists. What is not a repetition is written."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream, client = written("INFO", as_json=True), logging.getLogger("aiokafka.client")
    for nodes in ([1, 2], [2, 1], [1, 2], [1]):
        client.error("Could not add partition %s", nodes)
    for partition in ("a-0", "a-1", "a-0"):
        log.warning("%s: away", partition, extra={"action": "acquire_failed"})
        log.info("the same", extra={"action": "remote_retry"})
        log.critical("stopped", extra={"action": "partition_stopped"})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines if line["level"] == "ERROR"] == [
        "Could not add partition [1, 2]",
        "Could not add partition [1]",
    ]
    assert [line["message"] for line in lines if line["level"] == "WARNING"] == ["a-0: away", "a-1: away"]
    assert [line["level"] for line in lines].count("INFO") == [line["level"] for line in lines].count("CRITICAL") == 3
    stream.seek(0), stream.truncate()
    now[0] = 111.0
    log.info("anything")
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {line["message"]: line.get("repeated") for line in told} == {
        "Could not add partition [1, 2]": 2,
        "a-0: away": 1,
        "anything": None,
    }


def test_text_says_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = written("INFO", as_json=False)
    for now[0] in (100.0, 101.0, 102.0, 110.5):
        log.warning("away", extra={"action": "acquire_failed"})
    first, second = stream.getvalue().splitlines()
    assert first.endswith("away")
    assert second.endswith("away (2 times more since the last such line)")


@pytest.mark.parametrize("as_json", [True, False])
def test_an_error_comes_with_its_traceback(as_json: bool) -> None:
    stream = written("INFO", as_json=as_json)
    try:
        raise RuntimeError("the cause")
    except RuntimeError:
        log.exception("failed")
    assert "RuntimeError: the cause" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1 or not as_json


@pytest.mark.parametrize("odd", ["half a pair \ud800", 2**70, float("nan"), b"\xff"])
def test_nothing_that_json_cannot_say_loses_a_line(odd: object, capsys: pytest.CaptureFixture[str]) -> None:
    stream = written("INFO", as_json=True)
    log.info("text %s", odd, extra={"action": "odd", "value": odd})
    assert json.loads(stream.getvalue())["action"] == "odd"
    assert capsys.readouterr().err == ""  # the logging module prints what a formatter raises


@pytest.mark.parametrize(("level", "ours", "theirs"), [("DEBUG", 1, 0), ("INFO", 1, 0), ("ERROR", 0, 0)])
def test_the_libraries_speak_from_warning_on(level: str, ours: int, theirs: int) -> None:
    stream = written(level, as_json=False)
    log.info("ours")
    for name in LIBRARIES:
        logging.getLogger(name).info("theirs")
    assert stream.getvalue().count("ours") == ours
    assert stream.getvalue().count("theirs") == theirs
    for name in LIBRARIES:
        logging.getLogger(name).warning("warned")
    assert stream.getvalue().count("warned") == (0 if level == "ERROR" else 3)
