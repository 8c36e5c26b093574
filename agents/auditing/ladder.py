"""The ladder: when evidence from audited requests says to tighten the thresholds, and when they may be loosened.

The rungs are pairs of thresholds from lax to strict. Every audited request tells what it says at each of them
(`rungs.py`), so each rung has evidence of its own, whichever of them judges:

- against the promise, the Shiryaev-Roberts detector of the alarm (`detector.py`), without its logarithms;
- for the promise, the same likelihood ratio downwards, in two epochs of 1,000 requests that overlap by half. A rung
  whose mean of bets reaches 2 / delta in an epoch is certified in it (Ville's inequality). A stricter rung is looked at
  first, and the first one without a certificate ends the row: a fixed sequence, which needs no correction for the
  number of rungs.

**Tighten** where the current rung raises the alarm: to the laxest stricter rung whose own evidence against the promise
is below the square root of the alarm's; then evidence begins anew. **Loosen** to a rung that both epochs have
certified, with all stricter ones, and only where it saves 5 %. A rung that labels chose is **on trial**: its own labels
must certify it again, at least once in 2,000 of them, or the next stricter one follows. Else a rung just above the
promise would stay, for no alarm tells it from one that keeps the promise. Missing labels fail no trial.

What is promised: in an epoch without a change, the error of a certified rung exceeds the promise with probability delta
at most. No rule can hold a promise at every moment while the inputs change at will.

What is unknown is no evidence against the promise: a remote model that is down for an hour raises no alarm. But it is
taken for wrong where rungs are certified, so that what nobody labelled, or no shadow saw, never loosens anything. A
request that is still waited for is not given to the ladder at all, nor is any behind it.

The promise is about the error among trusted answers. A false-positive rate has no ladder: stricter rungs raise it.

State is only added, multiplied and compared, in a fixed order: the same requests make the same state on every machine,
to the last bit, for one stream and for many side by side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .detector import ODDS
from .rungs import AtRungs, Pair

Floats = NDArray[np.float64]
Marks = NDArray[np.bool_]
Counts = NDArray[np.int64]

#: rates that are bet on where a rung is to be certified, as multiples of the promised rate's odds
ODDS_BELOW = (0.95, 0.85, 0.7, 0.5)
#: epochs at once; each begins where the other one is half over
_EPOCHS = 2
#: above every certificate: there is no need to count further
_ENOUGH = 1e12


@dataclass(frozen=True, slots=True)
class Terms:
    """How much evidence a move needs. Raises `ValueError` for what cannot be."""

    labels_to_false_alarm: float = 10_000.0  #: on average, at least, while a rung keeps the promise
    delta: float = 0.1  #: probability that a rung is certified in an epoch although its error exceeds the promise
    epoch: int = 1_000  #: audited requests after which a certificate is void
    trial: int = 2_000  #: labels in which a rung that labels chose must be certified by its own
    saving: float = 0.05  #: share of the cost that a laxer rung must save, 0..1
    rejection: float = 10.0  #: what a rejected input costs, in remote calls

    def __post_init__(self) -> None:
        if not self.labels_to_false_alarm >= 2.0:
            raise ValueError(f"labels to a false alarm must be at least 2 (got {self.labels_to_false_alarm:g})")
        if not 2.0 / _ENOUGH < self.delta < 1.0:
            raise ValueError(f"delta lies between 0 and 1, and {self.delta:g} does not")
        if self.epoch < _EPOCHS:
            raise ValueError(f"an epoch has at least {_EPOCHS} requests (got {self.epoch})")
        if self.trial < 1:
            raise ValueError(f"a trial has at least one label (got {self.trial})")
        if not (0.0 <= self.saving < 1.0 and self.rejection >= 0.0):
            raise ValueError("a saving lies between 0 and 1, and a rejected input costs nothing or more")


@dataclass(frozen=True, slots=True)
class State:
    """All that the ladder knows, of one stream, or of many: arrays with the streams first."""

    rung: Counts  #: (...), which rung judges, from 0, the laxest
    taken: Counts  #: (...), requests taken in since evidence began anew
    against: Floats  #: (..., rungs, bets), R of each bet against the promise
    below: Floats  #: (..., 2, rungs, bets), what each bet for the promise has become in each epoch
    certified: Marks  #: (..., 2, rungs), whether the mean of those ever was enough in its epoch
    seen: Counts  #: (..., 2), requests taken in since each epoch began
    calls: Counts  #: (..., 2, rungs), of those, how many the rung asks the remote about
    rejected: Counts  #: (..., 2, rungs), and how many it rejects
    on_trial: Marks  #: (...), labels chose the rung that judges, and no calibration or person
    proof: Floats  #: (..., bets), what each bet for the promise has become at that rung, since it was certified so
    unproven: Counts  #: (...), its labels since then

    def document(self) -> dict[str, Any]:
        """Plain numbers, which JSON holds to the bit."""
        return {name: getattr(self, name).tolist() for name in self.__slots__}

    @classmethod
    def restored(cls, document: Mapping[str, Any]) -> State:
        """The state that made the document. Raises `KeyError` or `ValueError` where none did."""
        kinds: dict[str, type] = dict.fromkeys(("against", "below", "proof"), np.float64)
        kinds |= dict.fromkeys(("certified", "on_trial"), np.bool_)
        return cls(**{name: np.array(document[name], dtype=kinds.get(name, np.int64)) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a move rests on."""

    requests: int  #: audited, taken in since evidence began anew
    in_epoch: int  #: those of the longer epoch, whose shares these are
    against_here: float  #: evidence against the promise at the current rung; the alarm is at `labels_to_false_alarm`
    against_there: float  #: at the other one; it must be below the square root of that
    calls_here: float | None  #: share of those that the current rung asks the remote about; None of nothing
    calls_there: float | None
    rejected_here: float | None  #: share of those that it rejects
    rejected_there: float | None


