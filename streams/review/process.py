"""The process behind the page: reads the topics first, then listens, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from ...agents.auditing.matching import matching
from ...agents.tasks import begin, persistently
from ...schemas.errors import BiSupervisedError, ConfigurationError
from ..console.output import counted, progress_console, working
from ..events.making import request_format
from ..settings.tables import Settings
from ..web.listening import listening
from ..web.security import AccessPolicy
from .desk import Asked, Desk
from .feed import Feed, keep_ms
from .kafka import Inputs, Labels
from .queue import Policy, Queue
from .reviewers import Reviewers, read_reviewers
from .server import ReviewServer, read_static
from .showing import Shape

log = logging.getLogger(__name__)

#: seconds between two looks at the file of reviewers
_LOOK_S = 2.0


class PortTaken(BiSupervisedError):
    """Somebody else listens there."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the command line says."""

    reviewers: Path
    fallback: bool
    port: int


class Known:
    """The reviewers of now: who is deleted from the file is out within seconds."""

    def __init__(self, path: Path, found: Reviewers) -> None:
        self.now = found
        self._path = path
        self._seen = _stamp(path)

    def look(self) -> None:
        """Read the file where it has changed. A faulty one changes nothing."""
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.now = read_reviewers(self._path)
        except ConfigurationError as error:
            facts = {"action": "review_reviewers_faulty"}
            log.warning("%s; the reviewers are those of before", "; ".join(error.faults), extra=facts)

    async def watch(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await asyncio.to_thread(self.look)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


async def serve(settings: Settings, offer: Offer) -> None:
    """Serve the page for ever. Raises `ConfigurationError`, `BrokerUnreachable`, `TopicMissing` and `PortTaken`."""
    known = Known(offer.reviewers, read_reviewers(offer.reviewers))
    matches, static = matching(settings.audit.matches), read_static()
    queue = Queue(Policy(keep_ms(settings, fallback=offer.fallback), settings.review.lease_minutes * 60), matches)
    feed, inputs, labels = Feed(settings, queue, fallback=offer.fallback), Inputs(settings), Labels(settings)
    desk = Desk(asked(settings, known.now), queue, inputs, labels)
    access = AccessPolicy(settings.review.host, tuple(name.lower() for name in settings.review.hosts))
    server = ReviewServer(access, lambda: known.now, desk, static)
    watching = begin(persistently(known.watch, "reviewers"), "reviewers")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(feed.run(), name="feed")  # where it fails, the group ends what follows
            with working("reading the topics"):
                await feed.loaded.wait()
            async with _listening(server.application(), settings.review.host, offer.port) as url:
                _tell(settings, known.now, len(queue), url)
                await asyncio.Event().wait()
    except* BiSupervisedError as errors:
        raise errors.exceptions[0] from None
    finally:
        watching.cancel()
        await inputs.stop()
        await labels.stop()


def asked(settings: Settings, reviewers: Reviewers) -> Asked:
    """What people are asked. A second look needs a second person."""
    review, request = settings.review, settings.request
    hidden = frozenset({request.deadline_ms} - {""})
    return Asked(
        question=review.question,
        classes=review.classes or tuple(dict.fromkeys((*settings.local.labels, *settings.remote.labels))),
        second_look=review.second_look and len(reviewers.names) > 1,
        shape=Shape(request.input, hidden, settings.web.image_shape),
        reader=request_format(settings).reader,
    )


@asynccontextmanager
async def _listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    async with AsyncExitStack() as until:
        try:
            url = await until.enter_async_context(listening(app, host, port))
        except OSError as error:
            raise PortTaken(f"port {port} of {host}: {error.strerror}; set [review] port, or say --port") from error
        yield url


def _tell(settings: Settings, reviewers: Reviewers, waiting: int, url: str) -> None:
    console = progress_console()
    console.print(f"the page: {url}  ({counted(waiting, 'input')} to label; Ctrl-C stops it)", markup=False)
    console.print(f"reviewers: {', '.join(reviewers.names)}", markup=False)
    if settings.review.second_look and len(reviewers.names) == 1:
        console.print(
            "there is one reviewer, so each label counts at once. With a second one, a label that speaks against the "
            "promise comes back to be looked at again: `bisupervised reviewers add NAME`, and start again",
            markup=False,
        )
    if not AccessPolicy(settings.review.host).loopback:
        console.print("tokens and inputs are not encrypted here: put a proxy with TLS before it", markup=False)
