"""From one recording with its evidence to the score that judges, and the parts that both thresholds are made of.

No label is used twice: what fits or chooses a score makes no certificate, and what a learned score was fitted on makes
no threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..learned.deferral import LEARNED
from ..procedure import FITTED_SHARES, LEARNED_SHARES, PLAIN_SHARES, Rows, split_rows
from ..recording import Recording, Side
from .choice import ScoreChoice, choose_score
from .evidence import Evidence, candidates
from .gate import FEWEST, LearnedChoice, judge_learned, too_few
from .heads import apply_deferral

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The score that judges local answers, and why."""

    score: ScoreChoice  #: among the free ones
    learned: LearnedChoice
    recording: Recording  #: all inputs, with that score
    rows: Rows  #: which input is in which part

    @property
    def name(self) -> str:
        """Name of the score, as configuration and records have it."""
        return LEARNED if self.learned.kept else self.score.name

    def part(self, *names: str) -> Recording:
        """The inputs of some parts."""
        return self.recording[np.concatenate([rows for name, rows in self.rows.items() if name in names])]


def choose(
    recording: Recording, evidence: Evidence, default: str, seed: int, *, learn: bool = True, fitted: bool = False
) -> Chosen:
    """Choose the score, and split the inputs.

    `default` names the score of the recording; `learn` tries the learned one, where there is what it reads; `fitted`
    keeps a part on which other models are fitted. Raises `ValueError` where there are too few inputs to split.
    """
    scores = candidates(evidence, default, recording.local.scores)
    shares = FITTED_SHARES if fitted else LEARNED_SHARES
    why = "no learned score was asked for" if not learn else _unlearnable(evidence, int(len(recording) * shares["fit"]))
    rows = split_rows(len(recording), shares if fitted or not why else PLAIN_SHARES, seed)
    known = np.concatenate([rows[name] for name in ("fit", "choose") if name in rows])
    score = choose_score(recording[known], {name: of[known] for name, of in scores.items()}, default, seed)
    learned = LearnedChoice(kept=False, reason=why)
    if not why:
        taught = rows["fit"]
        learned = judge_learned(recording[taught], evidence[taught], scores[score.name][taught], score.name, seed)
    if learned.model is not None:
        judging = apply_deferral(learned.model, evidence)
        judging[rows["fit"]] = learned.scores  # by models that have not seen them
    else:
        judging = scores[score.name]
    if not (why or learned.kept or fitted):
        rows = {"choose": known, "certify": rows["certify"], "report": rows["report"]}
    return Chosen(score, learned, _judged_by(recording, judging), rows)


def _unlearnable(evidence: Evidence, taught: int) -> str:
    """Why there is no use in trying to learn; empty where there is."""
    if evidence.probabilities is None and not evidence.token_scores:
        return "no learned score: the recording holds nothing that it could read"
    return "" if taught >= FEWEST else too_few(taught)


def _judged_by(recording: Recording, scores: Floats) -> Recording:
    local = recording.local
    return Recording(Side(scores, local.correct, local.predictions), recording.remote)
