"""What a worker knows of the audit, for its page and its metrics; and what follows the topic `trust` for it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError

from ...schemas.closings import AlarmShareTold, Closing, Share, VersionTold
from .trust import Appended, Reader

if TYPE_CHECKING:
    from ..kafka.connection import Connection

#: points of a history that are shown
_POINTS = 240
#: offsets of `trust` that are looked back at for them
_BACK = 2_000
#: seconds between two looks
_LOOK_S = 1.0
_SHARES = ("error", "false_positive_rate", "local_error", "remote_error", "doubtful", "disagreement")


@dataclass(slots=True)
class Point:
    """The share that is promised about, at some closing."""

    at_ms: int
    version: str
    share: Share


@dataclass(slots=True)
class Standing:
    """What is known of the audit."""

    enabled: bool = False  #: there is an audit
    auditing: bool = False  #: the auditor of the fleet is here
    failure: str = ""  #: why it does not go on; '' where it does
    closing: Closing | None = None  #: the last one
    written_ms: int = 0  #: when that was written
    versions: dict[str, VersionTold] = field(default_factory=dict)  #: as they stood then
    newest: str = ""  #: the version that was told of last
    alarm_share: AlarmShareTold | None = None  #: how many more requests are drawn after an alarm
    history: deque[Point] = field(default_factory=lambda: deque(maxlen=_POINTS))

    def take(self, one: Appended) -> None:
        """Another closing was written."""
        closing = one.closing
        self.closing, self.written_ms = closing, one.written_ms
        if closing.terms is not None:
            self.alarm_share = closing.terms.alarm_share
        for told in closing.versions:
            before = self.versions.get(told.version)
            self.versions[told.version] = told
            if before is None or before.drawn != told.drawn:
                self.newest = told.version
            share = promised_share(told)
            if share.labels and (before is None or promised_share(before) != share):
                self.history.append(Point(one.written_ms, told.version, share))

    def told(self) -> dict[str, Any]:
        """A document; empty where there is no audit."""
        if not self.enabled:
            return {}
        closing = self.closing
        return {
            "auditing": self.auditing,
            "failure": self.failure,
            "number": None if closing is None else closing.number,
            "by": "" if closing is None else closing.by,
            "why": "" if closing is None else closing.why,
            "written_ms": self.written_ms or None,
            "newest": self.newest,
            "unknown_sources": 0 if closing is None else closing.unknown_sources,
            "unknown_classes": 0 if closing is None else closing.unknown_classes,
            "raised": self._raised(),
            "versions": [_version(told) for told in self.versions.values()],
            "history": [
                (point.at_ms, point.share.value, point.share.lower, point.share.upper)
                for point in self.history
                if point.version == self.newest
            ],
        }

    def _raised(self) -> dict[str, Any] | None:
        """How many requests are drawn after an alarm, until when, and what that has cost; None while none more are."""
        told, share = None if self.closing is None else self.closing.ladder, self.alarm_share
        if told is None or share is None or not told.raised:
            return None
        until_ms = told.raised_ms + share.within_ms
        return {"share": share.share, "until_ms": until_ms, "labels": told.raised_labels, "most": share.labels}


def promised_share(told: VersionTold) -> Share:
    """What is promised about; the error where nothing is known to be."""
    kind = told.alarms[0].promise.kind if told.alarms else "error"
    return told.false_positive_rate if kind == "false_positive_rate" else told.error


def _version(told: VersionTold) -> dict[str, Any]:
    shares = {name: getattr(told, name) for name in _SHARES}
    return {
        "version": told.version,
        "drawn": told.drawn,
        "labels": {
            "wanted": told.wanted,
            "labelled": told.labelled,
            "outstanding": told.outstanding,
            "late": told.late,
        },
        "disputed": told.disputed,
        "missing": told.missing,
        "unshadowed": told.unshadowed,
        "remote_unasked": told.remote_unasked,
        "labels_late": told.labels_late,
        "shares": {
            name: {"value": share.value, "lower": share.lower, "upper": share.upper, "of": share.labels}
            for name, share in shares.items()
        },
        "alarms": [
            {
                "kind": alarm.promise.kind,
                "promise": alarm.promise.value,
                "level": alarm.level,
                "raised": alarm.raised,
                "last": alarm.last,
                "last_ms": alarm.last_ms or None,
            }
            for alarm in told.alarms
        ],
    }


class Following:
    """Keeps a standing up to date with what the auditor writes, whichever worker it is in."""

    def __init__(self, connection: Connection, topic: str, pipeline: str, standing: Standing) -> None:
        self._where = (connection, topic, pipeline)
        self._standing = standing

    async def run(self) -> None:
        """Follow, until it fails or is cancelled. Raises `KafkaError`."""
        reader = Reader(*self._where)
        try:
            await reader.start()
            for one in await reader.from_last_whole():
                self._standing.take(one)
            begin, end = await reader.bounds()
            self._standing.history.clear()
            for one in await reader.read(max(begin, end - _BACK), end):
                self._standing.take(one)
            while True:
                for one in await reader.news():
                    self._standing.take(one)
                await asyncio.sleep(_LOOK_S)
        finally:
            with suppress(KafkaError):
                await reader.close()
