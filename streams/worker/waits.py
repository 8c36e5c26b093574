"""How long a partition may stand still at most, as a formula of the settings.

What is counted is every wait of ours from the moment when something happens until the next commit of the partition,
each at its longest, while a broker answers and a model does. The time of the work itself comes on top: starting a
process, a fetch, the model. `docs/chaos.md` explains each term; `check` says where the settings allow more than
`[stream] pause_aim_s`, and the chaos runs call a partition stuck that stands still for longer.

    release   drain_s + the last flush + closing
    hear      a heartbeat: until a member hears of a rebalance
    again     hear + the last flush + closing: a rebalance that follows shares the drain of the one before
    take      transaction_timeout_s: one try to take a partition over, all of it
    reopen    until a lost producer is opened again
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..kafka.consumer import heartbeat_s
from ..plane.ownership import CLOSING_S, LAST_FLUSH_S
from ..plane.partition import REOPEN_S
from ..plane.plane import LEAVING_S, SAYING_S

if TYPE_CHECKING:
    from ..settings.tables import Settings


@dataclass(frozen=True, slots=True)
class Waits:
    """The longest that a partition may stand still, by what happened, seconds."""

    session_s: float  #: until the broker notices that a worker is gone
    request_s: float  #: until we notice that a broker is
    drain_s: float  #: that work in flight gets
    take_s: float  #: for one transaction, or for one try to take over or to recover

    @property
    def leave(self) -> float:
        """A worker is told to stop, and another takes its place at once: two rebalances."""
        return self._release + LEAVING_S + SAYING_S + self._rebalance + self._again + self.take_s

    @property
    def kill(self) -> float:
        """A worker dies, and another takes its place."""
        return self.session_s + self._rebalance + self._again + self.take_s

    @property
    def freeze(self) -> float:
        """A worker stands still past its session, and wakes up: it takes its partitions back once, and joins again."""
        return self.kill + REOPEN_S

    @property
    def broker(self) -> float:
        """A broker hangs, and others answer in its place: its connections are given up, and the group forms anew."""
        return self.request_s + self._rebalance + self.take_s

    @property
    def transaction(self) -> float:
        """A transaction is lost: it hangs, the producer is opened again, and it is sent again."""
        return self.take_s + REOPEN_S + self.take_s + self.take_s

    @property
    def longest(self) -> tuple[str, float]:
        """What makes a partition stand still longest, and for how long."""
        found = {name: getattr(self, name) for name in ("leave", "kill", "freeze", "broker", "transaction")}
        worst = max(found, key=lambda name: found[name])
        return worst, found[worst]

    @property
    def _release(self) -> float:
        return self.drain_s + LAST_FLUSH_S + CLOSING_S

    @property
    def _rebalance(self) -> float:
        return heartbeat_s(self.session_s) + self._release

    @property
    def _again(self) -> float:
        return self._rebalance - self.drain_s


def waits(settings: Settings) -> Waits:
    """Those that these settings allow."""
    kafka, stream = settings.kafka, settings.stream
    return Waits(kafka.session_timeout_s, kafka.request_timeout_s, stream.drain_s, stream.transaction_timeout_s)
