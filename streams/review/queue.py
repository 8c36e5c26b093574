"""Who labels what next: decided without I/O, with time passed in.

An input waits until its votes are decided (`judged` in `agents/auditing/drawn.py`). It is handed to one person at a
time, under a lease, and to nobody twice. So an input whose vote waits for a second person comes to another one, and one
about which two differ comes to a third, in its turn and like any other: nobody sees why it comes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from ...agents.auditing.drawn import Drawn, Matches, judged
from ...agents.auditing.votes import Ballot
from ...schemas.audits import Label

#: last steps of a person that can be taken back
_STEPS = 100
#: last labels of a person whose time is looked at
_TIMES = 50


class Place(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


class Order(NamedTuple):
    """The oldest comes first."""

    at_ms: int
    place: Place


@dataclass(frozen=True, slots=True)
class Item:
    """An input that may need a label."""

    drawn: Drawn
    place: Place  #: of the record with the input

    @property
    def order(self) -> Order:
        """By the broker's clock."""
        return Order(self.drawn.at_ms, self.place)


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for all."""

    keep_ms: float  #: after so long an input needs no label any more
    lease_s: float  #: for so long nobody else gets an input that was handed out


class Step(NamedTuple):
    """What a person did with an input."""

    source: str
    skipped: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a person is.

    Not how many of this person's labels wait for somebody else: that would tell which of them surprise.
    """

    done: int  #: labels of this person that stand
    left: int  #: inputs that wait, and that this person may label
    skipped: int  #: of those that wait, skipped by this person
    seconds: float | None  #: that a label took this person, the median of the last ones; None before the first


@dataclass(slots=True)
class _Lease:
    who: str
    since: float  #: when it was handed out first
    until: float


@dataclass(slots=True)
class _Person:
    current: str | None = None  #: source of what this person looks at
    skipped: set[str] = field(default_factory=set)
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=_STEPS))
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES))


@dataclass(slots=True)
class _Votes:
    ballot: Ballot = field(default_factory=Ballot)
    said: dict[str, tuple[int, Any]] = field(default_factory=dict)  #: who -> offset of the last label, and its truth
    at_ms: int = 0  #: of the newest


