"""`make fit-check` in small: what it counts, and that harm would be found."""

from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.supervision.choosing import gate
from bisupervised.agents.supervision.choosing.evidence import Evidence
from support.recorded import of_classes

from scripts.fit_check import Checked, as_markdown, check
from scripts.recorded_cases import Recorded, digits


def case(n: int = 6000, hidden: float = 0.8) -> Recorded:
    recording, evidence = of_classes(n, 1, hidden=hidden)
    return Recorded("drawn", recording, evidence, "max_softmax")


def test_a_learned_score_that_knows_more_gains_on_rows_that_it_has_not_seen() -> None:
    made = check(case(), 1000, True, 4)
    assert made.kept == 4
    assert made.learned_gain > 0.0
    assert (made.harmed, made.worst) == (0, 0.0)
    assert made.sound
    assert "| drawn | 1,000, 1,000, 1,000 |" in as_markdown([made])


def test_as_calibrate_does_too_few_labels_teach_nothing() -> None:
    made = check(case(), 1000, False, 3)
    assert (made.choosing, made.teaching, made.kept) == (400, 300, 0)


def test_harm_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a gate that lets everything pass, and a score that is learned from noise."""
    monkeypatch.setattr(gate, "gains_over", lambda *_: {"": np.ones(3)})
    known = case(hidden=0.0)
    noise = np.random.default_rng(0).dirichlet(np.ones(4), len(known.recording))
    made = check(Recorded("noise", known.recording, Evidence({}, noise), "max_softmax"), 1000, True, 3)
    assert (made.kept, made.harmed) == (3, 3)
    assert made.worst < -0.01
    assert not made.sound


@pytest.mark.parametrize(
    ("worse", "harmed", "worst", "sound"),
    [(0, 5, -0.009, True), (1, 0, 0.0, False), (0, 6, -0.001, False), (0, 1, -0.01, False)],
)
def test_what_is_promised_and_what_breaks_it(worse: int, harmed: int, worst: float, sound: bool) -> None:
    assert Checked("c", 1000, 400, 300, 60, {}, 0.0, worse, 20, 0.0, harmed, worst).sound == sound


def test_the_digits_are_the_same_each_time_and_the_remote_is_the_better_model() -> None:
    first, again = digits(), digits()
    assert first.recording.local.scores.tolist() == again.recording.local.scores.tolist()
    assert first.recording.remote.accuracy > first.recording.local.accuracy + 0.05
    assert first.evidence.probabilities is not None
    assert first.evidence.probabilities.shape == (11_970, 10)
