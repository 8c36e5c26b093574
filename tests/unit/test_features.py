"""A model's second output: it is recorded, a learned score may read it, and a worker applies that as it was fitted."""

from __future__ import annotations

import asyncio
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bisupervised.agents.agents import LocalAgent
from bisupervised.agents.answers import Answer
from bisupervised.agents.local.features import feature_table, parted
from bisupervised.agents.local.formats.loaded import Placing
from bisupervised.agents.local.model import Model, ModelPolicy, load_model
from bisupervised.agents.supervision.choosing.evidence import Evidence
from bisupervised.agents.supervision.choosing.gate import judge_learned
from bisupervised.agents.supervision.choosing.heads import apply_deferral, fit_deferral
from bisupervised.agents.supervision.choosing.projection import MOST, Projection
from bisupervised.agents.supervision.class_scores import probabilities
from bisupervised.agents.supervision.learned.deferral import MOST_FEATURES, DeferralModel, Features, FeatureWeights
from bisupervised.agents.supervision.recording import Recording
from bisupervised.agents.supervision.thresholds import read_thresholds, signed, write_thresholds
from bisupervised.schemas.codec import decode_facts, decode_result
from bisupervised.schemas.errors import ConfigurationError, ModelError
from bisupervised.schemas.records import Outgoing
from bisupervised.streams.cli import run
from bisupervised.streams.offline.recordings.columns import Where
from bisupervised.streams.offline.recordings.files import RecordingError
from bisupervised.streams.offline.recordings.pairs import read_recording
from bisupervised.streams.settings.file import load_configuration
from bisupervised.streams.worker.making import make_agent
from support.featured_models import LABELS, WIDE, drawn, layers, write_onnx
from support.model_folders import picture_folder, text_folder
from support.records import Record, request
from support.thresholds import thresholds


def featured(name: str = "paired", **policy: Any) -> Model:
    return load_model(ModelPolicy(f"support.featured_models:{name}", **{"features": True, "detailed": True} | policy))


def by_hand(inputs: list[list[float]]) -> Features:
    import torch

    with torch.inference_mode():
        found: Features = layers()(torch.tensor(inputs, dtype=torch.float32)).numpy()
    return found


def features_of(answers: list[Answer]) -> list[list[float] | None]:
    return [None if answer.details is None else answer.details.features for answer in answers]


def known(n: int, seed: int) -> tuple[Recording, Evidence]:
    """A recording with what the model puts out besides."""
    inputs, recording, _ = drawn(n, seed)
    table = probabilities(np.array(inputs)[:, :4], logits=True)
    return recording, Evidence({}, table, LABELS, None, by_hand(inputs))


# what models return


@pytest.mark.parametrize("name", ["paired", "tabled"])
def test_a_torch_callable_returns_features_beside_its_logits(name: str) -> None:
    inputs, _, _ = drawn(5, 1)
    answers = featured(name).predict(inputs)
    wanted = by_hand(inputs)
    assert np.array(features_of(answers), dtype=np.float32).tolist() == wanted.tolist(), "to the last bit"
    assert [answer.prediction for answer in answers] == [LABELS[int(np.argmax(row[:4]))] for row in inputs]


def test_an_onnx_file_has_an_output_of_that_name(tmp_path: Path) -> None:
    inputs, _, _ = drawn(5, 1)
    path = str(write_onnx(tmp_path / "small.onnx"))
    answers = load_model(ModelPolicy(path, features=True, detailed=True)).predict(inputs)
    assert np.array(features_of(answers)) == pytest.approx(by_hand(inputs), abs=1e-6)
    without = load_model(ModelPolicy(path, detailed=True)).predict(inputs)
    assert features_of(without) == [None] * 5
    assert [answer.score for answer in without] == [answer.score for answer in answers]


