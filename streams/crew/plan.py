"""What the parent is told."""

from __future__ import annotations

import os

import msgspec


class PagePlan(msgspec.Struct, frozen=True):
    """Where the page is shown, and to whom: `[web]`."""

    host: str
    port: int
    hosts: tuple[str, ...]
    token: str | None
    never: frozenset[int]  #: ports of others on this machine


class Plan(msgspec.Struct, frozen=True):
    """Written by who has read the configuration, read by the parent."""

    processes: int
    words: tuple[str, ...]  #: the command line of each process, after `bisupervised`
    partitions: int  #: that the topics are to have
    level: str  #: of the log
    as_json: bool
    page: PagePlan | None  #: None where none is shown


def encode(plan: Plan) -> bytes:
    """For `decode`."""
    return msgspec.json.encode(plan)


def decode(written: bytes) -> Plan:
    """What `encode` was given."""
    return msgspec.json.decode(written, type=Plan)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
