"""Thresholds and limits without a restart: on SIGHUP, or when the configuration or the thresholds file changes.

`compare` decides what of a new configuration a running worker can take over; `Reloader` reads it and tells the
agents, all in one step between two batches. A faulty configuration is refused as a whole: the old values stay.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mode import Service

from ...agents.agents import Agent
from ...agents.tasks import persistently
from ...schemas.errors import ConfigurationError
from ..settings.file import KNOWN, Configuration, ConfigurationFile
from ..settings.place import Place, written
from ..settings.tables import Settings
from ..settings.terms import THRESHOLDS, scored_alike
from ..telemetry.logs import SERVICES
from ..versions.in_force import InForce

log = logging.getLogger(__name__)

#: seconds between two looks at the files
LOOK_EVERY_S = 1.0
_LIMITS = frozenset(
    {("remote", "requests_per_minute"), ("remote", "tokens_per_minute"), ("remote", "in_flight")},
)


@dataclass(frozen=True, slots=True)
class Change:
    """What a new configuration means for a running worker."""

    takes: frozenset[Place]  #: differ, and are taken over
    waits: tuple[Place, ...]  #: differ, and need a restart


def compare(old: Settings, new: Settings) -> Change:
    """What differs. Thresholds are taken over only where the scores that they judge stay what they are."""
    different = _different(old, new)
    thresholds = different & THRESHOLDS if scored_alike(old, new, different) else frozenset()
    takes = thresholds | (different & _LIMITS)
    return Change(takes, tuple(sorted(different - takes)))


def _different(old: Settings, new: Settings) -> frozenset[Place]:
    """Keys with another value; a table inside a table counts as one key."""
    before, after = values_of(old), values_of(new)
    return frozenset(place for place in before if before[place] != after[place])


def values_of(settings: Settings) -> dict[Place, Any]:
    """Every key with its value."""
    values: dict[Place, Any] = {}
    for name in type(settings).model_fields:
        table = getattr(settings, name)
        fields = getattr(type(table), "model_fields", None)
        if fields is None:
            values["", name] = table
        else:
            values |= {(name, field.alias or key): getattr(table, key) for key, field in fields.items()}
    return values


def merged(old: Settings, new: Settings, takes: frozenset[Place]) -> Settings:
    """The old settings with these keys of the new ones: what runs."""
    tables = {
        table: getattr(old, table).model_copy(
            update={key: getattr(getattr(new, table), key) for name, key in takes if name == table}
        )
        for table in {name for name, _ in takes}
    }
    return old.model_copy(update=tables)


class Reloader:
    """Tells the agents what has changed. `ask` may be called at any time on the event loop."""

    def __init__(
        self,
        source: ConfigurationFile,
        running: Configuration,
        agents: Sequence[Agent],
        look_every_s: float = LOOK_EVERY_S,
        in_force: InForce | None = None,
        renewed: Sequence[Callable[[], object]] = (),
    ) -> None:
        """`in_force`: knows which version judges, where that is not said by the configuration alone. `renewed` hear
        that somebody asked, as agents do.
        """
        self.settings = running.settings  #: what runs
        self._terms = running.terms
        self._source = source
        self._agents = agents
        self._look_every_s = look_every_s
        self._renewed = renewed
        self._in_force = in_force or InForce(running.settings.name, running.terms, follows=False)
        self._asked = asyncio.Event()
        self._refused: tuple[str, ...] = ()  # the faults of what was read last
        self._waits: tuple[str, ...] = ()  # keys whose change waits for a restart

    def __repr__(self) -> str:
        return f"<Reloader {self._terms.version}{', refuses' if self._refused else ''}>"

    def ask(self) -> None:
        """Read it again, also if no file seems to have changed."""
        self._asked.set()

    async def run(self) -> None:
        """Look, reload and wait, for ever. The first look finds what changed while the worker started."""
        acted: object = None
        before: object = None
        while True:
            stamps = await asyncio.to_thread(self._stamps)
            asked, rests = self._asked.is_set(), before in (None, stamps)
            # a file is read once it rests, and again and again while it is refused: its mending may be elsewhere
            if asked or self._refused or (stamps != acted and rests):
                self._asked.clear()
                acted = stamps
                await self.reload(asked=asked)
            before = stamps
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._look_every_s):
                await self._asked.wait()
        except TimeoutError:
            return

    def _stamps(self) -> tuple[object, ...]:
        named = self.settings.thresholds.file
        return tuple(_stamp(str(file)) for file in (self._source.path, named) if file)

    async def reload(self, *, asked: bool) -> None:
        """Read, and take over what can be. Nothing is told twice, unless somebody asked.

        Who asks has perhaps replaced a secret, too.
        """
        if asked:
            for agent in self._agents:
                await agent.renew()
            for hear in self._renewed:
                hear()
        try:
            new = await asyncio.to_thread(self._source.load)
            faults = self._objections(new)
        except ConfigurationError as error:
            faults = list(error.faults)
        if faults:
            self._refuse(tuple(faults), asked=asked)
            return
        change = compare(self.settings, new.settings)
        if change.takes:
            self._adopt(new, change.takes)
        elif asked or self._refused:
            log.info("read the configuration: nothing to take over", extra={"action": "reload_unchanged"})
        self._refused = ()
        self._postpone(tuple(written(place, KNOWN) for place in change.waits), asked=asked)

    def _objections(self, new: Configuration) -> list[str]:
        takes, terms = compare(self.settings, new.settings).takes, new.terms
        if not takes & THRESHOLDS:
            return []
        faults = [fault for agent in self._agents for fault in agent.objections(terms)]
        faults += self._in_force.objections(terms)
        if replace(terms, limits=self._terms.limits) != self._terms and terms.version == self._terms.version:
            faults.append(
                f"[thresholds] version: is still {terms.version!r}, and the thresholds are others; records name it, "
                "so give another one, or leave it out"
            )
        return faults

    def _adopt(self, new: Configuration, takes: frozenset[Place]) -> None:
        judged = new.terms if takes & THRESHOLDS else self._terms
        self._terms = replace(judged, limits=new.terms.limits)
        self.settings = merged(self.settings, new.settings, takes)
        terms = self._in_force.rebase(self._terms)
        for agent in self._agents:
            agent.adopt(terms)
        keys = ", ".join(written(place, KNOWN) for place in sorted(takes))
        facts = {"action": "reloaded", "keys": keys, "thresholds": terms.version}
        log.info("took over %s; thresholds version %s", keys, terms.version, extra=facts)

    def _refuse(self, faults: tuple[str, ...], *, asked: bool) -> None:
        if asked or faults != self._refused:
            text = "the new configuration is refused, the old values stay: %s"
            log.error(text, "; ".join(faults), extra={"action": "reload_refused", "faults": faults})
        self._refused = faults

    def _postpone(self, keys: tuple[str, ...], *, asked: bool) -> None:
        if keys and (asked or keys != self._waits):
            text = "changed, and needs a restart of the worker: %s"
            log.warning(text, ", ".join(keys), extra={"action": "restart_needed", "keys": keys})
        self._waits = keys


class Reloading(Service):
    """Runs the reloader for as long as the worker lives, and hears SIGHUP."""

    logger = SERVICES

    def __init__(self, reloader: Reloader, **kwargs: Any) -> None:  # noqa: ANN401  # for mode's Service
        super().__init__(**kwargs)
        self._reloader = reloader

    async def on_start(self) -> None:
        """Only the main thread is told of signals; elsewhere the files alone are watched."""
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reloader.ask)
        self.add_future(persistently(self._reloader.run, "reload"))


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
