"""What the worker writes about itself: one line an event, each with a stable action. A warning that is repeated is
counted instead (`repeats.py`), the libraries' own included, and so is what the Kafka client says of a broker that is
away (`client_errors.py`). `tell_in_time` writes what is due while nothing else is said.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import sys
import time
from collections.abc import Hashable
from contextlib import nullcontext
from typing import Any, TextIO

import orjson

from .client_errors import TEXTS, ClientErrors
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
    """`2026-01-31 12:00:00,000 INFO partition_acquired  text`; of one process of several, `[2]` before the action."""

    def __init__(self, process: int | None) -> None:
        super().__init__()
        self._process = "" if process is None else f"[{process}] "

    def format(self, record: logging.LogRecord) -> str:
        action = getattr(record, "action", record.name)
        again = getattr(record, "repeated", 0)
        told = f" ({again} times more since the last such line)" if again else ""
        client = getattr(record, "client_errors", 0)
        told += f" ({client} lines of the Kafka client are left out)" if client else ""
        line = (
            f"{self.formatTime(record)} {record.levelname:<8} {self._process}{action:<22} {record.getMessage()}{told}"
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    """One JSON object a line; whatever `extra` holds is a field. A library's line has its logger's name as action."""

    def __init__(self, process: int | None) -> None:
        super().__init__()
        self._process: dict[str, Any] = {} if process is None else {"process": process}

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "action": record.name,
            "message": record.getMessage(),
        }
        document |= self._process
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
    """Writes a warning or an error once; its repetitions are a number, `repeated`, in the next such line.

    What the Kafka client says of a broker that is away is a number, too: `client_errors` in the line that it is back.
    Whoever wants every line of it asks for the level DEBUG.
    """

    def __init__(self, stream: TextIO, *, holds: bool = True) -> None:
        super().__init__(stream)
        self._repeats = Repeats[logging.LogRecord]()
        self._client = ClientErrors[logging.LogRecord]()
        self._holds = holds
        self._looked = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now - self._looked > _LOOK_S:
            self.tell(now)
        if self._holds and record.msg in TEXTS and record.name.startswith("aiokafka"):
            self._client.held(record, now)
            return
        match getattr(record, "action", ""):
            case "broker_away":
                self._client.away(_broker(record), now)
            case "broker_back":
                self._repeats.forget(lambda line: _broker(line) == _broker(record))
                record.client_errors = self._client.back(_broker(record))
        self._write(record, now)

    def _write(self, record: logging.LogRecord, now: float, more: int = 0) -> None:
        if not logging.WARNING <= record.levelno < logging.CRITICAL:
            super().emit(record)
            return
        left_out = self._repeats.heard(_text(record), record, now)
        if left_out is not None:
            super().emit(_repeated(record, left_out + more))

    def tell(self, now: float) -> None:
        """Write what is due: repetitions not told of yet, and what the client said and no broker accounts for."""
        self._looked = now
        self._tell(now, self._client.over(now))

    def _tell(self, now: float, held: tuple[logging.LogRecord, int] | None) -> None:
        if held is not None:
            line, others = held
            self._write(_of_now(line), now, others)
        for line, again in self._repeats.over(now):
            super().emit(_of_now(_repeated(line, again)))

    def close(self) -> None:
        """Tell what is left: nobody will be told later."""
        with self.lock or nullcontext():
            self._tell(math.inf, self._client.left())
        super().close()


def _of_now(record: logging.LogRecord) -> logging.LogRecord:
    """The line with the time at which it is written, so that the lines of a log are in order."""
    told = copy.copy(record)
    told.created = time.time()
    told.msecs = told.created % 1 * 1000
    return told


def _broker(record: logging.LogRecord) -> str:
    return str(getattr(record, "broker", ""))


async def tell_in_time() -> None:
    """Write for ever what is due by time, and not by another line."""
    while True:
        await asyncio.sleep(_LOOK_S)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, _Once):
                with handler.lock or nullcontext():
                    handler.tell(time.monotonic())


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


def configure(level: str, *, as_json: bool, stream: TextIO | None = None, process: int | None = None) -> None:
    """Write this package's log from `level` on, and the libraries' own from WARNING on.

    `process`: which one this is, where several of one command write to the same place.
    """
    handler = _Once(stream or sys.stderr, holds=logging.getLevelName(level) > logging.DEBUG)
    handler.setFormatter(_Json(process) if as_json else _Lines(process))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
