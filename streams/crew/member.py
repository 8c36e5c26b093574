"""A worker that is one of several processes: who it is, and that it does not outlive its parent."""

from __future__ import annotations

import os
import signal
import socket
import threading

import msgspec

from ...schemas.errors import ConfigurationError
from ..web.site import Place


class Told(msgspec.Struct, frozen=True):
    """The first line of the leash, which the parent writes."""

    process: int
    listener: int | None  #: descriptor of the socket to listen on
    secret: str


def take_place(leash: int) -> Place:
    """Our place, as the parent tells it through a pipe. From now on we stop, as on SIGTERM, when it is gone."""
    try:
        with os.fdopen(leash, "rb", buffering=0, closefd=False) as pipe:
            told = msgspec.json.decode(pipe.readline(), type=Told)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(["--member: is for processes that --processes starts"]) from error
    os.set_inheritable(leash, False)
    threading.Thread(target=_hold, args=(leash,), name="leash", daemon=True).start()
    listener = None if told.listener is None else socket.socket(fileno=told.listener)
    if listener is not None:
        listener.set_inheritable(False)
    return Place(told.process, listener, told.secret)


def _hold(leash: int) -> None:
    """Nothing more is written: what ends the wait is the end of who could write, however it ended."""
    os.read(leash, 1)
    os.kill(os.getpid(), signal.SIGTERM)
