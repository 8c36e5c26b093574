"""Whether batches may be created: not while the provider refuses whatever it is asked. No I/O, no clock of its own.

Of what is refused nobody knows whether the input is to blame, or the settings, until others are answered, as of direct
calls. So a batch is weighed as a whole: one line that was answered says that the settings are good, and that each
refused line beside it is its input's own. Where none was answered the breaker decides, and while it stops everything
only a small batch is created now and then, to see whether it is answered.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal

from ....schemas.errors import RecordError
from ..gating.news import News
from ..limiting.breaker import Breaker, BreakerPolicy
from ..retry import CallRefused, Terminal, is_refusal
from ..transport import Response
from .provider import LineResult

log = logging.getLogger(__name__)

#: inputs of a batch that probes, at most
PROBE_INPUTS = 20
#: batches that are made so small and wait, at most
_PROBES = 8
#: a ticket that no outcome counts of
NO_TICKET = -1
_REFUSED = "the provider refuses everything that it is asked in batches"
#: what a batch says of its refused lines: they are their inputs' own; nobody knows; or of the settings, for all are
Weighed = Literal["own", "unknown", "settings"]


@dataclass(slots=True)
class Tally:
    """What the lines of one batch say."""

    raise_for: Callable[[Response], None]  #: raises what a response stands for that is no success
    most: int  #: refusals that are remembered
    answered: int = 0
    refused: dict[str, RecordError] = field(default_factory=dict)  #: by `custom_id`, the first of them

    def take(self, result: LineResult) -> None:
        """The next line."""
        if result.response is None:
            return
        try:
            self.raise_for(result.response)
        except RecordError as error:
            if is_refusal(error) and len(self.refused) < self.most:
                self.refused[result.custom_id] = error
        else:
            self.answered += 1

    async def through(self, results: AsyncIterator[LineResult]) -> AsyncIterator[LineResult]:
        """These results, each taken on its way."""
        async for result in results:
            self.take(result)
            yield result


class BulkGate:
    """Lets batches be created. `now` is seconds of any monotonic clock."""

    def __init__(self, policy: BreakerPolicy | None = None, *, waits: bool = True, asked: str = "") -> None:
        """`waits`: inputs wait while everything is refused; else they fall back. `asked`: who, for the log."""
        self.policy = policy or BreakerPolicy()
        self.waits = waits
        self.answers = 0  #: times that a batch was seen to be answered
        self._breaker = Breaker(self.policy)
        self._news = News(self.policy)
        self._asked = asked
        self._small: dict[str, bool] = {}  # batches that may probe, and whether they have

    def __repr__(self) -> str:
        return f"<BulkGate {self._breaker.state}>"

    @property
    def stopped(self) -> str:
        """Why no batch is created, in words; '' while they are."""
        return self._news.down

    @property
    def well(self) -> bool:
        """Something was answered since everything was last stopped."""
        return self._breaker.well

    def blames(self, about: str) -> bool:
        """This alone explains as many refusals as would stop everything."""
        return self._breaker.blames(frozenset((about,)))

    def admits(self, now: float) -> bool:
        """Whether a batch may be created: while all are stopped, one at a time, and a small one."""
        return self._breaker.admits(now)

    def wants_small(self, batch: str, inputs: int) -> bool:
        """Whether a batch that is admitted is too large for a probe."""
        if not self.stopped:
            return False
        if inputs <= PROBE_INPUTS:
            self._small.setdefault(batch, False)
            return False
        return True

    def may_split(self, batch: str) -> bool:
        """Whether a few inputs may be taken out of this batch to probe: those that were have, and are few."""
        if not all(self._small.values()) or len(self._small) >= _PROBES:
            return False
        self._small[batch] = False  # until it is gone
        return True

    def begin(self, batch: str, now: float) -> int:
        """A batch that was admitted is created. Returns the ticket that its outcome shows."""
        if self.stopped:
            self._small[batch] = True
            log.info("batch %s probes the provider", batch, extra={"action": "remote_probe", "batch": batch})
        return self._breaker.begin(now)

    def joined(self, now: float) -> int:
        """The ticket of a batch that somebody else has created."""
        return self._breaker.begin(now) if self._breaker.closed else NO_TICKET

    def abandoned(self, ticket: int) -> None:
        """Nothing was heard that tells who is to blame."""
        self._breaker.abandoned(ticket)

    def gone(self, batch: str, ticket: int) -> None:
        """This batch is over, or another worker's."""
        self._small.pop(batch, None)
        self._breaker.abandoned(ticket)

    def answered(self, ticket: int) -> None:
        """Some lines of a batch are."""
        was = self._breaker.state
        self.answers += 1
        self._breaker.succeeded(ticket)
        self._tell(was)

    def weigh(self, ticket: int, tally: Tally, now: float) -> Weighed:
        """The lines of a batch have come."""
        if tally.answered:
            self.answered(ticket)
            return "own"
        if not tally.refused:
            self._breaker.abandoned(ticket)
            return "own"
        every = all(isinstance(error, Terminal) for error in tally.refused.values())
        names = [frozenset((name,)) for name in tally.refused]
        self._refuse(ticket, names, next(iter(tally.refused.values())), now, every=every)
        return "settings" if self._breaker.stopped else "unknown"

    def refused(self, ticket: int, error: CallRefused, now: float, about: str = "") -> None:
        """The provider refuses to create a batch. `about`: what is refused again and again is one refusal, where the
        provider has others that may be answered yet.
        """
        abouts = [frozenset((about,) if about else ())]
        self._refuse(ticket, abouts, error, now, every=isinstance(error, Terminal))

    def _refuse(
        self, ticket: int, abouts: list[frozenset[str]], error: RecordError, now: float, *, every: bool
    ) -> None:
        was, breaker = self._breaker.state, self._breaker
        self._news.heard(error)
        for about in abouts:
            breaker.refused(ticket, now, about, every=every)
        if breaker.doubted:
            breaker.decide(now, known=False)
        self._tell(was)

    def renewed(self, now: float) -> None:
        """What the provider refused us for may be mended: the next batch may probe at once."""
        self._breaker.try_now(now)

    def _tell(self, was: str) -> None:
        state = self._breaker.state
        if state == "stopped" and was != state:
            self._news.stopped(_REFUSED, self._asked)
        elif state == "closed" and was != state:
            self._news.closed()
