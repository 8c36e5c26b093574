"""What `make audit-trust` finds out, over few streams: it runs whole, and says what is broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bisupervised.agents.supervision.recording import Recording, Side
from support.samples import drawn

from scripts import audit_feedback, audit_ladder, audit_share
from scripts.audit_feedback import Heard, heard
from scripts.audit_ladder import Climbed, climbs, together
from scripts.audit_share import Raised, raises


def sample() -> Recording:
    """Much like recorded answers: the local model errs in a fifth, the remote in a tenth, and the scores tell."""
    rng = np.random.default_rng(0)

    def side(error: float) -> Side:
        scores = rng.random(20_000)
        return Side(scores, rng.random(20_000) > 2.0 * error * (1.0 - scores))

    return Recording(side(0.2), side(0.1))


@pytest.fixture(scope="module")
def found() -> Heard:
    return heard("a case", drawn(4000, 0), streams=30, seed=0)


def test_biased_feedback_is_no_evidence_and_late_labels_wait(found: Heard) -> None:
    assert found.faults() == []
    assert found.as_they_come < found.true < found.all_feedback
    assert "| a case | 30 |" in audit_feedback.as_markdown([found])


def test_an_estimate_that_moves_is_a_fault(found: Heard) -> None:
    assert "moves the estimate" in replace(found, audited=found.as_they_come, chance=0.001).faults()[0]
    assert "the interval misses" in replace(found, missed=0.06).faults()[0]
    assert "nothing is shown" in replace(found, all_feedback=found.true).faults()[0]


def test_the_ladder_is_tighter_in_the_drift_than_fixed_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("THIRD", 300), ("LADDERS", 2), ("FLIPPED", 0.3)):
        monkeypatch.setattr(audit_ladder, name, value)
    fixed, ladder = (together(list(way)) for way in zip(*climbs(sample(), 10, seed=0), strict=True))
    assert (fixed.streams, ladder.streams) == (20, 20)
    assert fixed.above == (0.0, 1.0, 1.0, 0.0)
    assert ladder.tightened > 0.5
    assert ladder.error[2] < fixed.error[2]
    assert ladder.calls[2] > fixed.calls[2]
    assert fixed.faults() == []
    assert len(audit_ladder.as_markdown([fixed, ladder]).splitlines()) == 4


def test_too_long_above_the_promise_is_a_fault() -> None:
    figures = (0.0, 0.2, 0.021, 0.0)
    told = Climbed("the ladder", 500, figures, figures, figures, figures).faults()
    assert told == ["2.1% of the time second half is above"]


def test_a_share_that_rises_after_alarms_changes_nothing_about_intervals_and_alarms() -> None:
    found = raises(4, seed=1)
    assert found.faults() == []
    assert found.raised > 0
    assert found.labels[1] > 0
    assert found.most > 0
    assert "| 4 |" in audit_share.as_markdown(found)


def test_what_a_raised_share_breaks_is_a_fault() -> None:
    good = Raised(10, 100, 20, 5, 10, [1000, 1000], [100, 100], 100)
    assert good.faults() == []
    assert "misses for 6.0%" in replace(good, missed=6).faults()[0]
    assert "1.10 false alarms" in replace(good, alarms=11).faults()[0]
    assert "with the raised share 150 of 1,000" in replace(good, wrong=[100, 150]).faults()[0]
    assert "with the raised share 0 of 0" in replace(good, labels=[1000, 0], wrong=[100, 0], alarms=5).faults()[0]
    assert "wanted 126 labels more" in replace(good, most=126).faults()[0]
