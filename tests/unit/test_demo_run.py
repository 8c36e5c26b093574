from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bisupervised.schemas.codec import fall_back, forward, publish
from bisupervised.schemas.records import Facts, Result, Source, Verdict
from bisupervised.streams.demo import run
from bisupervised.streams.demo.digits import FEATURES, LABELS, Models, ThresholdPair, load_split
from bisupervised.streams.demo.report import Outcome
from bisupervised.streams.settings.file import load_settings
from support.records import Record, request

SOURCE = Source("requests", 0, 7)


def sent(outcome: Any) -> Record:
    """What is written to a topic, as its reader gets it."""
    return Record(outcome.value, key=outcome.key, headers=outcome.headers)


def test_the_configuration_is_one_that_loads(tmp_path: Path) -> None:
    models = Models(Path('odd "folder"/local.pt2'), Path("remote.pt2"))
    thresholds = ThresholdPair(local=0.1 + 0.2, remote=0.75)
    config = tmp_path / "bisupervised.toml"
    config.write_text(run._toml("127.0.0.1:9", "http://127.0.0.1:8", models, thresholds, 3))
    settings = load_settings(config, {})
    assert settings.local.model == 'odd "folder"/local.pt2'
    assert settings.local.threshold == 0.1 + 0.2, "to the last bit: the worker decides as calibrated"
    assert settings.local.labels == settings.remote.labels == LABELS
    assert settings.remote.batch_size == 1
    assert settings.remote.price_per_call == run.PRICE


def test_an_outcome_from_a_result() -> None:
    result = Result(SOURCE, "7", "remote", 0.9, 0.5, cost=0.002)
    read = run.from_result(sent(publish(request([1.0]), result)))
    assert read == Outcome("key", "results", "remote", "7", cost=0.002)


def test_an_outcome_from_a_fallback_record() -> None:
    facts = Facts(SOURCE, remote=Verdict("7", 0.1, cost=0.002))
    answered = Record(b"{}", headers=forward(request([1.0]), "answers", facts).headers)
    read = run.from_fallback(sent(fall_back(answered, facts, "low_confidence", "below", "remote_supervisor")))
    assert read == Outcome("key", "fallback", reason="low_confidence", cost=0.002)


def test_an_outcome_that_was_never_sent_to_the_remote_is_free() -> None:
    record = fall_back(request([1.0]), Facts(SOURCE), "invalid_request", "no", "local")
    assert run.from_fallback(sent(record)).cost == 0.0


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "_NEEDED", {"no_such_module": "no-such-package"})
    with pytest.raises(run.DemoError, match="needs no-such-package"):
        run.run_demo(tmp_path, rounds=1, seed=0)


def test_the_split_is_seeded_and_shares_nothing() -> None:
    pytest.importorskip("sklearn")
    split, again, other = load_split(0), load_split(0), load_split(1)
    assert np.array_equal(split.held_out.inputs, again.held_out.inputs)
    assert not np.array_equal(split.held_out.inputs, other.held_out.inputs)
    parts = (split.training, split.calibration, split.held_out)
    assert sum(map(len, parts)) == 1797
    assert all(part.inputs.shape == (len(part), FEATURES) for part in parts)
    assert all((part.inputs >= 0.0).all() and (part.inputs <= 1.0).all() for part in parts)
    rows = [{row.tobytes() for row in part.inputs} for part in parts]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
