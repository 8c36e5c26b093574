"""The log as a worker writes it, in a test's own process."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from bisupervised.streams.telemetry.logs import configure

LIBRARIES = ("aiokafka", "faust", "mode")


@contextmanager
def logging_as_it_was() -> Iterator[None]:
    """What `configure` changes is the process's, so it is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def written(level: str, *, as_json: bool) -> io.StringIO:
    """What is logged from here on, inside `logging_as_it_was`."""
    stream = io.StringIO()
    # what pytest hangs in is put aside, not closed
    logging.getLogger().handlers[:] = []
    configure(level, as_json=as_json, stream=stream)
    return stream
