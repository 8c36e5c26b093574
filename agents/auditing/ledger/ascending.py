"""The ladder's part in what an auditor knows: which evidence it has, what it says, and how a closing tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ....schemas.closings import LadderTerms, LadderTold, TermsTold
from ..ascent import Ascent, Chosen, Climber, restored
from ..drawn import Rights
from ..ladder import Ladder, Loosen, Terms, Tighten

Says = Literal["", "tighten", "loosen"]


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
        self._said: tuple[Says, int, str] = ("", 0, "")
        if told is not None:
            self.chosen = Chosen(told.version, told.rung, frozenset(), told.taken, told.pinned)
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
        at_ms: int,
        within_ms: int,
    ) -> None:
        """Take in what is decided. `chosen`: what the topic of versions says by now; None where nobody reads it."""
        self.chosen = chosen or Chosen(self.terms.version, self.terms.start, frozenset({self.terms.version}))
        self.chose = ""
        self.decision = self.ascent.settle(
            judge, at_ms, within_ms, rung=self.chosen.rung - 1, versions=self.chosen.versions, gone=gone
        )
        if self.decision is None:
            self._said = ("", 0, "")
        else:
            says: Says = "tighten" if isinstance(self.decision, Tighten) else "loosen"
            self._said = (says, self.decision.to + 1, self.decision.why)

    def quiet(self) -> None:
        """Nothing was taken in since: a closing that only repeats what is known says and chooses nothing."""
        self.decision, self.chose, self._said = None, "", ("", 0, "")

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
            state=state.document() if whole else None,
        )

    def exact(self) -> list[Any]:
        """What a closing's digest is of."""
        chosen, state = self.chosen, self.ascent.state.document()
        place = (chosen.version, chosen.rung, chosen.taken, chosen.pinned)
        return [*place, self._said, self.chose, self.ascent.open_from, state]
