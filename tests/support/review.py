"""The page for labelling over a queue of its own, without Kafka: what is wanted, who reviews, what was written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from bisupervised.agents.auditing.drawn import Drawn
from bisupervised.agents.auditing.matching import exact
from bisupervised.schemas.audits import Label
from bisupervised.streams.review.desk import Asked, Desk
from bisupervised.streams.review.kafka import NotReached
from bisupervised.streams.review.queue import Item, Place, Policy, Queue
from bisupervised.streams.review.reviewers import Reviewers
from bisupervised.streams.review.server import ReviewServer, read_static
from bisupervised.streams.web.security import AccessPolicy

STATIC = read_static()
CLASSES = ("positive", "negative")
LEASE_S = 60.0
KEEP_MS = 1000.0 * 3600
NOW_MS = 1_700_000_000_000


def token_of(who: str) -> str:
    return f"the token of {who}"


def item(number: int, **changed: Any) -> Item:
    """A request whose trusted local answer is "positive"."""
    made: dict[str, Any] = {"ended": "trusted", "local": ("positive",), "remote": None, "answered_by": "local"}
    drawn = Drawn(f"requests-0-{number}", **({"at_ms": NOW_MS + number} | made | changed))
    return Item(drawn, Place("audits", 0, number))


@dataclass
class Topics:
    """What is read and written, in memory."""

    values: dict[int, bytes] = field(default_factory=dict)  #: by offset
    labels: list[Label] = field(default_factory=list)
    down: bool = False

    async def value(self, place: Place) -> bytes | None:
        if self.down:
            raise NotReached("the input cannot be read: nobody answers")
        return self.values.get(place.offset)

    async def write(self, label: Label) -> tuple[int, int]:
        if self.down:
            raise NotReached("the label cannot be written: nobody answers")
        self.labels.append(label)
        return len(self.labels) - 1, NOW_MS

    @property
    def said(self) -> list[tuple[str, str, Any]]:
        """Who said what, in order; None: taken back."""
        return [(label.by, label.source, None if label.withdrawn else label.truth) for label in self.labels]


@dataclass
class Page:
    """A page for these inputs."""

    topics: Topics
    queue: Queue
    desk: Desk
    reviewers: Reviewers
    clock: list[float]  #: the time, in seconds
    policy: AccessPolicy = field(default_factory=lambda: AccessPolicy("127.0.0.1"))

    def application(self) -> web.Application:
        return ReviewServer(self.policy, lambda: self.reviewers, self.desk, STATIC).application()


def page(*inputs: Any, classes: tuple[str, ...] = CLASSES, people: tuple[str, ...] = ("ann", "bob", "eve")) -> Page:
    """`inputs`: JSON values, or the bytes of whole requests."""
    topics, queue, clock = Topics(), Queue(Policy(KEEP_MS, LEASE_S), exact), [0.0]
    for number, value in enumerate(inputs):
        topics.values[number] = value if isinstance(value, bytes) else orjson.dumps({"input": value, "id": number})
        queue.add(item(number))
    digests = {who: hashlib.sha256(token_of(who).encode()).digest() for who in people}
    desk = Desk(Asked("Is it a good review?", classes), queue, topics, topics, lambda: clock[0])
    return Page(topics, queue, desk, Reviewers(digests), clock)
