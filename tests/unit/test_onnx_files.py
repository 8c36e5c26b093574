"""ONNX files, made here: a table of numbers, a column of texts, and a model of tokens with its tokenizer beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.local.formats.folders import labels_in
from bisupervised.agents.local.formats.loaded import Placing
from bisupervised.agents.local.formats.onnx_files import _provider
from bisupervised.agents.local.model import Model, ModelPolicy, load_model
from bisupervised.schemas.errors import ConfigurationError
from onnx import TensorProto, helper, numpy_helper, save
from support.model_folders import WORDS, tokenizer_of

WEIGHT = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]], np.float32)
FLOATS, INTS = TensorProto.FLOAT, TensorProto.INT64


def write(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> Path:
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "made", inputs, outputs, kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, path)
    return path


def labelled(path: Path, **told: str) -> Path:
    import onnx

    model = onnx.load(path)
    helper.set_model_props(model, told)
    save(model, path)
    return path


def linear(path: Path, *, rows: Any = "n", outputs: tuple[str, ...] = ("logits",)) -> Path:
    """Three numbers to two classes."""
    nodes = [helper.make_node("MatMul", ["x", "w"], [name]) for name in outputs]
    made = [helper.make_tensor_value_info(name, FLOATS, [rows, 2]) for name in outputs]
    return write(path, nodes, [helper.make_tensor_value_info("x", FLOATS, [rows, 3])], made, {"w": WEIGHT})


def tokens(path: Path, *, more: tuple[str, ...] = ()) -> Path:
    """The sum of what each word that is no padding says for either class."""
    table = np.zeros((len(WORDS), 2), np.float32)
    table[WORDS.index("good")], table[WORDS.index("bad")], table[WORDS.index("[PAD]")] = (0, 2), (2, 0), (99, 0)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=FLOATS),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["words", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    taken = [helper.make_tensor_value_info(n, INTS, ["n", "t"]) for n in ("input_ids", "attention_mask", *more)]
    made = [helper.make_tensor_value_info("logits", FLOATS, ["n", 2])]
    constants = {"table": table, "last": np.array([2]), "middle": np.array([1])}
    return write(path, nodes, taken, made, constants)


def loaded(path: Path, **policy: Any) -> Model:
    return load_model(ModelPolicy(str(path), **policy))


def predictions(model: Model, inputs: list[Any]) -> list[Any]:
    return [answer.prediction for answer in model.predict(inputs)]


def test_a_file_of_one_tensor(tmp_path: Path) -> None:
    model = loaded(linear(tmp_path / "small.onnx"), labels=("a", "b"))
    found = model.predict([[3, 0, 0], [0.0, 1.0, 0.0], [0, 0, 2]])
    assert [answer.prediction for answer in found] == ["a", "b", "b"]
    assert found[0].score == pytest.approx(1 / (1 + np.exp(-3.0)))
    name, _, version = model.name.partition("@")
    assert (name, len(version)) == ("small", 12)


@pytest.mark.parametrize(
    ("told", "labels"),
    [
        ({"labels": '["no", "yes"]'}, ("no", "yes")),
        ({"labels": "no, yes"}, ("no", "yes")),
        ({"id2label": '{"1": "yes", "0": "no"}'}, ("no", "yes")),
        ({"names": "{0: 'no', 1: 'yes'}"}, ("no", "yes")),
        ({"author": "somebody"}, ()),
    ],
)
def test_the_labels_stand_in_the_file(tmp_path: Path, told: dict[str, str], labels: tuple[str, ...]) -> None:
    assert loaded(labelled(linear(tmp_path / "m.onnx"), **told)).reading.labels == labels


def test_labels_that_cannot_be_read_are_a_fault(tmp_path: Path) -> None:
    path = labelled(linear(tmp_path / "m.onnx"), names="{0: 'no', 5: 'yes'}")
    with pytest.raises(ConfigurationError, match="names its classes in a way that cannot be read"):
        loaded(path)
    with pytest.raises(ValueError, match="names no classes"):
        labels_in("3")


def test_the_output_is_chosen_by_its_name(tmp_path: Path) -> None:
    assert predictions(loaded(linear(tmp_path / "m.onnx", outputs=("features", "logits"))), [[0, 1, 0]]) == [1]


def test_a_table_of_probabilities_as_scikit_learn_is_exported(tmp_path: Path) -> None:
    from bisupervised.agents.local.formats.onnx_files import _rows

    found = _rows([{"no": 0.25, "yes": 0.75}, {"no": 0.5, "yes": 0.5}])
    assert found.tolist() == [[0.25, 0.75], [0.5, 0.5]]


def test_texts_have_their_tokenizer_beside_them(tmp_path: Path) -> None:
    tokenizer_of().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "no", "1": "yes"}}))
    (tmp_path / "onnx").mkdir()
    model = loaded(tokens(tmp_path / "onnx" / "m.onnx"))
    texts = ["good film", "bad", "very very very good good", ["bad film", "very bad"], "good"]
    assert predictions(model, texts) == ["yes", "no", "yes", "no", "yes"]
    assert model.predict(texts) == [model.predict([text])[0] for text in texts]


def test_a_text_longer_than_the_model_reads_is_cut_off(tmp_path: Path) -> None:
    tokenizer_of().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 8}))
    model = loaded(tokens(tmp_path / "m.onnx"))
    assert model.predict(["good " * 50]) == model.predict(["good " * 4])  # 8, but 2 in reserve, [CLS] and [SEP]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda path: path, "there is no model file"),
        (lambda path: path.write_bytes(b"none"), "is not an ONNX file that can be run"),
        (lambda path: linear(path, rows=4), "was exported for batches of 4"),
        (lambda path: linear(path, outputs=("a", "b")), "has the outputs a, b; call the one with the classes logits"),
        (lambda path: tokens(path), r"takes input_ids: put the tokenizer\.json of the model beside it"),
    ],
)
def test_a_file_that_cannot_serve_is_refused(tmp_path: Path, make: Any, match: str) -> None:
    make(tmp_path / "m.onnx")
    with pytest.raises(ConfigurationError, match=match):
        loaded(tmp_path / "m.onnx")


def test_an_input_that_no_tokenizer_makes_is_named(tmp_path: Path) -> None:
    tokenizer_of().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigurationError, match="takes position_ids besides tokens"):
        loaded(tokens(tmp_path / "m.onnx", more=("position_ids",)))


def test_what_is_no_tensor_of_the_models_type_is_an_error_of_that_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        loaded(linear(tmp_path / "m.onnx")).predict([["a", "b", "c"]])


THERE = ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("device", "there", "chosen"),
    [
        ("cpu", THERE, ("CPUExecutionProvider", {})),
        ("auto", THERE, ("CUDAExecutionProvider", {})),
        ("auto", THERE[1:], ("CPUExecutionProvider", {})),
        ("cuda:1", THERE, ("CUDAExecutionProvider", {"device_id": 1})),
    ],
)
def test_which_provider_computes(device: str, there: list[str], chosen: tuple[str, dict[str, Any]]) -> None:
    assert _provider(device, there) == chosen


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match='"cuda" is not there: onnxruntime has no CUDAExecutionProvider'):
        loaded(linear(tmp_path / "m.onnx"), placing=Placing("cuda"))


def test_without_onnxruntime_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigurationError, match=r"needs onnxruntime: install bisupervised\[onnx\]"):
        loaded(linear(tmp_path / "m.onnx"))
