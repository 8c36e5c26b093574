"""The whole fit: what is chosen on which labels, and what its document holds."""

from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.supervision.calibration import Feasible
from bisupervised.agents.supervision.procedure import PLAIN_SHARES, First, Second, calibrate, split
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.offline.calibrate import CalibrationOptions, Names
from bisupervised.streams.offline.fitting import Fit, fit_recording
from support.recorded import of_classes, recorded
from support.samples import drawn

AT = "2026-12-01T00:00:00+00:00"
WISH = CalibrationOptions(remote_fraction=0.4, false_positive_rate=0.05)
KEYS = {
    "score",
    "scores",
    "learned",
    "thresholds",
    "rungs",
    "remote_fraction",
    "error",
    "false_positive_rate",
    "labels",
}


def fit(n: int = 4000, *, hidden: float = 0.8, options: CalibrationOptions = WISH) -> Fit:
    return fit_recording(recorded(*of_classes(n, 1, hidden=hidden)), options, Names(), 0, AT)


def test_a_recording_of_one_score_is_calibrated_as_ever() -> None:
    sample = drawn(2000, 3)
    made = fit_recording(recorded(sample), WISH, Names(), 5, AT)
    plain = calibrate(
        split(sample, PLAIN_SHARES, 5), First("remote_fraction", 0.4), Second("clopper-pearson", 0.05, 0.1)
    )
    assert (made.made.local, made.made.remote) == (plain.local, plain.remote)
    assert made.score == "max_softmax"
    assert made.as_json()["learned"]["kept"] is False
    assert "nothing that it could read" in made.as_json()["learned"]["reason"]


def test_the_document_holds_all_that_others_read() -> None:
    document = fit().as_json()
    assert document.keys() >= KEYS
    assert document["learned"].keys() == {"kept", "gain", "gain_lower", "reason"}
    assert document["labels"] == 4000
    assert set(document["scores"]) == {"max_softmax", "pcs", "softmax_entropy"}
    assert document["thresholds"]["format"] == 2
    assert document["thresholds"]["local"]["score"] == document["score"] == "learned"
    assert [rung["certified"] for rung in document["rungs"]].count(True) == 1


def test_a_learned_score_is_fitted_on_labels_that_make_no_threshold() -> None:
    made = fit()
    assert made.chosen.learned.kept
    assert made.chosen.learned.model is not None
    assert made.chosen.learned.model.fitted_on == len(made.chosen.rows["fit"]) == 1200
    assert sorted(np.concatenate(list(made.chosen.rows.values()))) == list(range(4000))


def test_where_no_learned_score_is_kept_its_labels_choose() -> None:
    made = fit(hidden=0.0)
    assert not made.chosen.learned.kept
    assert made.score == "max_softmax"
    assert {name: len(rows) for name, rows in made.chosen.rows.items()} == {
        "choose": 1600,
        "certify": 1600,
        "report": 800,
    }


def test_trying_a_learned_score_that_is_not_kept_costs_nothing() -> None:
    without = CalibrationOptions(remote_fraction=0.4, false_positive_rate=0.05, learned=False)
    tried, untried = fit(hidden=0.0), fit(hidden=0.0, options=without)
    assert (tried.made.local, tried.made.remote) == (untried.made.local, untried.made.remote)
    assert "asked for" in untried.chosen.learned.reason


def test_the_part_for_the_report_has_decided_nothing_and_says_what_the_document_says() -> None:
    made = fit()
    part, document = made.report, made.as_json()
    assert isinstance(made.made.remote, Feasible)
    by_local = Supervisor("", made.made.local).trusted(part.local_score)
    by_remote = ~by_local & Supervisor("", made.made.remote.threshold).trusted(part.remote_score)
    wrong = (by_local & ~part.local_right) | (by_remote & ~part.remote_right)
    assert document["remote_fraction"] == (~by_local).mean()
    assert document["error"] == wrong.sum() / (by_local | by_remote).sum()
    assert set(part.rows).isdisjoint(np.concatenate([made.chosen.rows[name] for name in ("fit", "choose", "certify")]))
    assert part.curve.n == len(part.rows) == 800


def test_an_infeasible_wish_has_a_document_and_no_thresholds() -> None:
    made = fit(options=CalibrationOptions(remote_fraction=0.2, max_error=0.001))
    document = made.as_json()
    assert made.thresholds is None
    assert document["feasible"] is False
    assert document.keys() >= KEYS
    assert (document["thresholds"], document["error"]) == (None, None)
    assert document["rungs"]
    assert not any(rung["certified"] for rung in document["rungs"])


def test_a_sample_too_small_to_split_is_told() -> None:
    with pytest.raises(ConfigurationError, match="more are needed"):
        fit(2)
