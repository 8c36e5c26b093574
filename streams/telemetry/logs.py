"""What the worker writes about itself: one line an event, each with a stable action."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import orjson

#: where what Faust and mode say of our services goes, as the `logger` of each such class. By themselves they would take
#: the logger of the class's module, and tell every start and stop among our own lines
SERVICES = logging.getLogger("faust.services")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: loggers of libraries that tell every retry and every rebalance in their own words
_NOISY = ("aiokafka", "faust", "mode")


class _Lines(logging.Formatter):
    """`2026-01-31 12:00:00,000 INFO partition_acquired  text`."""

    def format(self, record: logging.LogRecord) -> str:
        action = getattr(record, "action", record.name)
        line = f"{self.formatTime(record)} {record.levelname:<8} {action:<22} {record.getMessage()}"
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


def configure(level: str, *, as_json: bool, stream: TextIO | None = None) -> None:
    """Write this package's log from `level` on, and the libraries' own from WARNING on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json() if as_json else _Lines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
