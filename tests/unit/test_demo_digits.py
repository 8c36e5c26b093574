from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bisupervised.streams.demo import run_digits
from bisupervised.streams.demo.digits import FEATURES, LABELS, ModelFiles, load_split
from bisupervised.streams.demo.errors import DemoError
from bisupervised.streams.demo.pipeline import PRICE
from bisupervised.streams.demo.thresholds import ThresholdPair
from bisupervised.streams.settings.file import load_settings


def test_the_configuration_is_one_that_loads(tmp_path: Path) -> None:
    models = ModelFiles(Path('odd "folder"/local.pt2'), Path("remote.pt2"))
    thresholds = ThresholdPair(local=0.1 + 0.2, remote=0.75)
    config = tmp_path / "bisupervised.toml"
    config.write_text(run_digits._toml("127.0.0.1:9", "http://127.0.0.1:8", models, thresholds, 3))
    settings = load_settings(config, {})
    assert settings.local.model == 'odd "folder"/local.pt2'
    assert settings.local.threshold == 0.1 + 0.2, "to the last bit: the worker decides as calibrated"
    assert settings.local.labels == settings.remote.labels == LABELS
    assert settings.remote.batch_size == 1
    assert settings.remote.price_per_call == PRICE


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run_digits, "_NEEDED", {"no_such_module": "no-such-package"})
    with pytest.raises(DemoError, match="needs no-such-package"):
        run_digits.run_digits(tmp_path, rounds=1, seed=0)


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
