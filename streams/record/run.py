"""A recording from end to end: load, check, say what it can cost, ask, and tell what came of it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from rich.console import Console

from ...agents.auditing.matching import matching
from ...agents.local.agent import Local
from ...agents.remote.agent import Remote
from ...agents.supervision.recording import Recording
from ...schemas.errors import BiSupervisedError, ConfigurationError, InvalidRequest
from ..console.output import counted, progress_console, working
from ..console.signals import run_coroutine
from ..events.making import as_rows, request_format
from ..offline.recordings.columns import MARK, Where
from ..offline.recordings.pairs import read_recording
from ..settings.file import Configuration
from ..settings.keys.remote import BudgetSettings
from ..settings.tables import Settings
from ..settings.terms import SCORES
from ..worker.making import make_local, make_remote
from ..worker.reload import values_of
from .asking import Asking, AskingPolicy, RecordingStopped
from .labelled import Labelled, LabelledError, Reading, look, never_right
from .pairs import About, Pairs
from .paying import Allowance, Bound, Calling, allowed, funds
from .progress import Watch
from .rows import ScoreNames
from .summary import Summary

#: faults that are named, a line each
_NAMED = 1000
#: rows of both models
PAIRS = Where(MARK, "true")
#: what they would say of each input, its row says
_TOLD_BY_ROWS = ("bisupervised.agents.remote.agent", "bisupervised.agents.local.agent")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be recorded, and what it may cost."""

    labelled: Path
    out: Path
    labels: Path | None = None
    truth_column: str | None = None
    id_column: str | None = None
    as_text: bool = False
    local_only: bool = False
    yes: bool = False
    most_cost: float | None = None


class NotAsked(BiSupervisedError):
    """Somebody said no, or nothing may be spent."""


def recording_settings(settings: Settings) -> Settings:
    """The settings under which a recording asks: as the worker does, but for what belongs to events and to a fleet.

    There is no topic of a budget: `--most-cost` bounds the bill. An old event's deadline is over. A cache would have
    calls depend on what a killed run remembered, and so change their idempotency keys.
    """
    remote = settings.remote.model_copy(update={"cache_records": 0, "while_open": "wait"})
    request = as_rows(settings.request).model_copy(update={"deadline_ms": "", "deadline_header": ""})
    return settings.model_copy(update={"remote": remote, "request": request, "budget": BudgetSettings()})


def record(configuration: Configuration, order: Order) -> Summary:
    """Record, or go on. Raises `ConfigurationError` with every fault of the inputs before anything is paid."""
    settings = recording_settings(configuration.settings)
    console, hung = progress_console(), list[bool]()
    for speaking in _TOLD_BY_ROWS:
        logging.getLogger(speaking).addHandler(logging.NullHandler())
    with working("loading the local model"):
        local = make_local(settings, configuration.terms, lambda: hung.append(True), detailed=True)
    try:
        labelled = checked(settings, order, local.labels)
        with Pairs.opened(order.out, _about(settings, order, labelled, local)) as pairs:
            return _Run(configuration, settings, order, labelled, local, pairs, console).summary()
    except RecordingStopped as error:
        if hung:  # a thread that hangs would keep this process from ending
            console.print(str(error), markup=False)
            sys.stdout.flush()
            os._exit(1)
        raise
    finally:
        local.close()


def labelled_inputs(settings: Settings, order: Order) -> Labelled:
    """The inputs, for who asks no model about them. Raises `ConfigurationError` with every fault of theirs."""
    return checked(recording_settings(settings), order, ())


def checked(settings: Settings, order: Order, labels: Sequence[object]) -> Labelled:
    """The inputs. Raises `ConfigurationError` with every fault of theirs. `labels`: of the local model."""
    shape = request_format(settings)
    matches = matching(settings.audit.matches)
    reading = Reading(shape, order.labels, order.truth_column, order.id_column, order.as_text, matches)
    known = list(dict.fromkeys([*labels, *settings.local.labels, *settings.remote.labels]))
    with working(f"checking {order.labelled}"):
        labelled, faults = look(order.labelled, reading, known)
    named = {"the local model's labels": labels or settings.local.labels, "[remote] labels": settings.remote.labels}
    faults = [*faults, *never_right(labelled, named, matches)]
    if faults:
        more = [f"and {len(faults) - _NAMED:,} more"] if len(faults) > _NAMED else []
        nothing = f"nothing was asked: {counted(len(faults), 'fault')} in {order.labelled}"
        raise ConfigurationError([*faults[:_NAMED], *more, nothing])
    return labelled


def _about(settings: Settings, order: Order, labelled: Labelled, local: Local) -> About:
    """What the recording is of."""
    values = values_of(settings)
    shape = {("request", "input"), ("request", "id"), ("remote", "batch_bytes"), ("", "name")}
    wanted = {".".join(filter(None, place)): values[place] for place in SCORES | shape}
    wanted["remote.supervisor"] = settings.remote.own_score
    digests = {key: blake2b(repr(value).encode(), digest_size=6).hexdigest() for key, value in sorted(wanted.items())}
    unit = 1 if order.local_only else settings.remote.batch_size
    return About(len(labelled), labelled.digest, digests, local.model_name, unit, order.local_only)


@contextmanager
def _without_talk_of_budgets() -> Iterator[None]:
    """The purse here is no fleet's, and its period is the run: what the gate says of it would be misread."""

    def is_other(record: logging.LogRecord) -> bool:
        return not str(getattr(record, "action", "")).startswith("budget_")

    gate = logging.getLogger("bisupervised.agents.remote.gate")
    gate.addFilter(is_other)
    try:
        yield
    finally:
        gate.removeFilter(is_other)


