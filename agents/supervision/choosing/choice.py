"""Which of the free scores judges the local answers: the default, unless another one is better by more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..recording import Recording
from .area import Area, gains_over

Floats = NDArray[np.float64]

#: probability with which a score that is no better is chosen, of all candidates together
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class ScoreChoice:
    """The chosen score, and all that it was chosen among."""

    name: str
    areas: dict[str, float]  #: by name, on the inputs that chose
    reason: str  #: one line for people


def choose_score(recording: Recording, scores: Mapping[str, Floats], default: str, seed: int) -> ScoreChoice:
    """The score with the best area on these inputs, where it is better than the default by more than chance.

    A paired bootstrap says what is chance: the lower quantile of the gain must be above 0. Its level is shared by all
    that could have been the best, so that many candidates are no better a chance. Raises `ValueError` for no inputs.
    """
    area = Area.of(recording)
    areas = {name: area(values) for name, values in scores.items()}
    best = max(areas, key=lambda name: (areas[name], name == default))
    if len(areas) == 1:
        return ScoreChoice(default, areas, f"{default} is the only score that is recorded")
    if best == default:
        return ScoreChoice(default, areas, f"{default} has the best area of {len(areas)} scores")
    gains = gains_over(recording, scores[default], {best: scores[best]}, seed)[best]
    lower = float(np.quantile(gains, ALPHA / (len(areas) - 1)))
    gained = f"{areas[best] - areas[default]:+.3f} over {default} (lower bound {lower:+.3f})"
    if lower > 0.0:
        return ScoreChoice(best, areas, f"{best} has the best area, {gained}")
    return ScoreChoice(default, areas, f"{best} has the best area, but {gained} may be chance: {default} stays")
