"""What the worker writes about itself: one line an event, each with a stable action. A warning that is repeated is
counted instead (`repeats.py`), the libraries' own included.
"""

from __future__ import annotations

import copy
import logging
import sys
import time
from collections.abc import Hashable
from typing import TextIO

import orjson

from .repeats import Repeats

#: where what Faust and mode say of our services goes, as the `logger` of each such class. By themselves they would take
#: the logger of the class's module, and tell every start and stop among our own lines
SERVICES = logging.getLogger("faust.services")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: loggers of libraries that tell every retry and every rebalance in their own words
_NOISY = ("aiokafka", "faust", "mode")
#: seconds between two looks whether there are repetitions to be told
_LOOK_S = 1.0


class _Lines(logging.Formatter):
    """`2026-01-31 12:00:00,000 INFO partition_acquired  text`."""

    def format(self, record: logging.LogRecord) -> str:
        action = getattr(record, "action", record.name)
        again = getattr(record, "repeated", 0)
        told = f" ({again} times more since the last such line)" if again else ""
        line = f"{self.formatTime(record)} {record.levelname:<8} {action:<22} {record.getMessage()}{told}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    """One JSON object a line; whatever `extra` holds is a field. A library's line has its logger's name as action."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "action": record.name,
            "message": record.getMessage(),
        }
        document |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            document["error"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(document, default=repr).decode()
        except orjson.JSONEncodeError:  # half a surrogate pair, a number beyond 64 bits: a line is never lost
            return orjson.dumps({name: _plain(value) for name, value in document.items()}).decode()


def _plain(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


class _Once(logging.StreamHandler[TextIO]):
    """Writes a warning or an error once; its repetitions are a number, `repeated`, in the next such line."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._repeats = Repeats[logging.LogRecord]()
        self._looked = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now - self._looked > _LOOK_S:
            self._looked = now
            for line, again in self._repeats.over(now):
                super().emit(_repeated(line, again))
        if not logging.WARNING <= record.levelno < logging.CRITICAL:
            super().emit(record)
            return
        left_out = self._repeats.heard(_text(record), record, now)
        if left_out is not None:
            super().emit(_repeated(record, left_out))


def _text(record: logging.LogRecord) -> Hashable:
    """What makes two lines the same. The client lists its brokers in any order."""
    arguments = record.args if isinstance(record.args, tuple) else (record.args,)
    told = tuple(str(sorted(map(str, each)) if isinstance(each, (list, set)) else each) for each in arguments)
    return record.name, record.levelno, getattr(record, "action", ""), record.msg, told


def _repeated(record: logging.LogRecord, again: int) -> logging.LogRecord:
    if not again:
        return record
    told = copy.copy(record)
    told.repeated = again
    return told


def configure(level: str, *, as_json: bool, stream: TextIO | None = None) -> None:
    """Write this package's log from `level` on, and the libraries' own from WARNING on."""
    handler = _Once(stream or sys.stderr)
    handler.setFormatter(_Json() if as_json else _Lines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
