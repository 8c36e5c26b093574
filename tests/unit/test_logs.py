"""A line of the log, as people and as machines read it."""

from __future__ import annotations

import json
import logging
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
