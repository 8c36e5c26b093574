"""The drift example: its data, its labeller, its figures, and three ways to set thresholds, over made answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bisupervised.agents.auditing.ladder import Ladder
from bisupervised.agents.auditing.rungs import AtRungs
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.streams.demo import run_drift
from bisupervised.streams.demo.digits import Digits
from bisupervised.streams.demo.drift import PHASES, seen_at, taken_in_at, worsened
from bisupervised.streams.demo.drift_report import Way, as_table, draw, figures
from bisupervised.streams.demo.errors import DemoError
from rich.console import Console

MADE = Ladder(((0.0, 0.0), (0.6, 0.0)), 0.1)


def answers(counts: tuple[int, ...], errors: tuple[float, ...]) -> tuple[Recording, np.ndarray]:
    """The local model errs so often in each phase, where its score is below 0.6; the remote never does."""
    rng = np.random.default_rng(0)
    scores = rng.random(sum(counts))
    wrong = (rng.random(sum(counts)) < np.repeat(errors, counts)) & (scores < 0.6)
    right = np.ones(len(scores), dtype=bool)
    return Recording(Side(scores, ~wrong), Side(scores, right)), np.repeat(np.arange(len(counts)), counts)


def test_pictures_get_worse_and_their_labels_stay() -> None:
    images = np.zeros((3, 64), dtype=np.float32)
    images[:, 27] = 1.0
    part = Digits(images, np.array([4, 5, 6]))
    same = worsened(part, 50, noise=0.0, shifted=0.0, rng=np.random.default_rng(0))
    assert (same.inputs == images[0]).all()
    assert set(same.labels.tolist()) == {4, 5, 6}
    noisy = worsened(part, 50, noise=0.2, shifted=0.0, rng=np.random.default_rng(0))
    assert np.array_equal(noisy.labels, same.labels)
    assert noisy.inputs.min() >= 0.0
    assert noisy.inputs.max() <= 1.0
    assert not np.array_equal(noisy.inputs, same.inputs)
    shifted = worsened(part, 200, noise=0.0, shifted=1.0, rng=np.random.default_rng(0))
    assert set(shifted.inputs.argmax(axis=1).tolist()) == {19, 26, 28, 35}, "a pixel to each side"
    assert (images[:, 27] == 1.0).all(), "the digits themselves stay"


def test_the_drift_stands_between_what_was_calibrated_and_the_same_again() -> None:
    first, *_, last = PHASES
    assert (first.noise, first.shifted) == (last.noise, last.shifted)
    noises = [phase.noise for phase in PHASES[:-1]]
    assert noises == sorted(noises)


def test_a_request_waits_for_those_before_it() -> None:
    drawn, wrong = np.array([10, 20, 300]), np.array([True, False, False])
    assert taken_in_at(drawn, wrong, 50).tolist() == [160, 160, 350]


def test_the_draw_is_the_same_each_time() -> None:
    drawn = run_drift.drawn_of(5000, seed=0)
    assert np.array_equal(drawn, run_drift.drawn_of(5000, seed=0))
    assert not np.array_equal(drawn, run_drift.drawn_of(5000, seed=1))
    assert len(drawn) / 5000 == pytest.approx(run_drift.SHARE, abs=0.03)
    assert drawn.max() < 5000


def test_what_tightens_errs_less_and_pays_more_than_what_is_told(tmp_path: Path) -> None:
    recording, phase = answers((1500, 3000, 1500), (0.05, 0.5, 0.05))
    at = seen_at(MADE, recording)
    ways = run_drift.three_ways(MADE, 0, at, run_drift.drawn_of(len(recording), 0))
    names = ("before", "worse", "well again")
    fixed, told, tightened = found = [figures(way, at, phase, names, 0.5) for way in ways]
    assert [one.name for one in found] == ["fixed", "told", "tightened"]
    assert fixed.phases == told.phases
    assert fixed.noticed_after is None
    assert told.noticed_after == tightened.noticed_after
    assert told.noticed_after is not None
    assert told.noticed_after < 1000
    assert told.alarms > tightened.alarms == 1
    errors = [one.phases[1].error for one in found]
    assert errors[2] is not None
    assert errors[0] is not None
    assert errors[2] < 0.5 * errors[0]
    assert tightened.cost > told.cost
    assert fixed.cost == fixed.labels == 0

    console = Console(width=200, record=True)
    console.print(as_table(found, 0.1))
    assert "tightened" in console.export_text()
    draw(tmp_path / "drift.png", ways, at, phase, names, 0.1)
    assert (tmp_path / "drift.png").read_bytes().startswith(b"\x89PNG")


def test_the_figures_are_those_by_hand() -> None:
    marks = np.array([[True, True], [True, False], [False, True], [True, True]])
    at = AtRungs(counts=marks, wrong=marks & [True, False], unknown=~marks, deferred=~marks, rejected=~marks)
    way = Way("one", np.array([0, 1, 1, 0]), alarms=(0, 2), labels=3, shadows=2)
    made = figures(way, at, np.array([0, 0, 1, 2]), ("a", "b", "c"), price=1.0)
    assert [(one.error, one.calls) for one in made.phases] == [(1.0, 0.5), (0.0, 0.0), (1.0, 0.0)]
    assert made.noticed_after == 0, "the alarm before the drift is none of it"
    assert made.cost == 3.0


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run_drift, "_NEEDED", {"no_such_module": "no-such-package"})
    with pytest.raises(DemoError, match="needs no-such-package"):
        run_drift.run_drift(tmp_path, seed=0)
