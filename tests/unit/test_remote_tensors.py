from __future__ import annotations

from typing import Any

import pytest
from bisupervised.streams.commands.remote_tensors import described
from bisupervised.streams.settings.keys.remote import RemoteSettings


def remote(**more: Any) -> RemoteSettings:
    return RemoteSettings.model_validate({"url": "http://a", "model": "large", "threshold": 0.5} | more)


def model(shape: Any, out: Any = (-1, 2), *, of: str = "BYTES", puts_out: str = "FP32") -> dict[str, Any]:
    return {
        "inputs": [{"name": "input", "datatype": of, "shape": shape}],
        "outputs": [{"name": "probabilities", "datatype": puts_out, "shape": out}],
    }


TEXTS = remote(datatype="BYTES")
COLUMN = remote(datatype="BYTES", input_shape="column")


@pytest.mark.parametrize(
    ("settings", "document", "sample", "says"),
    [
        (TEXTS, model([-1]), "a", None),
        (TEXTS, model([-1]), None, None),
        (TEXTS, model([-1, 1]), "a", 'fault as [n, 1], and inputs go as [n]: set [remote] input_shape = "column"'),
        (TEXTS, model(["-1", "1"]), None, 'fault as [n, 1], and inputs go as [n]: set [remote] input_shape = "column"'),
        (COLUMN, model([-1, 1]), "a", None),
        (COLUMN, model([-1, -1]), "a", None),
        (COLUMN, model([-1]), "a", 'fault as [n], and inputs go as [n, 1]: set [remote] input_shape = "as_given"'),
        (TEXTS, model([1]), "a", "note as [1]: set [remote] batch_size to 1"),
        (remote(datatype="BYTES", batch_size=1), model([1]), "a", None),
        (remote(), model([-1, 4], of="FP32"), [0.0] * 4, None),
        (remote(), model([-1, 4], of="FP32"), None, None),
        (remote(), model([-1, 4], of="FP32"), [0.0] * 3, "note as [n, 4], and inputs go as [n, 3]: is an input"),
        (remote(), model([-1, 3, 8, 8], of="FP32"), [0.0] * 3, "note as [n, 3, 8, 8], and inputs go as [n, 3]"),
        (TEXTS, model([-1], (-1,)), "a", "note as [n], not as a row of classes"),
        (TEXTS, model([-1], (-1,), puts_out="BYTES"), "a", None),
        (remote(datatype="BYTES", output="scored"), model([-1], (-1,)), "a", None),
        (
            remote(datatype="BYTES", labels=["a", "b"]),
            model([-1], (-1, 3)),
            "a",
            "fault as [n, 3]: [remote] labels",
        ),
        (remote(datatype="BYTES", labels=["a", "b"]), model([-1], (-1, -1)), "a", None),
        (remote(datatype="BYTES", labels=["a", "b"]), model([-1], (-1, 1, 2)), "a", None),
        (
            remote(datatype="BYTES", labels=["a", "b"]),
            model([-1], (-1, 1, 3)),
            "a",
            "fault as [n, 1, 3]: [remote] labels",
        ),
        (remote(datatype="BYTES", labels=["a", "b"]), model([-1], (-1, 1)), "a", "fault as [n, 1]: [remote] labels"),
        (TEXTS, model("no shape", 7), "a", None),
        (TEXTS, model([-1], None), "a", None),
        (TEXTS, {"inputs": [7], "outputs": {}}, "a", None),
    ],
)
def test_shapes_are_compared_and_what_to_set_is_said(
    settings: RemoteSettings, document: Any, sample: Any, says: str | None
) -> None:
    found = [f"{finding.level} {finding.text}" for finding in described(document, settings, sample)]
    if says is None:
        assert found == []
        return
    level, _, text = says.partition(" ")
    [line] = found
    assert line.startswith(level)
    assert text in line


def hugging_face(taken: str = "args", given: str = "outputs") -> dict[str, Any]:
    """As MLServer 1.7.1 describes a text classifier of its runtime for Hugging Face: it does not answer so."""
    one = {"datatype": "BYTES", "shape": [-1]}
    return {
        "name": "classifier",
        "inputs": [one | {"name": taken, "parameters": {"content_type": "str"}}],
        "outputs": [one | {"name": given, "parameters": {"content_type": "hg_json"}}],
    }


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"input_name": "array_inputs", "output_name": "output"}, []),
        ({"input_name": "array_inputs", "output_name": "output", "input_shape": "column"}, []),
        ({"input_name": "args", "output_name": "output", "batch_size": 1}, []),
        ({"input_name": "args", "output_name": "output"}, ['fault set [remote] input_name = "array_inputs"']),
        (
            {"input_name": "args", "output_name": "outputs"},
            ['fault set [remote] input_name = "array_inputs"', 'fault set [remote] output_name = "output"'],
        ),
        ({"output_name": "output"}, ['fault set [remote] input_name = "array_inputs"']),
        (
            {"input_name": "array_inputs", "output_name": "output", "datatype": "FP32"},
            ['fault set [remote] datatype = "BYTES"'],
        ),
    ],
)
def test_a_runtime_that_does_not_answer_as_it_says_is_known(settings: dict[str, Any], says: list[str]) -> None:
    found = list(described(hugging_face(), remote(**{"datatype": "BYTES"} | settings), "a"))
    for finding, said in zip(found, says, strict=True):
        level, _, text = said.partition(" ")
        assert (finding.level, text in finding.text) == (level, True), finding


def test_only_that_runtimes_classifiers_of_texts_are_taken_for_it() -> None:
    found = list(described(hugging_face("images"), remote(datatype="BYTES", output_name="outputs"), "a"))
    assert [finding.level for finding in found] == ["note"]
