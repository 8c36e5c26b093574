"""The ladder's part in what an auditor knows: which evidence it has, what it says, and how a closing tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ....schemas.closings import LadderTerms, LadderTold, TermsTold
from ..alarm_share import AlarmShare
from ..ascent import Ascent, Chosen, Climber, restored
from ..drawn import Rights
from ..ladder import Ladder, Loosen, Terms, Tighten

Says = Literal["", "tighten", "loosen"]


@dataclass(frozen=True, slots=True)
class Moment:
    """What a closing decides by, beside the votes."""

    at_ms: int  #: the broker's time
    within_ms: int  #: labels are due in so long
    alarm_share: AlarmShare | None = None  #: for how long more are drawn after an alarm; None where they never are
    extra: int = 0  #: labels that were wanted for that alone since the last closing
    later: bool = True  #: it bears a later time than the one before


class Ascending:
    """The ladder of one thresholds file, as it stands after some closing."""

    def __init__(self, terms: TermsTold, ladder: LadderTerms, told: LadderTold | None = None) -> None:
        """`told`: how it stood in a whole closing; what waited then is to be added again."""
        self.terms = ladder
        made = Ladder(
            ladder.rungs,
            ladder.promise,
            Terms(labels_to_false_alarm=terms.labels_to_false_alarm, delta=ladder.delta),
        )
        state = None if told is None else told.state
        self.ascent = Ascent(made, made.start(ladder.start - 1)) if state is None else restored(made, state)
        self.chosen = Chosen(ladder.version, ladder.start, frozenset())
        self.decision: Tighten | Loosen | None = None  #: what the evidence said in the last closing
        self.chose = ""  #: version that was written for it
        self.raises = False  #: more requests are drawn by the version that the decision chooses
        self.falls = False  #: they are not drawn any longer, and no rung changes
        self._spent = 0  #: labels that were wanted for a raised share since it began
        self._said: tuple[Says, int, str] = ("", 0, "")
        if told is not None:
            place = (told.version, told.rung, frozenset[str](), told.taken, told.pinned)
            self.chosen = Chosen(*place, told.raised, told.raised_ms)
            self._spent = told.raised_labels
            self.chose = told.chose
            self._said = (told.says, told.to, told.why)

    def __repr__(self) -> str:
        return f"<Ascending {self.ascent!r}>"

    def take_over(self, former: Ascending) -> None:
        """What waits at a former ladder waits here."""
        for climber in former.ascent.waiting:
            self.ascent.add(climber)

    def settle(
        self,
        chosen: Chosen | None,
        judge: Callable[[Climber, bool], Rights | None],
        gone: Callable[[Climber], bool],
        now: Moment,
    ) -> None:
        """Take in what is decided. `chosen`: what the topic of versions says by now; None where nobody reads it."""
        former = self.chosen
        self.chosen = chosen or Chosen(self.terms.version, self.terms.start, frozenset({self.terms.version}))
        self._spent = now.extra + (self._spent if self.chosen.raised_ms == former.raised_ms else 0)
        self.chose = ""
        self.decision = self.ascent.settle(
            judge,
            now.at_ms,
            now.within_ms,
            rung=self.chosen.rung - 1,
            versions=self.chosen.versions,
            by_labels=self.chosen.by_labels,
            gone=gone,
        )
        self._decide_share(now)
        if self.decision is None:
            self._said = ("", 0, "")
        else:
            says: Says = "tighten" if isinstance(self.decision, Tighten) else "loosen"
            self._said = (says, self.decision.to + 1, self.decision.why)

    def _decide_share(self, now: Moment) -> None:
        """A closing that only repeats another one bears its time, and decides nothing."""
        share, raised, begun = now.alarm_share, self.chosen.raised, (self.chosen.raised_ms, self._spent, now.at_ms)
        over = share is None or share.is_over(*begun)
        if isinstance(self.decision, Tighten) and self.decision.alarm:
            self.raises = share is not None and share.may_rise(*begun)
        else:
            self.raises = self.decision is not None and raised and not over
        self.falls = self.decision is None and raised and over and now.later

    def raise_ends(self, share: AlarmShare | None, more: int, at_ms: float) -> bool:
        """More requests are drawn now, and must not be any longer: `more` of them have ended since the last closing."""
        if not self.chosen.raised:
            return False
        return share is None or share.is_over(self.chosen.raised_ms, self._spent + more, at_ms)

    def quiet(self) -> None:
        """Nothing was taken in since: a closing that only repeats what is known says and chooses nothing."""
        self.decision, self.chose, self._said = None, "", ("", 0, "")
        self.raises = self.falls = False

    def told(self, *, whole: bool) -> LadderTold:
        """As it stands in a closing."""
        state, ladder = self.ascent.state, self.ascent.ladder
        cheaper = ladder.cheapest(state)
        says, to, why = self._said
        return LadderTold(
            version=self.chosen.version,
            rung=self.chosen.rung,
            taken=self.chosen.taken,
            pinned=self.chosen.pinned,
            requests=int(state.taken),
            against=ladder.against(state),
            says=says,
            to=to,
            why=why,
            chose=self.chose,
            cheaper=0 if cheaper is None else cheaper[0] + 1,
            calls=None if cheaper is None else cheaper[1].calls_here,
            cheaper_calls=None if cheaper is None else cheaper[1].calls_there,
            open_from=self.ascent.open_from,
            raised=self.chosen.raised,
            raised_ms=self.chosen.raised_ms,
            raised_labels=self._spent,
            state=state.document() if whole else None,
        )

    def exact(self) -> list[Any]:
        """What a closing's digest is of."""
        chosen, state = self.chosen, self.ascent.state.document()
        place = (chosen.version, chosen.rung, chosen.taken, chosen.pinned)
        raised = [[chosen.raised, chosen.raised_ms, self._spent]] if chosen.raised_ms or self._spent else []
        return [*place, self._said, self.chose, self.ascent.open_from, state, *raised]