@dataclass(frozen=True, slots=True)
class Stay:
    """Nothing changes. With `alarm`, the promise is in doubt, and no rung is stricter."""

    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Tighten:
    """The promise is in doubt at the current rung, or its trial has failed."""

    to: int  #: rung, from 0
    why: str
    evidence: Evidence
    alarm: bool = True  #: that rung raised the alarm


@dataclass(frozen=True, slots=True)
class Loosen:
    """A cheaper rung keeps the promise."""

    to: int  #: rung, from 0
    why: str
    evidence: Evidence


Decision = Stay | Tighten | Loosen


class Step(NamedTuple):
    """What one more request in each of many streams makes."""

    state: State  #: its rung is as before: `Ladder.moved` changes it
    alarm: Marks  #: (...), whether the current rung raised the alarm
    to: Counts  #: (...), the rung to go to; the current one where it stays


@dataclass(frozen=True, slots=True)
class Ladder:
    """Takes in audited requests in their order. Raises `ValueError` for no rungs, or a promise outside 0..1.

    A decision moves nothing by itself: somebody may have pinned the rung meanwhile. Say `moved` when the rung changed,
    for whatever reason.
    """

    rungs: tuple[Pair, ...]  #: from lax to strict
    promise: float  #: error among the trusted answers, above 0 and below 1
    terms: Terms = field(default_factory=Terms)

    def __post_init__(self) -> None:
        if not self.rungs:
            raise ValueError("a ladder has at least one rung")
        if not 0.0 < self.promise < 1.0:
            raise ValueError(f"a promise lies between 0 and 1, and {self.promise:g} does not")

    def start(self, rung: int, streams: int | None = None) -> State:
        """No evidence yet. Raises `ValueError` for a rung that the ladder does not have."""
        self._check(rung)
        shape, each = () if streams is None else (streams,), (_EPOCHS, len(self.rungs))
        return State(
            rung=np.full(shape, rung, dtype=np.int64),
            taken=np.zeros(shape, dtype=np.int64),
            against=np.zeros((*shape, len(self.rungs), len(ODDS))),
            below=np.ones((*shape, *each, len(ODDS_BELOW))),
            certified=np.zeros((*shape, *each), dtype=bool),
            seen=np.zeros((*shape, _EPOCHS), dtype=np.int64),
            calls=np.zeros((*shape, *each), dtype=np.int64),
            rejected=np.zeros((*shape, *each), dtype=np.int64),
            on_trial=np.zeros(shape, dtype=bool),
            proof=np.ones((*shape, len(ODDS_BELOW))),
            unproven=np.zeros(shape, dtype=np.int64),
        )

    def moved(self, state: State, to: int | Counts, *, by_labels: bool = True) -> State:
        """The same evidence with another rung in force. Raises `ValueError` for one that the ladder does not have.

        `by_labels`: a decision of this ladder chose it, so it is on trial. A person's choice is not.
        """
        self._check(to)
        rung = np.broadcast_to(np.asarray(to, dtype=np.int64), state.rung.shape)
        other = rung != state.rung
        return replace(
            state,
            rung=rung,
            on_trial=np.where(other, by_labels, state.on_trial),
            proof=np.where(other[..., None], 1.0, state.proof),
            unproven=np.where(other, 0, state.unproven),
        )

    def after(self, state: State, at: AtRungs) -> tuple[State, Decision]:
        """One more request of one stream, and what to do about it."""
        step, here = self.step(state, at), int(state.rung)
        to, alarm = int(step.to), bool(step.alarm)
        if to == here:
            return step.state, Stay(alarm)
        evidence = self._evidence(self._taken_in(state, at), here, to)
        promised = f"at most {self.promise:.2%} of the trusted answers wrong"
        if alarm:
            why = f"{promised} is promised, and the labels of {evidence.requests:,} requests say otherwise"
            return step.state, Tighten(to, why, evidence)
        if to > here:
            why = (
                f"{promised} is promised, and the last {int(step.state.unproven):,} labels do not show that this holds"
            )
            return step.state, Tighten(to, why, evidence, alarm=False)
        why = f"{promised} holds at a cheaper rung as well, say the labels of {evidence.in_epoch:,} requests"
        return step.state, Loosen(to, why, evidence)

    def step(self, state: State, at: AtRungs) -> Step:
        """One more request in each of many streams, and which rung each should go to."""
        made = self._taken_in(state, at)
        against = _mean(made.against)
        alarm = _of_current(against, made.rung) >= self.terms.labels_to_false_alarm
        doubted = against >= math.sqrt(self.terms.labels_to_false_alarm)
        laxer, stricter = self._laxer(made, doubted), self._stricter(made.rung, doubted)
        failed = made.on_trial & (made.unproven >= self.terms.trial) & (laxer == made.rung)
        next_one = np.minimum(made.rung + 1, len(self.rungs) - 1)
        to = np.where(alarm, stricter, np.where(failed, next_one, laxer))
        return Step(self._anew(made, alarm), alarm, to)

    def against(self, state: State) -> float:
        """Of one stream: the evidence against the promise at the rung that judges."""
        return float(_mean(state.against)[int(state.rung)])

    def cheapest(self, state: State) -> tuple[int, Evidence] | None:
        """The rung by which the remote could be asked less at the same promise; None where none is known to keep it.

        For one stream, where nothing moves by itself. It may save less than a move needs, but something.
        """
        none_doubted = np.zeros(len(self.rungs), dtype=bool)
        to, here = int(_laxer(state, none_doubted, self._cost(state), 1.0)), int(state.rung)
        return None if to == here else (to, self._evidence(state, here, to))

    def _taken_in(self, state: State, at: AtRungs) -> State:
        """The evidence with one more request."""
        begun, began = self._epochs_begun(state), self._epochs_began(state)
        proof, unproven = self._tried(state, at)
        up, down = _bets(self.promise, ODDS), _bets(self.promise, ODDS_BELOW)
        grown = (1.0 + state.against) * np.where(at.wrong[..., None], *up)
        most = len(ODDS) * self.terms.labels_to_false_alarm  # of one bet, which makes the mean enough
        below = begun.below * np.where((at.wrong | at.unknown)[..., None, :, None], *down)
        below = np.where((at.counts | at.unknown)[..., None, :, None], np.minimum(below, _ENOUGH), begun.below)
        return State(
            rung=state.rung,
            taken=state.taken + 1,
            against=np.where(at.counts[..., None], np.minimum(grown, most), state.against),
            below=below,
            certified=begun.certified | (began[..., None] & (_mean(below) >= self._enough)),
            seen=begun.seen + 1,
            calls=begun.calls + at.deferred[..., None, :],
            rejected=begun.rejected + at.rejected[..., None, :],
            on_trial=state.on_trial,
            proof=proof,
            unproven=unproven,
        )

    @property
    def _enough(self) -> float:
        """The mean of bets for the promise that is a certificate."""
        return _EPOCHS / self.terms.delta

    def _tried(self, state: State, at: AtRungs) -> tuple[Floats, Counts]:
        """Proof and labels without it of the rung that judges. A certificate begins both anew."""
        counts, wrong = _of_current(at.counts, state.rung), _of_current(at.wrong, state.rung)
        won = state.proof * np.where(wrong[..., None], *_bets(self.promise, ODDS_BELOW))
        proof = np.where(counts[..., None], won, state.proof)
        proven = _mean(proof) >= self._enough
        return np.where(proven[..., None], 1.0, proof), np.where(proven, 0, state.unproven + counts)

    def _epochs_began(self, state: State) -> Marks:
        """(..., 2), those that have begun: the second one does half an epoch after evidence began anew.

        Before that it would be the first one over again, and one lucky epoch would loosen.
        """
        half = self.terms.epoch // _EPOCHS
        return np.asarray(state.taken[..., None] >= half * np.arange(_EPOCHS))

    def _epochs_begun(self, state: State) -> State:
        """The epochs that are over begin again. All counts do where evidence began anew."""
        half = self.terms.epoch // _EPOCHS
        anew = (state.taken % self.terms.epoch)[..., None] == half * np.arange(_EPOCHS)
        anew |= state.taken[..., None] == 0
        if not anew.any():
            return state
        rungs = anew[..., None]
        return replace(
            state,
            below=np.where(rungs[..., None], 1.0, state.below),
            certified=state.certified & ~rungs,
            seen=np.where(anew, 0, state.seen),
            calls=np.where(rungs, 0, state.calls),
            rejected=np.where(rungs, 0, state.rejected),
        )

    def _anew(self, state: State, alarm: Marks) -> State:
        """Without evidence where there was an alarm."""
        if not alarm.any():
            return state
        fresh = self.start(0)
        return State(
            rung=state.rung,
            **{
                name: np.where(_as_deep(alarm, getattr(state, name)), getattr(fresh, name), getattr(state, name))
                for name in State.__slots__
                if name != "rung"
            },
        )

    def _stricter(self, rung: Counts, doubted: Marks) -> Counts:
        """The laxest stricter rung that is not doubted; the strictest where all of them are."""
        numbers = np.arange(len(self.rungs))
        fit = (numbers > rung[..., None]) & ~doubted
        fit[..., -1] = True
        return np.asarray(fit.argmax(axis=-1), dtype=np.int64)

    def _laxer(self, state: State, doubted: Marks) -> Counts:
        return _laxer(state, doubted, self._cost(state), 1.0 - self.terms.saving)

    def _cost(self, state: State) -> Floats:
        return np.asarray(state.calls + self.terms.rejection * state.rejected)

    def _evidence(self, state: State, here: int, to: int) -> Evidence:
        longer = int(state.seen.argmax())
        seen = int(state.seen[longer])

        def share(counts: Counts, rung: int) -> float | None:
            return int(counts[longer, rung]) / seen if seen else None

        against = _mean(state.against)
        return Evidence(
            requests=int(state.taken),
            in_epoch=seen,
            against_here=float(against[here]),
            against_there=float(against[to]),
            calls_here=share(state.calls, here),
            calls_there=share(state.calls, to),
            rejected_here=share(state.rejected, here),
            rejected_there=share(state.rejected, to),
        )

    def _check(self, rung: int | Counts) -> None:
        numbers = np.asarray(rung)
        if not ((numbers >= 0) & (numbers < len(self.rungs))).all():
            raise ValueError(f"the ladder has the rungs 0 to {len(self.rungs) - 1}, and not {rung}")


