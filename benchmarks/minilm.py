"""A torch model of MiniLM's size, and requests for it. Its weights are random, which takes as long as trained ones.

`python -m benchmarks.minilm CALLS` runs the model alone, on the batches that a worker's model logged.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

#: environment variables: the model's file, the log of its calls, and the log of the repeated calls
MODEL, CALLS, AGAIN = "BENCHMARK_MODEL", "BENCHMARK_CALLS", "BENCHMARK_AGAIN"
#: environment variable: how many records a worker's model will be asked about
RECORDS = "BENCHMARK_RECORDS"
PADDING = 0
#: tokens of the shortest and of the longest text
SHORTEST, LONGEST = 4, 64


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of the model; by default that of all-MiniLM-L6-v2."""

    vocabulary: int = 30_522  #: tokens
    hidden: int = 384
    layers: int = 6
    heads: int = 12
    feed_forward: int = 1536
    positions: int = 512


MINILM = Shape()
SMALL = Shape(hidden=16, layers=1, heads=2, feed_forward=32)


class _Layer(nn.Module):
    """Attention, then feed-forward, each with a residual connection and a norm after it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attention = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.joined = nn.Linear(shape.hidden, shape.hidden)
        self.wide = nn.Linear(shape.hidden, shape.feed_forward)
        self.narrow = nn.Linear(shape.feed_forward, shape.hidden)
        self.norms = nn.ModuleList([nn.LayerNorm(shape.hidden) for _ in range(2)])

    def forward(self, states: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        parts = [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.attention(states).chunk(3, dim=2)]
        attended = scaled_dot_product_attention(parts[0], parts[1], parts[2], seen[:, None, None, :])
        states = self.norms[0](states + self.joined(attended.transpose(1, 2).flatten(2)))
        normed: torch.Tensor = self.norms[1](states + self.narrow(gelu(self.wide(states))))
        return normed


class Encoder(nn.Module):
    """Takes token ids, padded at the end; returns the logits of two classes."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary, shape.hidden, padding_idx=PADDING)
        self.positions = nn.Embedding(shape.positions, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden)
        self.layers = nn.ModuleList([_Layer(shape) for _ in range(shape.layers)])
        self.head = nn.Linear(shape.hidden, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        seen = ids != PADDING
        states = self.norm(self.tokens(ids) + self.positions(torch.arange(ids.shape[1])))
        for layer in self.layers:
            states = layer(states, seen)
        weights = seen.unsqueeze(2).to(states.dtype)
        logits: torch.Tensor = self.head((states * weights).sum(dim=1) / weights.sum(dim=1))
        return logits


def export(shape: Shape, path: Path) -> None:
    """Write the model as a file of `torch.export`, for batches of any size and texts of any length."""
    torch.manual_seed(0)
    free = torch.export.Dim("batch"), torch.export.Dim("length", max=LONGEST)
    example = torch.ones(2, LONGEST // 2, dtype=torch.int64)
    program = torch.export.export(Encoder(shape).eval(), (example,), dynamic_shapes=(dict(enumerate(free)),))
    torch.export.save(program, path)


def save_weights(shape: Shape, path: Path) -> None:
    """Write only the shape and the weights of the same model."""
    torch.manual_seed(0)
    torch.save((asdict(shape), Encoder(shape).state_dict()), path)


def texts(count: int, seed: int = 0) -> list[list[int]]:
    """Token ids of texts like short messages: half of them under 20 tokens, few long. The first id gives the number."""
    chance = np.random.default_rng(seed)
    lengths = np.clip(chance.lognormal(np.log(20), 0.5, count), SHORTEST, LONGEST).astype(int)
    vocabulary = MINILM.vocabulary
    return [
        [1 + number % (vocabulary - 1), *chance.integers(1, vocabulary, length - 1).tolist()]
        for number, length in enumerate(lengths)
    ]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the model with one batch."""

    began: float  #: seconds, on a clock that all processes share
    ended: float
    numbers: list[int]  #: the numbers of the texts


class FromWeights:
    """The model as most users have theirs: a module in code, and a file of weights."""

    def __init__(self) -> None:
        shape, weights = torch.load(os.environ[MODEL], weights_only=True)
        with torch.device("meta"):
            self._module = Encoder(Shape(**shape)).eval()
        self._module.load_state_dict(weights, assign=True)

    def __call__(self, inputs: Sequence[list[int]]) -> torch.Tensor:
        """Logits of two classes."""
        return _logits(self._module, inputs)


class LoggedModel:
    """The exported model behind a callable, which pads the inputs and logs its calls."""

    def __init__(self) -> None:
        self._module = torch.export.load(os.environ[MODEL]).module()
        self._calls = Path(os.environ[CALLS])

    def __call__(self, inputs: Sequence[list[int]]) -> torch.Tensor:
        """Logits of two classes."""
        return self._ask(inputs, self._calls)

    def _ask(self, inputs: Sequence[list[int]], calls: Path) -> torch.Tensor:
        began = time.monotonic()
        logits = _logits(self._module, inputs)
        call = Call(began, time.monotonic(), [ids[0] - 1 for ids in inputs])
        with calls.open("ab") as file:
            file.write(orjson.dumps(call) + b"\n")
        return logits


class AskedTwice(LoggedModel):
    """The model of a worker. After the last record it repeats all its calls, in the same thread and process.

    Nothing else is done during the repetition. A second process would not do: between processes, torch's speed differs
    by a tenth.
    """

    def __init__(self) -> None:
        super().__init__()
        self._again = Path(os.environ[AGAIN])
        self._left = int(os.environ[RECORDS])
        self._asked: list[Sequence[list[int]]] = []

    def __call__(self, inputs: Sequence[list[int]]) -> torch.Tensor:
        """Logits of two classes."""
        logits = super().__call__(inputs)
        self._asked.append(inputs)
        self._left -= len(inputs)
        if not self._left:
            for batch in self._asked:
                self._ask(batch, self._again)
        return logits


def _logits(module: nn.Module, inputs: Sequence[list[int]]) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = module(torch.from_numpy(_padded(inputs)))
    return logits


def _padded(inputs: Sequence[list[int]]) -> NDArray[np.int64]:
    table = np.full((len(inputs), max(map(len, inputs))), PADDING, np.int64)
    for row, ids in zip(table, inputs, strict=True):
        row[: len(ids)] = ids
    return table


def read_calls(path: Path) -> list[Call]:
    """The calls that a model has logged so far."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [Call(**orjson.loads(line)) for line in lines]


def replay(calls: Sequence[Call]) -> None:
    """Repeat the calls, batch by batch, with nothing in between."""
    known = texts(max(max(call.numbers) for call in calls) + 1)
    batches = [[known[number] for number in call.numbers] for call in calls]
    model = LoggedModel()
    for batch in batches:
        model(batch)


if __name__ == "__main__":
    replay(read_calls(Path(sys.argv[1])))
