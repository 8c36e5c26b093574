from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from bisupervised.streams.audit.report import notes
from bisupervised.streams.audit.simulation import Phase, Plan, simulate
from bisupervised.streams.cli import run

PLAN = Plan(share=0.01, runs=50, labels_before=300, labels_after=3_000)


def phase(rate: float, evidence: float = 0.5) -> Phase:
    wrong = np.arange(1000) < round(rate * 1000)
    return Phase(wrong, evidence, by_local=0.6)


def test_a_jump_is_noticed_by_labels_and_each_takes_many_requests() -> None:
    made = simulate(0.1, phase(0.08), phase(0.4), PLAN)
    assert made.noticed_share == 1.0
    assert made.labels_to_notice is not None
    assert made.requests_to_notice is not None
    labels, requests = made.labels_to_notice.median, made.requests_to_notice.median
    assert labels is not None
    assert requests is not None
    assert 3 <= labels <= 60
    assert requests == pytest.approx(labels / (0.01 * 0.5), rel=0.3)
    assert (made.error_before, made.error_after) == (0.08, 0.4)


def test_where_nothing_was_to_be_noticed_no_more_labels_are_asked_for() -> None:
    (said,) = notes(simulate(0.1, phase(0.05), phase(0.06), PLAN), PLAN)
    assert said == "the promise still holds after the change: an alarm would be a false one"
    few = Plan(share=0.01, runs=50, labels_before=300, labels_after=2)
    assert "raise --labels-after" in notes(simulate(0.1, phase(0.08), phase(0.12), few), few)[0]


def test_a_larger_jump_is_noticed_sooner() -> None:
    found = [simulate(0.1, phase(0.08), phase(rate), PLAN).labels_to_notice for rate in (0.2, 0.3, 0.5)]
    medians = [spread.median for spread in found if spread is not None and spread.median is not None]
    assert len(medians) == 3
    assert medians == sorted(medians, reverse=True)


def test_no_change_is_not_noticed() -> None:
    made = simulate(0.1, phase(0.02), phase(0.02), PLAN)
    assert made.noticed_share == 0.0
    assert made.labels_to_notice is not None
    assert made.labels_to_notice.median is None
    assert made.false_alarms_per_10000_labels == 0.0


def test_a_promise_that_is_broken_from_the_first_rings_again_and_again() -> None:
    made = simulate(0.1, phase(0.5), None, PLAN)
    assert made.false_alarms_per_10000_labels > 100
    assert (made.noticed_share, made.labels_to_notice, made.error_after) == (None, None, None)


def test_the_same_seed_gives_the_same_streams() -> None:
    assert simulate(0.1, phase(0.1), phase(0.2), PLAN) == simulate(0.1, phase(0.1), phase(0.2), PLAN)


def test_shadows_are_paid_where_the_local_model_answered() -> None:
    made = simulate(0.1, phase(0.1), None, Plan(share=0.01, shadow_share=0.05, runs=2, labels_before=2))
    assert made.shadow_calls_share == pytest.approx(0.03)
    assert made.labels_share == pytest.approx(0.005)


def recordings(folder: Path, name: str, wrong_of_20: int) -> tuple[Path, Path]:
    """A sure local model that is wrong in so many of 20, and a remote that is always right."""
    rng = np.random.default_rng(3)
    paths = folder / f"{name}_local.csv", folder / f"{name}_remote.csv"
    for side, path in zip(("local", "remote"), paths, strict=True):
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "score", "correct"))
            for n in range(2000):
                right = side == "remote" or n % 20 >= wrong_of_20
                writer.writerow((n, 0.5 + 0.5 * rng.random(), str(right).lower()))
    return paths


def test_the_command_says_how_soon_a_change_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    local, remote = recordings(tmp_path, "now", wrong_of_20=2)
    then_local, then_remote = recordings(tmp_path, "then", wrong_of_20=8)
    thresholds = tmp_path / "thresholds.json"
    pair = ["--local", str(local), "--remote", str(remote)]
    made = ["--remote-fraction", "0.3", "--max-error", "0.12", "--out", str(thresholds), "--json"]
    assert run(["calibrate", *pair, *made]) == 0
    capsys.readouterr()
    after = ["--then-local", str(then_local), "--then-remote", str(then_remote)]
    asked = ["audit", "simulate", *pair, *after, "--thresholds", str(thresholds), "--share", "0.01", "--runs", "40"]
    assert run([*asked, "--labels-before", "500", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["promise"] == 0.12
    assert told["error_before"] == pytest.approx(0.07, abs=0.02)
    assert told["error_after"] == pytest.approx(0.28, abs=0.04)
    assert told["noticed_share"] == 1.0
    assert 5 <= told["labels_to_notice"]["median"] <= told["labels_to_notice"]["p90"] <= 200
    assert told["requests_to_notice"]["median"] > 50 * told["labels_to_notice"]["median"]
    assert set(told) >= {"false_alarms_per_10000_labels", "interval_missed_share", "shadow_calls_share"}
    assert run([*asked, "--labels-before", "50"]) == 0
    assert "Labels until then" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--then-local", "x.csv"], "both --then-local and --then-remote"),
        (["--share", "0.1", "--shadow-share", "0.05"], "--shadow-share: must be 0, or at least --share"),
        (["--thresholds", "missing.json"], "cannot read the thresholds file"),
    ],
)
def test_wrong_options_are_told_before_anything_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], fault: str
) -> None:
    local, remote = recordings(tmp_path, "now", wrong_of_20=2)
    named = [] if "--thresholds" in arguments else ["--thresholds", str(tmp_path / "none.json")]
    assert run(["audit", "simulate", "--local", str(local), "--remote", str(remote), *named, *arguments]) == 2
    assert fault in capsys.readouterr().err.replace("\n", " ")
