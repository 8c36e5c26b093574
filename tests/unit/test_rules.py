"""What a rehearsal expects of the pipeline, decided from a thresholds file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from bisupervised.agents.supervision.arbitration import arbitrate, estimate_recording
from bisupervised.agents.supervision.choosing.heads import apply_deferral, fit_deferral
from bisupervised.agents.supervision.joint import fit_joint
from bisupervised.agents.supervision.learned.deferral import DeferralModel
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.agents.supervision.thresholds import Line, Target, Thresholds
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.offline.rules import Expected, FromFile
from support.recorded import of_classes, recorded
from support.samples import drawn


def answered(recording: Recording) -> Recording:
    """The same with answers: what is right is 1, what is wrong 0 from the local and 2 from the remote model."""
    local, remote = recording.local, recording.remote
    return Recording(
        Side(local.scores, local.correct, np.where(local.correct, 1, 0)),
        Side(remote.scores, remote.correct, np.where(remote.correct, 1, 2)),
    )


FITTED, FRESH = answered(drawn(3000, 1)), answered(drawn(500, 2))
MODEL = fit_joint(FITTED)


def rule(*, score: str = "joint", arbitration: bool = False) -> FromFile:
    made = Thresholds(
        version="1",
        local=Line(0.9, "recorded"),
        remote=Line(0.6, score),
        first="",
        method="paper",
        target=Target("false_positive_rate", 0.1),
        seed=0,
        parts={},
        made="2026-11-25T00:00:00Z",
        joint=MODEL,
        joint_of="recorded",
        arbitration=arbitration,
    )
    return FromFile(Path("thresholds.json"), made)


def one_way(expected: Expected) -> bool:
    ways = expected.by_local.astype(int) + expected.by_remote + expected.rejected
    return bool((ways == 1).all() and expected.by_local.any() and expected.by_remote.any() and expected.rejected.any())


def test_the_joint_score_decides_and_a_rejected_record_keeps_the_remotes_own() -> None:
    expected, estimates = rule().decide(FRESH), estimate_recording(MODEL, FRESH)
    assert one_way(expected)
    deferred = FRESH.local.scores < 0.9
    accepted = deferred & (estimates.remote >= 0.6)
    assert (expected.by_remote == accepted).all()
    assert (expected.scores[accepted] == estimates.remote[accepted]).all()
    assert (expected.scores[expected.rejected] == FRESH.remote.scores[expected.rejected]).all()
    assert (expected.predictions[deferred] == FRESH.remote.predictions[deferred]).all()  # type: ignore[index]  # it has answers


def test_arbitration_takes_the_likelier_answer_of_what_is_trusted() -> None:
    expected, estimates = rule(arbitration=True).decide(FRESH), estimate_recording(MODEL, FRESH)
    taken = arbitrate(estimates)
    assert one_way(expected)
    after_all = expected.by_remote & expected.local_after_all
    assert after_all.any()
    assert (expected.predictions[after_all] == FRESH.local.predictions[after_all]).all()  # type: ignore[index]  # it has answers
    assert (expected.scores[after_all] == taken.score[after_all]).all()
    assert (expected.correct[after_all] == FRESH.local.correct[after_all]).all()
    assert (expected.predictions[expected.rejected] == FRESH.remote.predictions[expected.rejected]).all()  # type: ignore[index]  # it has answers


def test_arbitration_alone_leaves_the_score_to_the_remote() -> None:
    expected = rule(score="recorded", arbitration=True).decide(FRESH)
    deferred = ~expected.by_local
    assert (expected.by_remote == deferred & (FRESH.remote.scores >= 0.6)).all()
    assert (expected.scores[deferred] == FRESH.remote.scores[deferred]).all()


def test_a_joint_model_that_needs_the_answers_refuses_a_recording_without() -> None:
    with pytest.raises(ConfigurationError, match="holds none"):
        rule().decide(drawn(10, 3))


def by_score(name: str, threshold: float, learned: DeferralModel | None = None) -> FromFile:
    made = msgspec.structs.replace(rule().made, local=Line(threshold, name), remote=Line(0.5, "max_softmax"))
    return FromFile(Path("t.json"), msgspec.structs.replace(made, joint=None, joint_of="", learned=learned))


def test_a_recording_is_judged_by_the_score_that_the_file_names() -> None:
    sample, evidence = of_classes(500, 0)
    assert evidence.probabilities is not None
    given = recorded(sample, evidence)
    ordered = np.sort(evidence.probabilities, axis=1)
    lead = ordered[:, -1] - ordered[:, -2]
    named, scored = by_score("pcs", 0.2).scored(given)
    assert scored.recording.local.scores == pytest.approx(lead)
    assert named.decide(scored.recording).by_local.tolist() == (scored.recording.local.scores >= 0.2).tolist()
    _, same = by_score("their own", 0.2).scored(given)
    assert same.recording.local.scores is sample.local.scores, "no other score has that name"


def test_a_learned_score_is_computed_before_anything_is_decided(tmp_path: Path) -> None:
    sample, evidence = of_classes(500, 0, hidden=0.5)
    model = fit_deferral(sample, evidence, 0)
    learned = by_score("learned", 0.0, model)
    with pytest.raises(ConfigurationError, match="has to be computed"):
        learned.decide(sample)
    with pytest.raises(ConfigurationError, match="reads the probabilities of 4 classes"):
        learned.scored(recorded(sample))
    plain, scored = learned.scored(recorded(sample, evidence))
    expected = apply_deferral(model, evidence)
    assert plain.decide(scored.recording).by_local.tolist() == (expected >= 0.0).tolist()
    kept = plain.kept_in(tmp_path)
    assert kept.settings() == {"thresholds": {"file": str((tmp_path / "thresholds.json").resolve())}}
    assert FromFile.read(kept.path).made == plain.made
    assert (plain.made.version, plain.made.local.score) == ("1", "learned")
