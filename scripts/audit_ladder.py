"""The ladder on many simulated streams: how long the true error is above the promise, beside fixed thresholds.

A part of `make audit-trust`. The streams are drawn from the recorded sentiments of films. In the middle third, one
label in twenty flips: what the thresholds promised is broken without a sign in any score. Each ladder is made from a
sample of its own, as `calibrate` makes it, and begins at its certified rung.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from bisupervised.agents.auditing.ladder import Ladder, Terms, pairs_of
from bisupervised.agents.auditing.rungs import AtRungs, Seen, at_rungs
from bisupervised.agents.supervision.calibration import Feasible
from bisupervised.agents.supervision.choosing.ladder import ladder
from bisupervised.agents.supervision.procedure import First, Second, first_threshold, second_threshold
from bisupervised.agents.supervision.recording import Recording
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Shares = tuple[float, ...]  #: one for each phase

CASE, PROMISE, DELTA = "imdb", 0.12, 0.1
#: share of the requests that the first threshold defers, which brings the error near the promise
_DEFERRED = 0.45
#: labelled inputs that a ladder is made from; half choose it, half certify where it begins
_SAMPLE = 10_000
#: share of the labels that flip in the middle third
FLIPPED = 0.05
#: ladders, each from another sample
LADDERS = 6
#: audited requests of each third
THIRD = 10_000

PHASES = ("before", "first half of the drift", "second half", "after")
#: of the time in each phase, how much may be above the promise
ALLOWED = (0.01, 0.25, 0.02, 0.02)


@dataclass(frozen=True, slots=True)
class Climbed:
    """What many streams showed, a figure for each phase."""

    thresholds: str  #: fixed, or the ladder
    streams: int
    above: Shares  #: share of the time with a true error above the promise
    error: Shares  #: mean of the true error
    calls: Shares  #: share of the requests that the remote is asked about
    rejected: Shares  #: share of the requests without an answer
    tightened: float = 0.0  #: times a stream
    loosened: float = 0.0

    def faults(self) -> list[str]:
        """Where the ladder is above the promise for too long. Fixed thresholds are there for comparison."""
        if self.thresholds == "fixed":
            return []
        shares = zip(PHASES, self.above, ALLOWED, strict=True)
        return [f"{share:.1%} of the time {phase} is above" for phase, share, most in shares if share > most]


@dataclass(frozen=True, slots=True)
class _Truth:
    """What is true of each rung, (rungs,) each."""

    error: Floats
    calls: Floats
    rejected: Floats


class _Course:
    """The sums of one way to set thresholds."""

    def __init__(self, streams: int) -> None:
        self._streams = streams
        self._sums = np.zeros((4, len(PHASES)))  #: above, error, calls, rejected
        self._steps = np.zeros(len(PHASES))
        self.moves = np.zeros(2)  #: tightened, loosened

    def add(self, phase: int, rung: NDArray[np.int64], truth: _Truth) -> None:
        """One more request in every stream."""
        error = truth.error[rung]
        self._sums[:, phase] += [
            (error > PROMISE).mean(),
            error.mean(),
            truth.calls[rung].mean(),
            truth.rejected[rung].mean(),
        ]
        self._steps[phase] += 1

    def figures(self) -> Floats:
        """(4, phases)"""
        return np.asarray(self._sums / self._steps)


def climbs(recording: Recording, streams: int, seed: int) -> Iterator[tuple[Climbed, Climbed]]:
    """Fixed thresholds and the ladder, over so many streams of each of several ladders."""
    for number in range(LADDERS):
        made, start = _ladder(recording, seed + number)
        yield _climb(made, start, recording, streams, seed + number)


def together(climbed: list[Climbed]) -> Climbed:
    """The mean over several ladders."""

    def mean(rows: list[Shares]) -> Shares:
        return tuple(float(share) for share in np.mean(rows, axis=0))

    return Climbed(
        climbed[0].thresholds,
        sum(one.streams for one in climbed),
        above=mean([one.above for one in climbed]),
        error=mean([one.error for one in climbed]),
        calls=mean([one.calls for one in climbed]),
        rejected=mean([one.rejected for one in climbed]),
        tightened=float(np.mean([one.tightened for one in climbed])),
        loosened=float(np.mean([one.loosened for one in climbed])),
    )


def _ladder(recording: Recording, seed: int) -> tuple[Ladder, int]:
    """A ladder from a sample, and its certified rung. Raises `ValueError` where there is none."""
    sample = recording[np.random.default_rng(seed).choice(len(recording), _SAMPLE, replace=False)]
    pilot, fresh = sample[: _SAMPLE // 2], sample[_SAMPLE // 2 :]
    local = first_threshold(pilot, First("remote_fraction", _DEFERRED))
    found = second_threshold(pilot, fresh, local, Second("ltt", PROMISE, DELTA))
    if not isinstance(found, Feasible):
        raise ValueError(f"no threshold keeps an error of {PROMISE:.0%}")
    rungs = ladder(pilot, fresh, (local, found.threshold))
    start = next(number for number, rung in enumerate(rungs) if rung.certified)
    return Ladder(pairs_of(rungs), PROMISE, Terms(delta=DELTA)), start


def _climb(made: Ladder, start: int, recording: Recording, streams: int, seed: int) -> tuple[Climbed, Climbed]:
    true, flipped = _at(made, recording), _at(made, recording, flipped=True)
    rows = AtRungs(*(np.concatenate([getattr(true, name), getattr(flipped, name)]) for name in AtRungs.__slots__))
    truths = [_truth(true, 0.0), _truth(true, FLIPPED)]
    draws, count = np.random.default_rng(seed), len(recording)
    state = made.start(start, streams)
    fixed, climbing = _Course(streams), _Course(streams)
    for request in range(3 * THIRD):
        drifted = request // THIRD == 1
        phase = (0, 1 + (2 * request // THIRD) % 2, 3)[request // THIRD]
        fixed.add(phase, np.array([start]), truths[drifted])
        climbing.add(phase, state.rung, truths[drifted])
        chosen = draws.integers(count, size=streams)
        chosen += count * (drifted & (draws.random(streams) < FLIPPED))
        state, _, to = made.step(state, rows[chosen])
        climbing.moves += [(to > state.rung).sum() / streams, (to < state.rung).sum() / streams]
        state = made.moved(state, to)
    return _climbed("fixed", streams, fixed), _climbed("the ladder", streams, climbing)


def _at(made: Ladder, recording: Recording, *, flipped: bool = False) -> AtRungs:
    local, remote = (side.correct == flipped for side in (recording.local, recording.remote))
    seen = Seen(recording.local.scores, recording.remote.scores, local.astype(float), remote.astype(float))
    return at_rungs(made.rungs, seen)


def _truth(at: AtRungs, flipped: float) -> _Truth:
    error = at.wrong.sum(axis=0) / at.counts.sum(axis=0)
    return _Truth(error * (1.0 - flipped) + (1.0 - error) * flipped, at.deferred.mean(axis=0), at.rejected.mean(axis=0))


def _climbed(thresholds: str, streams: int, course: _Course) -> Climbed:
    above, error, calls, rejected = (tuple(float(figure) for figure in row) for row in course.figures())
    tightened, loosened = (float(number) for number in course.moves)
    return Climbed(thresholds, streams, above, error, calls, rejected, tightened, loosened)


def as_markdown(climbed: list[Climbed]) -> str:
    """The table of the page."""
    lines = [
        f"| thresholds | streams | {' | '.join(PHASES)} | remote calls, before / second half / after "
        "| rejected, before / second half / after | tightened, loosened |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in climbed:
        above = " | ".join(f"{share:.1%}" for share in one.above)
        calls, rejected = (
            " / ".join(f"{shares[phase]:.0%}" for phase in (0, 2, 3)) for shares in (one.calls, one.rejected)
        )
        moves = "-" if one.thresholds == "fixed" else f"{one.tightened:.1f}, {one.loosened:.1f} times"
        lines.append(f"| {one.thresholds} | {one.streams:,} | {above} | {calls} | {rejected} | {moves} |")
    return "\n".join(lines)
