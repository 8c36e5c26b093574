"""A learned score in a worker: it decides as offline, and a model that does not give what it reads is refused."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bisupervised.agents.agents import LocalAgent
from bisupervised.agents.answers import ClassReading
from bisupervised.agents.local.agent import Local
from bisupervised.agents.local.appetite import Appetite, AppetitePolicy
from bisupervised.agents.local.model import Model
from bisupervised.agents.supervision.choosing.evidence import Evidence
from bisupervised.agents.supervision.choosing.heads import apply_deferral, fit_deferral
from bisupervised.agents.supervision.class_scores import probabilities
from bisupervised.agents.supervision.learned.deferral import LEARNED, DeferralModel
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.agents.supervision.thresholds import Line, Thresholds, signed, write_thresholds
from bisupervised.schemas.codec import RequestFormat, decode_facts, decode_result
from bisupervised.schemas.errors import ConfigurationError, ModelError
from bisupervised.streams.settings.file import ConfigurationFile, load_configuration
from bisupervised.streams.worker.making import make_agent
from bisupervised.streams.worker.reload import Reloader
from support.models import named
from support.recorded import of_classes
from support.records import Record, request
from support.thresholds import thresholds


def learned(seed: int = 0, *, labels: bool = True) -> DeferralModel:
    recording, evidence = of_classes(600, seed, hidden=0.5)
    return fit_deferral(recording, evidence if labels else Evidence({}, evidence.probabilities), 0)


def made_with(model: DeferralModel | None, threshold: float = 0.0, version: str = "v1") -> Thresholds:
    plain = thresholds(version=version)
    return signed(msgspec.structs.replace(plain, local=Line(threshold, LEARNED), learned=model))


def configured(folder: Path, made: Thresholds, local: str = 'output = "logits"', model: str = "named") -> Path:
    write_thresholds(folder / "thresholds.json", made)
    path = folder / "bisupervised.toml"
    path.write_text(
        f"[thresholds]\nfile = {str(folder / 'thresholds.json')!r}\n"
        f"[local]\nmodel = 'support.models:{model}'\n{local}\n"
        "[remote]\nurl = 'http://127.0.0.1:1'\nmodel = 'm'\n"
    )
    return path


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path, {})
    return caught.value.faults


def local_of(path: Path) -> Local:
    agent = make_agent(load_configuration(path, {}), "local", lambda: None)
    assert isinstance(agent, LocalAgent)
    return agent._local


def texts(n: int) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Inputs of many lengths, and the logits in them."""
    chance = np.random.default_rng(n)
    logits = chance.normal(0, 2, (n, 4)).round(3)
    padding = chance.integers(0, 300, n).tolist()
    rows = [" ".join(map(str, row)) for row in logits.tolist()]
    return [text + " " * more for text, more in zip(rows, padding, strict=True)], logits


def test_a_worker_decides_as_it_is_decided_offline(tmp_path: Path) -> None:
    model = learned()
    inputs, logits = texts(200)
    lengths = np.array([len(text) for text in inputs], dtype=np.float64)
    offline = apply_deferral(model, Evidence({}, probabilities(logits, logits=True), named.labels, lengths))
    local = local_of(configured(tmp_path, made_with(model)))
    scores: list[float | None] = []
    for start, stop in ((0, 1), (1, 64), (64, 200)):  # whatever the batches are
        outcomes = asyncio.run(local.decide([request(text) for text in inputs[start:stop]]))
        for outcome in outcomes:
            if outcome.to == "results":
                result = decode_result(outcome.value or b"")
                assert (result.supervisor, result.threshold, result.thresholds) == (LEARNED, 0.0, "v1")
                scores.append(result.score)
            else:
                facts = decode_facts(Record(outcome.value, headers=outcome.headers))
                assert facts.local is not None
                assert not facts.local.trusted
                scores.append(facts.local.score)
    assert scores == offline.tolist()
    assert 20 < (offline < 0).sum() < 180, "some are trusted and some are not"
    local.close()


@pytest.mark.parametrize(
    ("local", "told"),
    [
        ('output = "scored"', ['[local] output: must be "logits" or "probabilities": ']),
        ('output = "tokens"', ['[local] output: must be "logits" or "probabilities": ']),
        ('labels = ["a", "b"]', ["[local] labels: must be those: "]),
        ('labels = ["class 0", "class 2", "class 1", "class 3"]', ["[local] labels: must be those: "]),
        ("samples = 3\nbatch_size = 0", ["[local] samples: must be 1: ", "[local] batch_size: "]),
        ("threshold = 0.5", ["[local] threshold: must be left out"]),
        ('supervisor = "pcs"', ["[local] supervisor: must be 'learned', as [thresholds] file was made for"]),
    ],
)
def test_settings_that_cannot_give_what_it_reads_are_told_before_anything_starts(
    tmp_path: Path, local: str, told: list[str]
) -> None:
    found = faults(configured(tmp_path, made_with(learned()), local))
    for fault in told:
        assert any(fault in line for line in found), found