def test_an_onnx_file_without_such_an_output_is_refused(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "small.onnx", features="hidden")
    with pytest.raises(ConfigurationError, match=r"has no output of the name features; it has logits, hidden"):
        load_model(ModelPolicy(str(path), features=True))


@pytest.mark.parametrize("jit", [False, True])
def test_a_torch_file_may_put_out_a_pair(tmp_path: Path, jit: bool) -> None:
    import torch

    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = layers()

        def forward(self, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return table[:, :4], self.layers(table)

    inputs, _, _ = drawn(5, 1)
    path = tmp_path / ("small.ts" if jit else "small.pt2")
    if jit:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
            torch.jit.script(Pair()).save(str(path))  # type: ignore[no-untyped-call]  # torch has no types for it
    else:
        rows = torch.export.Dim("rows")
        torch.export.save(torch.export.export(Pair(), (torch.zeros(3, 5),), dynamic_shapes=({0: rows},)), path)
    model = load_model(ModelPolicy(str(path), features=True, detailed=True))
    assert np.array(features_of(model.predict(inputs))) == pytest.approx(by_hand(inputs), abs=1e-6)


def test_a_folder_gives_its_last_hidden_state_pooled(tmp_path: Path) -> None:
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    folder = str(text_folder(tmp_path))
    texts = ["good", "very bad film", ["good film", "bad"]]
    model = load_model(ModelPolicy(folder, features=True, detailed=True))
    found = model.predict(texts)
    assert [answer.score for answer in found] == pytest.approx(
        [answer.score for answer in load_model(ModelPolicy(folder)).predict(texts)]
    )
    tokens = AutoTokenizer.from_pretrained(folder)("very bad film", return_tensors="pt")
    with torch.inference_mode():
        states = BertForSequenceClassification.from_pretrained(folder)(**tokens, output_hidden_states=True)
    pooled = states.hidden_states[-1][0].mean(dim=0)
    second = features_of(found)[1]
    assert second == pytest.approx(pooled.tolist(), abs=1e-5), "no padding is in it"


def test_a_folder_of_pictures_gives_its_last_hidden_state_pooled(tmp_path: Path) -> None:
    dark, bright = [[[level] * 3] * 8 for level in (10, 240)]
    model = load_model(ModelPolicy(str(picture_folder(tmp_path)), features=True, detailed=True))
    rows = np.array(features_of(model.predict([[line * 1 for line in _wide(dark)], _wide(bright)])))
    assert rows.shape == (2, 16)
    assert not np.allclose(rows[0], rows[1])


def _wide(column: list[list[int]]) -> list[list[list[int]]]:
    return [[pixel] * 8 for pixel in column]


def test_two_rows_are_two_answers_and_no_pair() -> None:
    assert parted(([0.1, 0.9], [0.8, 0.2]), "probabilities") == (([0.1, 0.9], [0.8, 0.2]), None)
    assert parted([("a", [-0.1]), ("b", [-0.2])], "tokens") == ([("a", [-0.1]), ("b", [-0.2])], None)
    assert parted({"tokens": [("a", [-0.1])], "features": [[1.0]]}, "tokens") == ([("a", [-0.1])], [[1.0]])
    with pytest.raises(ValueError, match="must hold 'logits'; it holds scores"):
        parted({"scores": []}, "logits")


def test_without_the_setting_the_second_output_is_left_alone() -> None:
    inputs, _, _ = drawn(3, 1)
    assert features_of(featured(features=False).predict(inputs)) == [None] * 3


def test_a_model_that_gives_none_is_told_what_to_return() -> None:
    with pytest.raises(ModelError, match=r"gives no features, .* return a pair"):
        featured("bare").predict([[0.0] * 5])


@pytest.mark.parametrize("features", [[1.0, 2.0], [[1.0], [2.0], [3.0]], [[0.0] * (MOST_FEATURES + 1)] * 2, [[], []]])
def test_features_that_are_no_table_of_theirs_are_refused(features: list[Any]) -> None:
    with pytest.raises(ValueError, match="features must be a table of 2 rows and 1 to 1,024 columns"):
        feature_table(features, 2)


@pytest.mark.parametrize("policy", [{"samples": 3, "score": "agreement"}, {"output": "scored"}, {"output": "samples"}])
def test_where_no_learned_score_is_made_they_are_refused(policy: dict[str, Any]) -> None:
    asked = replace(ModelPolicy("support.featured_models:paired", score="agreement", features=True), **policy)
    with pytest.raises(ConfigurationError, match="features: must be false"):
        load_model(asked)


# what is learned from them


def test_a_score_with_features_is_kept_where_they_tell_more() -> None:
    recording, evidence = known(1500, 2)
    free = recording.local.scores
    made = judge_learned(recording, evidence, free, "max_softmax", 0)
    assert made.kept
    assert made.model is not None
    assert made.model.features is not None
    assert len(made.model.features) == WIDE
    assert "the learned score with 16 features is used: a gain in area of " in made.reason
    without = judge_learned(recording, evidence.without_features, free, "max_softmax", 0)
    assert (made.gain or 0.0) > (without.gain or 0.0) + 0.05


def test_features_that_tell_nothing_are_left_out_and_nothing_is_lost() -> None:
    recording, evidence = known(1500, 2)
    noise = np.random.default_rng(0).normal(size=(1500, 200)).astype(np.float32)
    free = recording.local.scores
    made = judge_learned(recording, Evidence({}, evidence.probabilities, LABELS, None, noise), free, "max_softmax", 0)
    without = judge_learned(recording, evidence.without_features, free, "max_softmax", 0)
    assert (made.kept, made.model, made.gain) == (without.kept, without.model, without.gain)
    assert "; the learned score with 200 features is left out: " in made.reason


def test_hundreds_of_features_become_few_components_of_variance_1() -> None:
    chance = np.random.default_rng(0)
    table = (chance.normal(size=(800, 5)) @ chance.normal(size=(5, 300)) * 7 + 40).astype(np.float32)
    table[:, 17] = 3.0  # one that never varies
    found = Projection.of(table).components(table)
    assert found.shape == (800, 5), "there is no more in them"
    assert found.std(axis=0) == pytest.approx(np.ones(5), abs=1e-3)
    wild = chance.normal(size=(2000, 100)).astype(np.float32)
    assert Projection.of(wild).components(wild).shape == (2000, MOST)


def test_features_that_never_vary_change_nothing() -> None:
    recording, evidence = known(600, 0)
    flat = fit_deferral(recording, Evidence({}, evidence.probabilities, LABELS, None, np.ones((600, 3), np.float32)), 0)
    plain = fit_deferral(recording, evidence.without_features, 0)
    assert (flat.local_weights, flat.remote_weights) == (plain.local_weights, plain.remote_weights)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 600])