def pairs_of(rungs: Sequence[Any]) -> tuple[Pair, ...]:
    """The pairs of a thresholds file's rungs, which have a `local` and a `remote` threshold."""
    return tuple((rung.local, rung.remote) for rung in rungs)


def _laxer(state: State, doubted: Marks, cost: Floats, at_most: float) -> Counts:
    """The cheapest rung that both epochs certify, with all stricter ones; the current one where nothing is saved.

    `at_most`: share of the current rung's cost that it may have, in both epochs.
    """
    numbers = np.arange(doubted.shape[-1])
    row = np.flip(np.logical_and.accumulate(np.flip(state.certified, axis=-1), axis=-1), axis=-1)
    here = np.take_along_axis(cost, np.broadcast_to(state.rung[..., None, None], (*cost.shape[:-1], 1)), axis=-1)
    cheap = (cost <= at_most * here) & (cost < here)
    fit = (row & cheap).all(axis=-2) & ~doubted & (numbers < state.rung[..., None])
    found = np.where(fit, cost.sum(axis=-2), np.inf)
    # of equals the stricter: looked at from the strict end
    best = len(numbers) - 1 - np.flip(found, axis=-1).argmin(axis=-1)
    return np.where(fit.any(axis=-1), best, state.rung).astype(np.int64)


@cache
def _bets(promise: float, odds: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Likelihood ratios of each bet's rate to the promised one, (bets,): of a wrong answer, and of a right one."""
    against = promise / (1.0 - promise) * np.array(odds)
    rates = against / (1.0 + against)
    return rates / promise, (1.0 - rates) / (1.0 - promise)


def _mean(bets: Floats) -> Floats:
    """Over the last axis, added one after the other: numpy's own order depends on the array's shape."""
    total = bets[..., 0]
    for number in range(1, bets.shape[-1]):
        total = total + bets[..., number]
    return np.asarray(total / bets.shape[-1])


def _of_current(each: NDArray[Any], rung: Counts) -> NDArray[Any]:
    return np.asarray(np.take_along_axis(each, rung[..., None], axis=-1)[..., 0])


def _as_deep(marks: Marks, array: NDArray[Any]) -> Marks:
    """The marks of streams with as many axes as the array, whose first ones are the streams."""
    return marks.reshape(marks.shape + (1,) * (array.ndim - marks.ndim))
