"""What is known of the requests that one version of the thresholds judged: counts, shares and alarms."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ....schemas.closings import Share, TermsTold, VersionTold
from ..drawn import MUCH_LATE, Drawn, Rights
from ..interval import interval
from .watch import Watch, watch_of

if TYPE_CHECKING:
    from ..drawn import Matches
    from .memory import Request

#: the shares that a closing tells, by their names there
_SHARES = ("error", "false_positive_rate", "local_error", "remote_error", "doubtful", "disagreement")


class Tally:
    """One version. What is settled is in the counts; what waits for a label is in order, by partition."""

    def __init__(self, told: VersionTold, labels_to_false_alarm: float) -> None:
        """`told`: how it stood, in some closing; what waits is told apart, by `waits`."""
        self.version = told.version
        self.drawn, self.wanted, self.missing = told.drawn, told.wanted, told.missing
        self.unshadowed = told.unshadowed
        self.evidence, self.late = told.evidence, told.late
        self.remote_unasked = told.remote_unasked
        self.changed = True  #: since the last closing
        self._shares = {name: (getattr(told, name).wrong, getattr(told, name).labels) for name in _SHARES}
        self._watches = [watch_of(alarm, labels_to_false_alarm) for alarm in told.alarms]
        self._waiting: dict[int, deque[Request]] = {}
        self._open = self._decided = self._disputed = 0

    def watch(self, terms: TermsTold) -> None:
        """These promises are made from now on: what is known about those that stay is kept."""
        a = terms.labels_to_false_alarm
        known = {one.promise: replace(one, labels_to_false_alarm=a) for one in self._watches}
        watches = [known.get(promise, Watch(promise, a)) for promise in terms.promises]
        if watches != self._watches:
            self._watches, self.changed = watches, True

    # what comes

    def take(self, one: Drawn, matches: Matches) -> None:
        """A drawn request has ended."""
        self.changed = True
        self.drawn += 1
        self.missing += one.missing
        self.unshadowed += one.unshadowed
        self.wanted += one.label and not one.missing
        if one.doubtful is None or one.missing:
            return
        self._count("doubtful", wrong=one.doubtful)
        if not one.doubtful and one.local is not None and one.remote is not None:
            self._count("disagreement", wrong=not matches(one.local[0], one.remote[0]))

    def waits(self, request: Request) -> None:
        """A label is wanted for it."""
        self._waiting.setdefault(request.partition, deque()).append(request)
        request.waits = True
        self._open += 1

    def forgo(self, request: Request) -> None:
        """No label is wanted for it any more."""
        self._waiting[request.partition].remove(request)
        self._left(request)

    def told_of(self, request: Request, rights: Rights | None, people: int) -> None:
        """What the votes say by now of a request that waits."""
        if (rights, people) == (request.rights, request.people):
            return
        self.changed = True
        self._decided += (rights is not None) - (request.rights is not None)
        self._disputed += _disputed(rights, people) - _disputed(request.rights, request.people)
        request.rights, request.people = rights, people

    # what is settled

    def settle(self, judge: Callable[[Request], Rights | None], at_ms: int, within_ms: int) -> None:
        """Take in what is decided, in the order of the requests, at `at_ms`; labels are due `within_ms`.

        `judge`: what the votes say of a late request.
        """
        while (one := self._next()) is not None:
            late = one.at_ms + within_ms <= at_ms
            rights = judge(one) if late else one.rights
            if rights is None and not late:
                return
            self._waiting[one.partition].popleft()
            self._left(one)
            if rights is None:
                self.late += 1
            elif one.drawn is not None:
                self._take_in(one.drawn, rights, at_ms)
            one.drawn = None

    @property
    def oldest_ms(self) -> int | None:
        """When the request ended that is waited for first; None where none is."""
        first = self._next()
        return None if first is None else first.at_ms

    def _next(self) -> Request | None:
        return min((waiting[0] for waiting in self._waiting.values() if waiting), key=_order, default=None)

    def _left(self, request: Request) -> None:
        self.changed, request.waits = True, False
        self._open -= 1
        self._decided -= request.rights is not None
        self._disputed -= _disputed(request.rights, request.people)

    def _take_in(self, one: Drawn, rights: Rights, at_ms: int) -> None:
        self.evidence += 1
        local, remote = rights
        if local is not None:
            self._count("local_error", wrong=not local)
        if remote is not None:
            self._count("remote_error", wrong=not remote)
        self.remote_unasked += remote is None
        right = bool(local if one.answered_by == "local" else remote)
        if one.ended == "trusted":
            self._learn(one.source, "error", at_ms, wrong=not right)
        if one.ended in ("trusted", "rejected") and right:
            self._learn(one.source, "false_positive_rate", at_ms, wrong=one.ended == "rejected")

    def _learn(self, source: str, kind: str, at_ms: int, *, wrong: bool) -> None:
        self._count(kind, wrong=wrong)
        self._watches = [
            one.after(source, at_ms, wrong=wrong) if one.promise.kind == kind else one for one in self._watches
        ]

    def _count(self, name: str, *, wrong: bool) -> None:
        before, labels = self._shares[name]
        self._shares[name] = (before + wrong, labels + 1)

    # what is told

    def told(self, alpha: float) -> VersionTold:
        """As it stands in a closing; `alpha`: the intervals miss with this probability at most."""
        labelled = self.evidence + self._decided
        due = labelled + self.late
        shares = {name: _share(wrong, labels, alpha) for name, (wrong, labels) in self._shares.items()}
        return VersionTold(
            version=self.version,
            drawn=self.drawn,
            wanted=self.wanted,
            missing=self.missing,
            unshadowed=self.unshadowed,
            evidence=self.evidence,
            labelled=labelled,
            outstanding=self._open - self._decided,
            disputed=self._disputed,
            late=self.late,
            labels_late=bool(due) and self.late / due > MUCH_LATE,
            remote_unasked=self.remote_unasked,
            alarms=tuple(watch.told() for watch in self._watches),
            open_from={str(number): waiting[0].offset for number, waiting in self._waiting.items() if waiting},
            **shares,
        )


def _order(request: Request) -> tuple[int, int, int]:
    return request.order


def _disputed(rights: Rights | None, people: int) -> bool:
    return rights is None and people > 0


@lru_cache(maxsize=1024)  # most closings change one share of one version
def _share(wrong: int, labels: int, alpha: float) -> Share:
    return Share(wrong, labels, *interval(wrong, labels, alpha))