def test_the_place_of_a_row_in_its_batch_changes_nothing(n: int) -> None:
    recording, evidence = known(600, 0)
    model = fit_deferral(recording, evidence, 0)
    assert apply_deferral(model, evidence[-n:]).tolist() == apply_deferral(model, evidence)[-n:].tolist()


def test_it_comes_back_from_json_and_one_without_features_is_written_as_ever() -> None:
    recording, evidence = known(600, 0)
    model = fit_deferral(recording, evidence, 0)
    again = msgspec.json.decode(msgspec.json.encode(model), type=DeferralModel)
    assert apply_deferral(again, evidence).tolist() == apply_deferral(model, evidence).tolist()
    assert "features" not in msgspec.to_builtins(fit_deferral(recording, evidence.without_features, 0))


def test_a_feature_that_is_not_finite_leaves_its_input_without_a_score() -> None:
    recording, evidence = known(600, 0)
    model = fit_deferral(recording, evidence, 0)
    assert evidence.features is not None
    assert evidence.probabilities is not None
    spoilt = evidence.features[:3].copy()
    spoilt[1, 2] = np.inf
    found = model.of_classes(evidence.probabilities[:3], None, spoilt)
    assert np.isnan(found).tolist() == [False, True, False]


def test_what_reads_features_says_so_where_there_are_none() -> None:
    recording, evidence = known(600, 0)
    model = fit_deferral(recording, evidence, 0)
    assert evidence.features is not None
    with pytest.raises(ValueError, match="and 16 features; no features are recorded"):
        apply_deferral(model, evidence.without_features)
    with pytest.raises(ValueError, match="and 16 features, and the model gives 15"):
        apply_deferral(model, Evidence({}, evidence.probabilities, LABELS, None, evidence.features[:, 1:]))


