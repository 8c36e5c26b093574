"""Free ports of loopback, for what this project starts.

A port that was free when it was looked for may be another's when its broker listens, seconds later. So whoever is given
one has it for a while: a socket with a name that says the port, which is nobody's file and ends with the process.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Collection
from itertools import islice
from random import SystemRandom

from .kafka_jars import BrokerError

HOST = "127.0.0.1"  # never reachable from outside: there is neither encryption nor a password
FREE_PORTS = range(20_000, 32_000)
#: seconds for which a port that was given away is given to nobody else
RESERVED_S = 60.0
_reserving: deque[tuple[float, int]] = deque()  # until when, the first one first, and the socket


class PortUnavailable(BrokerError):
    """The broker may not listen where it was asked to."""


def claim_port(port: int) -> int:
    """The port, or a free one for 0. Either was free a moment ago."""
    if port == 0:
        return free_port()
    if fault := bind_fault(port):
        raise PortUnavailable(
            f"the broker cannot listen on {HOST}:{port}: {fault}. Name another port, or 0 for a free one."
        )
    return port


def free_port() -> int:
    """As `free_ports`: one of them."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int, other_than: Collection[int] = ()) -> list[int]:
    """Different free ports below those that the system gives to outgoing connections.

    A port among those would be a trap: while the broker is down, a client that tries to reconnect would sooner or
    later get the broker's port as its own, connect to itself and keep the port taken.

    A broker takes seconds until it listens. For so long nobody else who asks here is given its ports.
    """
    tried = SystemRandom().sample(FREE_PORTS, 100)  # two runs with one random seed must not collide
    free = (port for port in tried if port not in other_than and bind_fault(port) is None and _reserved(port))
    found = list(islice(free, count))
    if len(found) < count:
        what = "no free port" if count == 1 else f"only {len(found)} free ports"
        raise PortUnavailable(f"{what} among 100 tried of {FREE_PORTS.start} to {FREE_PORTS.stop}: name one")
    return found


def _reserved(port: int) -> bool:
    """It is ours for a while. Where the system has no such names, whoever asks at the same moment may get it, too."""
    now = time.monotonic()
    while _reserving and _reserving[0][0] <= now:
        os.close(_reserving.popleft()[1])
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0bisupervised-port-{port}")
    except OSError as error:
        name.close()
        return error.errno != errno.EADDRINUSE
    _reserving.append((now + RESERVED_S, name.detach()))
    return True


def bind_fault(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: closed connections may linger
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:  # overflow: no such port
            return str(error)
    return None