class Queue:
    """Inputs, votes, leases."""

    def __init__(self, policy: Policy, matches: Matches) -> None:
        self._policy, self._matches = policy, matches
        self._items: dict[str, Item] = {}
        self._waiting: list[tuple[Order, str]] = []  # in order
        self._votes: dict[str, _Votes] = {}
        self._leases: dict[str, _Lease] = {}
        self._people: dict[str, _Person] = {}

    def __repr__(self) -> str:
        return f"<Queue, {len(self._waiting)} of {len(self._items)} wait>"

    def __len__(self) -> int:
        return len(self._waiting)

    # what the topics say

    def add(self, item: Item) -> None:
        """An input, which may be known. Of two with one source the later one counts."""
        source = item.drawn.source
        known = self._items.get(source)
        if known is not None and known.order >= item.order:
            return
        self._stop_waiting(source)
        self._items[source] = item
        self._look(source)

    def drop(self, source: str) -> None:
        """Its record is not there any more."""
        self._stop_waiting(source)
        self._items.pop(source, None)
        self._give_back(source)

    def vote(self, label: Label, offset: int, at_ms: int) -> None:
        """A record of `labels`. It may come twice: from whoever wrote it here, and from the topic."""
        votes = self._votes.setdefault(label.source, _Votes())
        before, _ = votes.said.get(label.by, (-1, None))
        if offset <= before:
            return
        votes.said[label.by] = (offset, label.truth)
        votes.at_ms = max(votes.at_ms, at_ms)
        votes.ballot.take(label)
        self._note(label)
        self._look(label.source)

    def forget(self, now_ms: float) -> None:
        """Drop what nobody needs any more."""
        oldest = now_ms - self._policy.keep_ms
        for source in [source for source, item in self._items.items() if item.drawn.at_ms <= oldest]:
            self.drop(source)
        for source in [s for s, votes in self._votes.items() if votes.at_ms <= oldest and s not in self._items]:
            del self._votes[source]

    # what people do

    def next(self, who: str, now: float) -> Item | None:
        """What this person looks at: the same as before, or the oldest input that waits. None where there is none."""
        source = self._still(who) or next(self._free(who, now), None)
        if source is None:
            return None
        lease = self._leases.get(source)
        since = lease.since if lease is not None and lease.who == who else now
        self._leases[source] = _Lease(who, since, now + self._policy.lease_s)
        self._person(who).current = source
        return self._items[source]

    def knows(self, source: str) -> bool:
        """Whether there is such an input."""
        return source in self._items

    def labelled(self, who: str, source: str, now: float) -> None:
        """This person's label of it is written."""
        lease = self._leases.get(source)
        if lease is not None and lease.who == who:
            self._person(who).seconds.append(min(now - lease.since, self._policy.lease_s))
        self._put_down(who, source)

    def skip(self, who: str, source: str) -> None:
        """This person does not want it. Somebody else may."""
        person = self._person(who)
        person.skipped.add(source)
        person.steps.append(Step(source, skipped=True))
        self._put_down(who, source)

    def unskip(self, who: str) -> None:
        """This person would see again what was skipped."""
        self._person(who).skipped.clear()

    def last_step(self, who: str) -> Step | None:
        """What this person did last, and can take back."""
        steps = self._person(who).steps
        while steps and steps[-1].source not in self._items:
            steps.pop()
        return steps[-1] if steps else None

    def take_back(self, who: str, step: Step, now: float) -> None:
        """Hand its input to this person again, unless somebody else looks at it now. A vote is withdrawn already."""
        person = self._person(who)
        person.skipped.discard(step.source)
        if step in person.steps:
            person.steps.remove(step)
        lease = self._leases.get(step.source)
        if lease is not None and lease.who != who and lease.until > now:
            return
        if person.current is not None:
            self._put_down(who, person.current)
        if step.source in self._items:
            self._leases[step.source] = _Lease(who, now, now + self._policy.lease_s)
            person.current = step.source

    def said(self, who: str, source: str) -> Any:  # noqa: ANN401  # any JSON value
        """What this person said last about it; None for nothing."""
        votes = self._votes.get(source)
        return votes.said.get(who, (0, None))[1] if votes is not None and who in votes.ballot.by else None

    def progress(self, who: str) -> Progress:
        """How far this person is."""
        person = self._person(who)
        may = [source for _, source in self._waiting if not self._has_voted(who, source)]
        skipped = sum(source in person.skipped for source in may)
        return Progress(
            done=sum(who in votes.ballot.by for votes in self._votes.values()),
            left=len(may) - skipped,
            skipped=skipped,
            seconds=median(person.seconds) if person.seconds else None,
        )

    # within

    def _person(self, who: str) -> _Person:
        return self._people.setdefault(who, _Person())

    def _still(self, who: str) -> str | None:
        """What this person looks at, unless it went to somebody else meanwhile, or needs no label any more."""
        source = self._person(who).current
        if source is None or source not in self._items or self._has_voted(who, source) or not self._waits(source):
            return None
        lease = self._leases.get(source)
        return source if lease is not None and lease.who == who else None

    def _free(self, who: str, now: float) -> Iterator[str]:
        skipped = self._person(who).skipped
        for _, source in self._waiting:
            lease = self._leases.get(source)
            held = lease is not None and lease.who != who and lease.until > now
            if not held and source not in skipped and not self._has_voted(who, source):
                yield source

    def _has_voted(self, who: str, source: str) -> bool:
        votes = self._votes.get(source)
        return votes is not None and who in votes.ballot.by

    def _put_down(self, who: str, source: str) -> None:
        person = self._person(who)
        if person.current == source:
            person.current = None
        lease = self._leases.get(source)
        if lease is not None and lease.who == who:
            del self._leases[source]

    def _give_back(self, source: str) -> None:
        lease = self._leases.get(source)
        if lease is not None:
            self._put_down(lease.who, source)

    def _note(self, label: Label) -> None:
        """So that it can be taken back, after a restart as well."""
        steps = self._person(label.by).steps
        step = Step(label.source, skipped=False)
        if step in steps:
            steps.remove(step)
        if not label.withdrawn:
            steps.append(step)

    def _look(self, source: str) -> None:
        """Whether it waits, by its votes."""
        item = self._items.get(source)
        if item is None:
            return
        votes = self._votes.get(source)
        decided = judged(item.drawn, None if votes is None else votes.ballot, self._matches) is not None
        if decided:
            self._stop_waiting(source)
        elif not self._waits(source):
            insort(self._waiting, (item.order, source))

    def _waits(self, source: str) -> bool:
        return self._at(source) is not None

    def _at(self, source: str) -> int | None:
        item = self._items.get(source)
        if item is None:
            return None
        at = bisect_left(self._waiting, (item.order, source))
        return at if at < len(self._waiting) and self._waiting[at][1] == source else None

    def _stop_waiting(self, source: str) -> None:
        at = self._at(source)
        if at is not None:
            del self._waiting[at]
