"""The benchmarks that import torch, in seconds: that they run, and count right.

Torch takes seconds and 300 MB, and every process of a run collects this file: it is imported by the tests.
"""

from __future__ import annotations

import json
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from bisupervised.streams.sandbox.broker import Broker
from rich.console import Console

from benchmarks import whole
from benchmarks.bench import BENCHMARKS, HEADLINES

SAY = Console(quiet=True)


@pytest.fixture
def model() -> ModuleType:
    return import_module("benchmarks.model")


@pytest.fixture
def minilm() -> ModuleType:
    return import_module("benchmarks.minilm")


def test_the_model_is_asked_the_same_by_the_worker_and_alone(model: ModuleType, broker: Broker, tmp_path: Path) -> None:
    report = model.measure(broker.bootstrap_servers, model.SMOKE, tmp_path, SAY)
    assert report.answered == report.records == model.SMOKE.batches * model.SMOKE.batch_size
    assert report.worker_per_s.median > 0
    assert 0 < report.asked_share.median < 1
    assert report.model_vs_torch.median == report.worker_per_s.median / report.torch_per_s.median
    assert report.model_vs_itself.median > 0
    [asked], [again], [alone] = (
        [path.read_bytes() for path in tmp_path.glob(f"*.{side}")] for side in ("worker", "again", "torch")
    )
    assert _numbers(asked) == _numbers(again) == _numbers(alone)


def _numbers(written: bytes) -> list[list[int]]:
    return [json.loads(line)["numbers"] for line in written.splitlines()]


def test_a_rate_is_of_the_middle(model: ModuleType, minilm: ModuleType) -> None:
    """A slow start, and an end in which nothing comes any more."""
    calls = [minilm.Call(began, began + 0.75, [1, 2]) for began in (0, 10, 20, *range(21, 30), 50, 60, 70)]
    assert model.rate(calls) == pytest.approx(2.0)
    assert model.asked_share(calls) == pytest.approx(0.75)
    assert whole.middle_per_s([0.0, 5.0, *(10 + n / 10 for n in range(4)), 20.0, 30.0]) == pytest.approx(10.0)


def test_texts_tell_their_number_and_vary_in_length(minilm: ModuleType) -> None:
    made = minilm.texts(500)
    assert [ids[0] for ids in made] == list(range(1, 501))
    assert made[:100] != minilm.texts(100, seed=1)
    lengths = sorted(map(len, made))
    assert lengths[0] >= 4
    assert lengths[-1] <= 64
    assert 17 <= lengths[250] <= 23


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_has_what_the_runner_calls(name: str) -> None:
    module = import_module(f"benchmarks.{name}")
    assert isinstance(module.SMOKE, module.Sizes)
    assert module.Sizes() != module.SMOKE
    assert all(callable(getattr(module, part)) for part in ("measure", "as_table", "faults", "main"))


def test_each_headline_is_a_figure_of_one_benchmark() -> None:
    reports = [import_module(f"benchmarks.{name}").Report for name in BENCHMARKS]
    named = [field.name for report in reports for field in fields(report)]
    assert [named.count(headline) for headline in HEADLINES] == [1] * len(HEADLINES)