@pytest.mark.parametrize(
    ("means", "local", "match"),
    [((), (), "1 to 1,024"), ((0.0,), (0.0, 1.0), "two weights"), ((float("inf"),), (0.0,), "finite")],
)
def test_weights_that_do_not_belong_together_are_refused(
    means: tuple[float, ...], local: tuple[float, ...], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        FeatureWeights(means, local, means)


# in recordings


def read(folder: Path, *cells: Any) -> Evidence:
    row = {"local_correct": True, "remote_correct": True, "local_score": 0.5, "remote_score": 0.5}
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row | {"pair": True, "local_features": cell}) + "\n" for cell in cells))
    return read_recording(path, path, where=Where("pair", "true")).evidence


def test_they_are_read_from_a_recording(tmp_path: Path) -> None:
    found = read(tmp_path, [0.1, -2], [1e-8, 3]).features
    assert found is not None
    assert found.tolist() == np.array([[0.1, -2.0], [1e-8, 3.0]], np.float32).tolist()
    assert read(tmp_path, [0.1, 2.0], None).features is None, "a score that reads them could not judge the second"
    assert read(tmp_path, None, None).features is None


@pytest.mark.parametrize(
    ("cell", "told"),
    [([0.1], "as many as elsewhere"), (7, "as many as elsewhere"), (["x", 1.0], "holds something that is no number")],
)
def test_cells_that_are_no_features_are_named(tmp_path: Path, cell: Any, told: str) -> None:
    with pytest.raises(RecordingError, match=f"column 'local_features': .*{told}"):
        read(tmp_path, [0.1, 0.2], cell)


# from a recording to a worker


def recorded(folder: Path, model: Model, n: int) -> Path:
    """What `record` would write of them."""
    inputs, recording, truth = drawn(n, 3)
    answers = model.predict(inputs)
    path = folder / "pairs.jsonl"
    assert recording.remote.predictions is not None
    with path.open("w") as lines:
        for row, answer in enumerate(answers):
            assert answer.details is not None
            pair = {
                "id": str(row),
                "pair": True,
                "truth": LABELS[truth[row]],
                "local_prediction": answer.prediction,
                "local_score": answer.score,
                "local_probabilities": answer.details.probabilities,
                "local_labels": list(LABELS),
                "local_features": answer.details.features,
                "remote_prediction": LABELS[recording.remote.predictions[row]],
                "remote_score": float(recording.remote.scores[row]),
            }
            lines.write(json.dumps(pair) + "\n")
    return path


def configured(folder: Path, spec: str, local: str = "features = true") -> Path:
    path = folder / "bisupervised.toml"
    path.write_text(
        f"[thresholds]\nfile = {str(folder / 'thresholds.json')!r}\n[local]\nmodel = {spec!r}\n{local}\n"
        f"labels = {list(LABELS)}\n[remote]\nurl = 'http://127.0.0.1:1'\nmodel = 'm'\n"
    )
    return path


