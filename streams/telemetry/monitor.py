"""What a worker looks like from outside: the page and the metrics read `view`, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ...agents.clock import wall_ms
from ..kafka.connection import Renewal
from ..kafka.errors import Lost
from .ageing import Nearing
from .held_back import Place, Wait
from .running_step import RunningStep, StepView

log = logging.getLogger(__name__)

#: seconds between two looks at the event loop, and how many are remembered
_LOOK_S = 0.5
_LOOKS = 60
#: looks between two questions to the broker: where the partitions end
_LOOKS_A_QUESTION = 10


class WorkerView(NamedTuple):
    """A worker at one moment."""

    steps: list[StepView]
    now_ms: float  #: the moment, milliseconds since epoch
    started_ms: float  #: when the worker started
    loop_lag_s: float  #: the longest that the event loop was late of late, seconds
    price_per_call: float  #: of the settings
    refusals: int = 0  #: connections that the broker refused
    thresholds: Mapping[str, Any] = {}  #: which version judges, and why; empty where nobody says
    audit: Mapping[str, Any] = {}  #: whether the promise is still true; empty without an audit
    batches: Mapping[str, Any] = {}  #: those that the remote is asked in; empty where it is in none

    @property
    def unit_cost(self) -> float:
        """What asking about one input costs: by those asked about so far, failed calls included, or the price of the
        settings.
        """
        asking = [step.outcomes for step in self.steps if step.agent == "remote"]
        asked = sum(outcomes["asked"] for outcomes in asking)
        cost: float = sum(outcomes["cost"] for outcomes in asking)
        return cost / asked if asked else self.price_per_call


def _say(place: Place, wait: Wait) -> None:
    text = (
        "%s-%d: readers wait at offset %d, where somebody has a transaction open: %d records are read when it ends; "
        "`kafka-transactions.sh find-hanging` finds one that nobody ends"
    )
    log.warning(text, *place, wait.at, wait.records, extra={"action": "readers_wait"})


def _warn(nearing: Nearing) -> None:
    """Say that records will be deleted unread, and what a person can do."""
    text = (
        "%s-%d: in %.1f hours its oldest waiting record may be deleted, by the retention of the topic. Raise it "
        "(kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config retention.ms=…), end what the "
        'records wait for, or let them fall back ([remote] while_open, [budget] when_spent = "fallback")'
    )
    facts = {
        "action": "retention_near",
        "topic": nearing.topic,
        "partition": nearing.partition,
        "left_s": nearing.left_s,
    }
    log.warning(text, nearing.topic, nearing.partition, nearing.left_s / 3600, nearing.topic, extra=facts)


class Monitor:
    """Looks at the steps of a worker, and measures what nobody else does: the loop's lag, where partitions end."""

    def __init__(
        self,
        steps: Sequence[RunningStep],
        *,
        price_per_call: float = 0.0,
        renewal: Renewal | None = None,
        thresholds: Callable[[], Mapping[str, Any]] = dict,
        audit: Callable[[], Mapping[str, Any]] = dict,
        batches: Callable[[float], Mapping[str, Any]] = lambda _: {},
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], float] = wall_ms,
    ) -> None:
        self._steps = steps
        self._price = price_per_call
        self._renewal = renewal
        self._thresholds = thresholds
        self._audit = audit
        self._batches = batches
        self._clock = clock
        self._now_ms = now_ms
        self._started_ms = now_ms()
        self._late: deque[float] = deque(maxlen=_LOOKS)
        self.answered: dict[str, float] = {}  #: by agent: when the broker last answered it, on the clock
        self.missing: dict[str, str] = {}  #: by agent: the topic that it reads, where the broker has none of that name

    def __repr__(self) -> str:
        return f"<Monitor of {[step.plane.policy.name for step in self._steps]}>"

    async def run(self) -> None:
        """Measure for ever."""
        await asyncio.gather(self._watch_loop(), *(self._ask(step) for step in self._steps))

    async def _watch_loop(self) -> None:
        while True:
            due = self._clock() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            self._late.append(max(0.0, self._clock() - due))

    async def _ask(self, step: RunningStep) -> None:
        while True:
            try:
                await self._look_at(step)
                self.answered[step.plane.policy.name] = self._clock()
            except Lost as error:
                log.debug("%s: %s", step.plane.policy.name, error, extra={"action": "ends_unknown"})
            except Exception:  # a client that is closed meanwhile; and looking at a worker must not end it
                log.exception("cannot look at %s", step.plane.policy.name, extra={"action": "look_failed"})
            await asyncio.sleep(_LOOK_S * _LOOKS_A_QUESTION)

    async def _look_at(self, step: RunningStep) -> None:
        policy = step.plane.policy
        if not await step.plane.topic_is_there():
            self.missing[policy.name] = policy.topic
            return
        self.missing.pop(policy.name, None)
        for place, wait in (await step.measure(self._clock)).items():
            _say(place, wait)
        for nearing in await step.look_ahead(self._now_ms()):
            _warn(nearing)

    def view(self) -> WorkerView:
        """As the worker is now."""
        views = [step.view() for step in self._steps]
        lag_s, refusals = max(self._late, default=0.0), self._renewal.refusals if self._renewal is not None else 0
        return WorkerView(
            views,
            self._now_ms(),
            self._started_ms,
            lag_s,
            self._price,
            refusals,
            thresholds=self._thresholds(),
            audit=self._audit(),
            batches=self._batches(self._now_ms()),
        )

    @property
    def refusal(self) -> str:
        """Why the broker refused our last connection; '' where it did not."""
        return self._renewal.refusal if self._renewal is not None else ""
