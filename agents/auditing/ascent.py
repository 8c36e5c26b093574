"""The way of audited requests to the ladder: in their order, each when all before it are labelled or late.

A pure function of the records and of the times at which somebody closes, as all that an auditor knows. The ladder's
evidence is of all versions of the thresholds together: a request tells what it says at every rung, whichever judged it.
What other thresholds files judged is left out: their scores may be made otherwise.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ...schemas.audits import Audit
from ...schemas.records import Facts, Verdict
from ..supervision.arbitration import JOINT
from .drawn import Drawn, Rights
from .ladder import Ladder, Loosen, State, Tighten
from .rungs import Seen, at_rungs


@dataclass(frozen=True, slots=True)
class Climber:
    """A drawn request of which a label is wanted."""

    drawn: Drawn
    partition: int  #: of `audits`
    offset: int
    versions: tuple[str, ...]  #: of the thresholds that judged it: one, or two where they changed on the way
    local_score: float | None  #: None where there was none
    remote_score: float | None  #: what the second supervisor compares; None where it is not known; -inf for nothing
    takes_local: bool = False  #: of the local answer, which arbitration takes once the remote was asked

    @property
    def order(self) -> tuple[int, int, int]:
        """In which order evidence is taken in."""
        return (self.drawn.at_ms, self.partition, self.offset)


def climber_of(audit: Audit, facts: Facts, drawn: Drawn, place: tuple[int, int]) -> Climber | None:
    """The drawn request of a record of `audits` at this partition and offset; None where no label is wanted."""
    if not audit.label or not facts.thresholds:
        return None
    doubted = facts.local.thresholds if facts.local is not None else ""
    return Climber(
        drawn=drawn,
        partition=place[0],
        offset=place[1],
        versions=tuple(dict.fromkeys(version for version in (doubted, facts.thresholds) if version)),
        local_score=None if facts.local is None else facts.local.score,
        remote_score=_second_score(audit, facts.remote),
        takes_local=audit.judged is not None and audit.judged.local,
    )


def _second_score(audit: Audit, verdict: Verdict | None) -> float | None:
    """A call that failed says nothing of the answer; an answer without a score is trusted by no rung. The joint score
    stands in no verdict: where the audit does not say it, it is not known.
    """
    if verdict is None or verdict.prediction is None or (audit.judged is None and verdict.supervisor == JOINT):
        return None
    score = verdict.score if audit.judged is None else audit.judged.score
    return -math.inf if score is None else score


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the topic of versions says, read up to some offset."""

    version: str  #: in force
    rung: int  #: counted from 1, the laxest
    versions: frozenset[str]  #: of this ladder: what these judged is evidence
    taken: int = 0  #: the offset of the next record there
    pinned: bool = False  #: a person pins the rung
    raised: bool = False  #: more requests are drawn by it, until the auditor chooses otherwise
    raised_ms: int = 0  #: when that last began, milliseconds since epoch; 0 for never
    by_labels: bool = False  #: evidence chose the version, and neither a person nor the thresholds file


class Ascent:
    """Requests that wait for those before them, and what the ladder knows of all others."""

    def __init__(self, ladder: Ladder, state: State) -> None:
        """`state`: as some closing left it; what waited then is to be added again."""
        self.ladder = ladder
        self.state = state
        self._waiting: dict[int, deque[Climber]] = {}

    def __repr__(self) -> str:
        return f"<Ascent on rung {int(self.state.rung) + 1} of {len(self.ladder.rungs)}>"

    def add(self, climber: Climber) -> None:
        """A request has ended. Those of one partition come in their order."""
        self._waiting.setdefault(climber.partition, deque()).append(climber)

    def settle(
        self,
        judge: Callable[[Climber, bool], Rights | None],
        at_ms: int,
        within_ms: int,
        *,
        rung: int,
        versions: Collection[str],
        by_labels: bool = False,
        gone: Callable[[Climber], bool] = lambda _: False,
    ) -> Tighten | Loosen | None:
        """Take in what is decided at `at_ms`; labels are due `within_ms`. Returns the first decision, if there is one.

        `judge`: what the votes say, told whether it is late. `rung`: in force, from 0; `by_labels`: evidence chose it.
        `versions`: those of this ladder, whose requests are evidence. `gone`: whether a request counts no more, for its
        topic was made anew.
        """
        self.state = self.ladder.moved(self.state, rung, by_labels=by_labels)
        decided: Tighten | Loosen | None = None
        while (one := self._next()) is not None:
            if gone(one):
                self._waiting[one.partition].popleft()
                continue
            late = one.drawn.at_ms + within_ms <= at_ms
            rights = None if one.drawn.missing else judge(one, late)
            if rights is None and not late and not one.drawn.missing:
                break
            self._waiting[one.partition].popleft()
            if not set(one.versions) <= set(versions):
                continue
            self.state, decision = self.ladder.after(self.state, at_rungs(self.ladder.rungs, _seen(one, rights)))
            if decided is None and isinstance(decision, Tighten | Loosen):
                decided = decision
        return decided

    @property
    def waiting(self) -> list[Climber]:
        """All that wait, in their order."""
        return sorted((one for waiting in self._waiting.values() for one in waiting), key=_order)

    @property
    def open_from(self) -> dict[str, int]:
        """By partition of `audits`, the first request that waits."""
        return {str(number): waiting[0].offset for number, waiting in self._waiting.items() if waiting}

    def _next(self) -> Climber | None:
        return min((waiting[0] for waiting in self._waiting.values() if waiting), key=_order, default=None)


def _order(climber: Climber) -> tuple[int, int, int]:
    return climber.order


def _seen(one: Climber, rights: Rights | None) -> Seen:
    local, remote = rights or (None, None)
    taken = local if one.takes_local else remote
    return Seen.one(one.local_score, one.remote_score, local_right=local, remote_right=taken)


def restored(ladder: Ladder, document: Mapping[str, Any]) -> Ascent:
    """As it was when its state made this document; what waited then is to be added again.

    Raises `KeyError` or `ValueError` where none did.
    """
    return Ascent(ladder, State.restored(document))