def score_of(outcome: Outgoing) -> float | None:
    if outcome.to == "results":
        return decode_result(outcome.value or b"").score
    facts = decode_facts(Record(outcome.value, headers=outcome.headers))
    assert facts.local is not None
    return facts.local.score


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_a_worker_scores_by_features_as_it_is_scored_offline(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the commands and the worker's own parts: a recording, `calibrate`, and the local agent."""
    spec = "support.featured_models:paired" if kind == "torch" else str(write_onnx(tmp_path / "small.onnx"))
    model = load_model(ModelPolicy(spec, labels=LABELS, features=True, detailed=True))
    pairs = recorded(tmp_path, model, 3400)
    files = ["--local", str(pairs), "--remote", str(pairs), "--where", "pair=true"]
    files += ["--out", str(tmp_path / "thresholds.json")]
    assert run(["calibrate", *files, "--remote-fraction", "0.4", "--max-error", "0.45", "--json"]) == 0
    assert "with 16 features is used" in json.loads(capsys.readouterr().out)["learned"]["reason"]
    made = read_thresholds(tmp_path / "thresholds.json").learned
    assert made is not None
    offline = apply_deferral(made, read_recording(pairs, pairs, where=Where("pair", "true")).evidence)
    agent = make_agent(load_configuration(configured(tmp_path, spec), {}), "local", lambda: None)
    assert isinstance(agent, LocalAgent)
    inputs, _, _ = drawn(3400, 3)
    scores: list[float | None] = []
    for start, stop in ((0, 1), (1, 64), (64, 300)):  # whatever the batches are
        outcomes = asyncio.run(agent._local.decide([request(one) for one in inputs[start:stop]]))
        scores += map(score_of, outcomes)
    assert scores == pytest.approx(offline[:300].tolist(), abs=1e-6), "the model itself rounds by the size of a batch"
    asyncio.run(agent.close())
    with pytest.raises(ConfigurationError, match=r"\[local\] features: must be true: .* and 16 features"):
        load_configuration(configured(tmp_path, spec, ""), {})


def test_features_that_were_changed_by_hand_are_noticed(tmp_path: Path) -> None:
    recording, evidence = known(600, 0)
    made = signed(msgspec.structs.replace(thresholds(), learned=fit_deferral(recording, evidence, 0)))
    write_thresholds(tmp_path / "t.json", made)
    assert read_thresholds(tmp_path / "t.json") == made
    document = json.loads((tmp_path / "t.json").read_text())
    document["learned"]["features"]["local"][3] += 0.5
    (tmp_path / "t.json").write_text(json.dumps(document))
    with pytest.raises(ConfigurationError, match="its digest does not fit"):
        read_thresholds(tmp_path / "t.json")


def test_where_nobody_reads_them_they_are_not_computed(tmp_path: Path) -> None:
    """A format that can leave them away does, until a learned score reads them."""
    asked: list[tuple[str, ...]] = []
    path = str(write_onnx(tmp_path / "small.onnx"))
    model = load_model(ModelPolicy(path, features=True, placing=Placing()))

    def spied(call: Any) -> Any:
        def predict(inputs: list[Any]) -> Any:
            asked.append(call.outputs)
            return call(inputs)

        return predict

    recording, evidence = known(600, 0)
    watched = Model(spied(model.call), "m", "logits", model.reading, featured=spied(model.featured))
    watched.predict([[0.0] * 5])
    watched.predict([[0.0] * 5], fit_deferral(recording, Evidence({}, evidence.probabilities), 0))
    watched.predict([[0.0] * 5], fit_deferral(recording, evidence.without_features, 0))
    watched.predict([[0.0] * 5], fit_deferral(recording, evidence, 0))
    assert asked == [("logits",)] * 3 + [("logits", "features")]


def test_the_example_gives_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples" / "local"))
    model = load_model(ModelPolicy("featured:Small", features=True, detailed=True))
    answers = model.predict([[0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4]])
    assert {answer.prediction for answer in answers} <= {"small", "large"}
    assert [len(row or ()) for row in features_of(answers)] == [16, 16]