def test_a_model_that_names_other_classes_is_refused_where_it_is_loaded(tmp_path: Path) -> None:
    others = msgspec.structs.replace(learned(), labels=("a", "b", "c", "d"))
    configuration = load_configuration(configured(tmp_path, made_with(others)), {})
    with pytest.raises(
        ConfigurationError, match=r"\[local\] labels: must be those: .*\(a, b, c, d\) \(got \('class 0'"
    ):
        make_agent(configuration, "local", lambda: None)


def test_a_model_without_names_is_refused_where_the_classes_have_some(tmp_path: Path) -> None:
    configuration = load_configuration(configured(tmp_path, made_with(learned()), model="spoken"), {})
    with pytest.raises(ConfigurationError, match=r"\[local\] labels: must be those"):
        make_agent(configuration, "local", lambda: None)
    local_of(configured(tmp_path, made_with(learned(labels=False)), model="spoken")).close()


def test_a_learned_score_needs_a_file(tmp_path: Path) -> None:
    path = configured(tmp_path, made_with(learned()))
    path.write_text(
        "[local]\nmodel = 'support.models:named'\nsupervisor = 'learned'\nthreshold = -0.25\n"
        "[remote]\nurl = 'http://127.0.0.1:1'\nmodel = 'm'\nthreshold = 0.5\n"
    )
    assert faults(path) == (
        "[local] supervisor: needs a learned score: name in [thresholds] file what `bisupervised calibrate --out FILE` "
        "wrote",
    )


def test_a_threshold_of_a_learned_score_may_be_negative_and_of_no_other_score(tmp_path: Path) -> None:
    settings = load_configuration(configured(tmp_path, made_with(learned(), -0.25)), {}).settings
    assert (settings.local.supervisor, settings.local.threshold) == (LEARNED, -0.25)
    plain = msgspec.structs.replace(thresholds(), local=Line(-0.25, "max_softmax"))
    assert any(
        "[local] threshold: must be between 0 and 1" in fault for fault in faults(configured(tmp_path, signed(plain)))
    )


def test_a_reload_takes_another_learned_score_over_and_refuses_one_for_another_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = ConfigurationFile(configured(tmp_path, made_with(learned(0))))
    started = source.load()
    agent = make_agent(started, "local", lambda: None)
    assert isinstance(agent, LocalAgent)
    reloader = Reloader(source, started, [agent])
    configured(tmp_path, made_with(learned(1), version="v2"))
    asyncio.run(reloader.reload(asked=False))
    assert agent._local._judge.thresholds == "v2"
    assert agent._local._judge.learned == learned(1)
    others = msgspec.structs.replace(learned(2), labels=("a", "b", "c", "d"))
    configured(tmp_path, made_with(others, version="v3"))
    asyncio.run(reloader.reload(asked=False))
    assert agent._local._judge.thresholds == "v2"
    assert "[local] labels: must be those" in caplog.text
    asyncio.run(agent.close())


@pytest.mark.parametrize("other", [True, False])
async def test_a_batch_that_is_scored_by_one_learned_score_is_judged_by_its_threshold(other: bool) -> None:
    """Where the score stays what it is, a new threshold holds at once, as for any score."""
    held, release = threading.Event(), threading.Event()

    def slow(inputs: list[Any]) -> np.ndarray[Any, Any]:
        held.set()
        release.wait(10)
        return named()(inputs)

    first = learned(0)
    local = Local(
        Model(slow, "m", "logits", ClassReading(True, named.labels)),
        Supervisor(LEARNED, -1.0),
        RequestFormat(),
        batch_timeout_s=60.0,
        appetite=Appetite(AppetitePolicy(256, 1.0)),
        thresholds_version="t1",
        learned=first,
        on_hang=lambda: None,
    )
    inputs, _ = texts(3)
    deciding = asyncio.ensure_future(local.decide([request(text) for text in inputs]))
    await asyncio.to_thread(held.wait, 10)
    local.judge_by(Supervisor(LEARNED, -1.5), "t2", learned(1) if other else first)
    release.set()
    results = [decode_result(outcome.value or b"") for outcome in await deciding]
    assert {(result.threshold, result.thresholds) for result in results} == {(-1.0, "t1") if other else (-1.5, "t2")}
    local.close()


def test_where_it_is_off_no_length_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bisupervised.agents.local.model.length_of", None)  # would raise
    model = Model(named(), "m", "logits", ClassReading(True, named.labels))
    assert [answer.score for answer in model.predict(["1 2 3 4"])] == [pytest.approx(0.6439, abs=1e-4)]
    no_length = msgspec.structs.replace(learned(labels=False))
    assert not no_length.length
    model.predict(["1 2 3 4"], no_length)
    with pytest.raises(ModelError):
        model.predict(["1 2 3 4"], learned())