@dataclass
class _Run:
    """One run over what is left."""

    configuration: Configuration
    settings: Settings
    order: Order
    labelled: Labelled
    local: Local
    pairs: Pairs
    console: Console
    calls: int = 0
    unpaid: int = 0
    every_try: float = 0.0
    asking: Asking = field(init=False)

    def summary(self) -> Summary:
        """Do what is left to do, and count."""
        if not self.pairs.complete:
            self._ask()
        if self.pairs.complete:
            self.pairs.finish()
        tally = self.pairs.tally
        return Summary(
            self.order.out,
            len(self.labelled),
            tally,
            self.calls,
            self.unpaid,
            self.every_try,
            self._recording() if tally.pairs else None,
        )

    def _recording(self) -> Recording:
        matches = matching(self.settings.audit.matches)
        return read_recording(self.order.out, self.order.out, where=PAIRS, matches=matches).recording

    def _ask(self) -> None:
        settings, rows = self.settings, self.pairs.tally.rows
        if rows:
            self.console.print(f"goes on: {rows:,} of {counted(len(self.labelled), 'input')} recorded", markup=False)
        names = ScoreNames(settings.local.supervisor, settings.remote.own_score)
        unit = 1 if self.order.local_only else settings.remote.batch_size
        policy = AskingPolicy(unit, names, settings.stream.drain_s)
        watch = Watch(self.console, len(self.labelled), self.pairs.tally)
        self.asking = Asking(self.labelled, self.pairs, self.local, policy, watch.written)
        allowance = None if self.order.local_only else self._allowance()
        try:
            with watch, _without_talk_of_budgets():
                run_coroutine(self._asked(allowance))
        except KeyboardInterrupt:
            told = f"{self.pairs.tally.rows:,} of {counted(len(self.labelled), 'input')} recorded"
            self.console.print(f"interrupted: {told}; the same command goes on", markup=False)
            raise

    async def _asked(self, allowance: Allowance | None) -> None:
        try:
            await self._warm_up()
            await self._asked_all(allowance)
        finally:
            await self.local.hang_up()

    async def _asked_all(self, allowance: Allowance | None) -> None:
        if allowance is None:
            await self.asking.ask_local()
            return
        remote = self._remote(allowance)
        try:
            await self.asking.ask_both(remote)
        finally:
            self.calls = sum(remote.meter.statistics()["calls"].values())
            self.unpaid = self.asking.unpaid

    async def _warm_up(self) -> None:
        try:
            await self.local.warm_up(self.settings.local.warm_up)
        except Exception as error:
            raise RecordingStopped(f"the local model fails on the inputs of [local] warm_up: {error!r}") from error
        if self.local.trouble:
            raise RecordingStopped(self.local.trouble)

    def _remote(self, allowance: Allowance | None) -> Remote:
        paid = None if allowance is None else funds(allowance)
        return make_remote(self.settings, self.configuration.terms, funds=paid, hear=self.asking.hear)

    def _allowance(self) -> Allowance:
        """What may be spent, agreed on. Raises `NotAsked`, and `ConfigurationError` where nobody can be asked."""
        with working("reckoning what it can cost"):
            bound = self._bound()
        calling = Calling(self.settings.remote.batch_size, self.settings.remote.tries)
        allowance = allowed(bound, calling, self.order.most_cost, self.pairs.tally.cost)
        self.every_try = allowance.every_try
        for line in _announcement(allowance, self.order):
            self.console.print(line, markup=False)
        if bound.money and allowance.limit <= 0:
            raise NotAsked("nothing was asked: --most-cost is spent; a larger one goes on")
        agree(allowance, self.order, self.console)
        return allowance

    def _bound(self) -> Bound:
        remote, bound = self._remote(None), Bound()
        for each in self.asking.left():
            try:
                bound = bound.with_call(remote.most(each.candidate).money)
            except InvalidRequest:  # its row will say why
                bound = bound.unasked()
        if not bound.inputs and not self.pairs.tally.rows:
            raise LabelledError(f"{self.order.labelled}: [remote] can be asked about none of its inputs")
        return bound


def _announcement(allowance: Allowance, order: Order) -> Iterator[str]:
    bound = allowance.bound
    what = f"the remote is to be asked about {counted(bound.inputs, 'input')}"
    limit = f"{allowance.limit_money:.6g} may be spent" if order.most_cost is not None else _again(allowance)
    if bound.money:
        yield f"{what}, for {allowance.bound_money:.6g} at most; {limit}"
    else:
        yield f"{what}; [remote] names no price, so what that costs is not known here"
    if bound.unaskable:
        yield f"{counted(bound.unaskable, 'input')} cannot be asked as [remote] says: the rows will say why"


def _again(allowance: Allowance) -> str:
    return f"{allowance.limit_money:.6g} where calls fail, are billed all the same, and are made again"


def agree(allowance: Allowance, order: Order, console: Console) -> None:
    """Ask whether that may be spent, where it has not been said. Raises `NotAsked` for a no."""
    if not allowance.bound.money or order.yes or order.most_cost is not None:
        return
    if not (sys.stdin.isatty() and console.is_terminal):
        text = f"this can cost {allowance.limit_money:.6g}: say --yes, or --most-cost with what it may cost"
        raise ConfigurationError([text])
    console.print("Go on? [y/N] ", end="", markup=False)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotAsked("nothing was asked")
