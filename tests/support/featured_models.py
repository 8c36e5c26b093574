"""A model of torch with a second output, the same in an ONNX file, and what a remote makes of its inputs.

An input is four logits and a number that says how well the remote does on it. The features know that number; the
classes do not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from bisupervised.agents.supervision.recording import Recording, Side
from numpy.typing import NDArray

WIDE = 16  #: features
LABELS = ("class 0", "class 1", "class 2", "class 3")


def layers() -> Any:
    """From an input of five numbers to features, with weights drawn by a fixed seed."""
    import torch

    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Linear(5, WIDE), torch.nn.Tanh()).eval()


class paired:  # noqa: N801  # a factory, as `module:callable` names one
    """Returns a pair of tensors."""

    labels = LABELS

    def __init__(self) -> None:
        self.layers = layers()

    def __call__(self, inputs: list[Any]) -> Any:  # a pair of tensors
        import torch

        table = torch.tensor(inputs, dtype=torch.float32)
        with torch.inference_mode():
            return table[:, :4], self.layers(table)


class tabled(paired):  # noqa: N801  # the same
    """Returns them by name."""

    def __call__(self, inputs: list[Any]) -> Any:  # a table of tensors
        logits, features = super().__call__(inputs)
        return {"logits": logits, "features": features}


class bare(paired):  # noqa: N801  # the same
    """Puts out nothing besides."""

    def __call__(self, inputs: list[Any]) -> Any:  # a tensor
        return super().__call__(inputs)[0]


def write_onnx(path: Path, *, features: str = "features") -> Path:
    """The same model in a file, whose second output has this name."""
    from onnx import TensorProto, helper, numpy_helper, save

    linear = layers()[0]
    kept = {
        "w": linear.weight.detach().numpy().T.copy(),
        "b": linear.bias.detach().numpy(),
        "from": np.array([0]),
        "to": np.array([4]),
        "axis": np.array([1]),
    }
    nodes = [
        helper.make_node("Slice", ["x", "from", "to", "axis"], ["logits"]),
        helper.make_node("MatMul", ["x", "w"], ["turned"]),
        helper.make_node("Add", ["turned", "b"], ["moved"]),
        helper.make_node("Tanh", ["moved"], [features]),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5])]
    made = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", wide])
        for name, wide in (("logits", 4), (features, WIDE))
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in kept.items()]
    graph = helper.make_graph(nodes, "made", given, made, constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def drawn(n: int, seed: int) -> tuple[list[list[float]], Recording, NDArray[np.intp]]:
    """Inputs, both models' answers, and the right ones. The remote is right in 95 % where the number is above 0, and in
    40 % elsewhere.
    """
    chance = np.random.default_rng(seed)
    table = chance.normal(0.0, 1.2, (n, 5)).round(3)
    odds = np.exp(table[:, :4])
    answered = odds.argmax(axis=1)
    likely = odds / odds.sum(axis=1, keepdims=True)
    truth = np.array([chance.choice(4, p=row) for row in likely])
    right = chance.random(n) < np.where(table[:, 4] > 0.0, 0.95, 0.4)
    remote = np.where(right, truth, (truth + 1) % 4)
    sides = (
        Side(likely.max(axis=1), answered == truth, answered),
        Side(np.where(right, chance.beta(4, 2, n), chance.beta(2, 3, n)), right, remote),
    )
    return table.tolist(), Recording(*sides), truth
