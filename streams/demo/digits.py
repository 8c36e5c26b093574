"""Handwritten digits: the split, the two models and the thresholds of the demo.

The local model sees the image at a quarter of its resolution through one linear layer; the remote model is a
small convolutional network on all of it. Both are trained in seconds, and only where they are not there yet.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...agents.local.model import ModelPolicy, load_model
from ...agents.supervision.calibration import Infeasible, clopper_pearson, local_threshold
from ...agents.supervision.recording import Recording, Side
from ...agents.supervision.scores import max_softmax, predictions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = tuple("0123456789")
#: values of one input: 8 x 8 grey levels, 0..1
FEATURES = 64

#: change it with anything that changes the models, so that older files are not taken for new ones
RECIPE = 1
_TRAINING, _CALIBRATION = 900, 360  # of 1,797 digits; the rest is held out
_HIGHEST_GREY = 16.0
_BATCH = 64

#: share of the inputs that the local supervisor should defer
REMOTE_FRACTION = 0.35
#: share of the right answers that the remote supervisor may reject at most, to keep wrong ones out
FALSE_POSITIVE_RATE = 0.05
#: probability that it rejects more in the long run
DELTA = 0.1


@dataclass(frozen=True, slots=True)
class Part:
    """Digits and what they are."""

    inputs: NDArray[np.float32]  #: (n, 64), grey levels in 0..1
    labels: NDArray[np.intp]  #: (n,), the digit

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Split:
    """What the models learn from, what the thresholds come from, and what neither has seen."""

    training: Part
    calibration: Part
    held_out: Part


@dataclass(frozen=True, slots=True)
class Models:
    """The files of the two models."""

    local: Path  #: puts out logits
    remote: Path  #: puts out probabilities


@dataclass(frozen=True, slots=True)
class ThresholdPair:
    """Where the two supervisors draw the line: a score below it is not trusted."""

    local: float
    remote: float


def load_split(seed: int) -> Split:
    """The same split for the same seed."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    inputs = (bunch.data / _HIGHEST_GREY).astype(np.float32)
    labels = bunch.target.astype(np.intp)
    order = np.random.default_rng(seed).permutation(len(labels))
    cuts = np.split(order, [_TRAINING, _TRAINING + _CALIBRATION])
    return Split(*(Part(inputs[cut], labels[cut]) for cut in cuts))


def make_models(folder: Path, split: Split, seed: int) -> tuple[Models, bool]:
    """Train and save the models, unless they are there already. The second value says whether they were."""
    import torch

    models = Models(folder / "local.pt2", folder / "remote.pt2")
    recipe, made_by = {"recipe": RECIPE, "seed": seed, "torch": torch.__version__}, folder / "models.json"
    if models.local.exists() and models.remote.exists() and _read(made_by) == recipe:
        return models, True
    folder.mkdir(parents=True, exist_ok=True)
    made_by.unlink(missing_ok=True)  # until both are whole, there are none
    with one_thread(torch):
        torch.manual_seed(seed)
        _save(torch, _train(torch, _local_net(torch), split.training, epochs=30, rate=0.03), models.local)
        remote = _train(torch, _remote_net(torch), split.training, epochs=20, rate=0.003)
        _save(torch, torch.nn.Sequential(remote, torch.nn.Softmax(dim=1)), models.remote)
    made_by.write_text(json.dumps(recipe))
    return models, False


def _read(path: Path) -> Any:  # noqa: ANN401  # whatever the file holds
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


@contextmanager
def one_thread(torch: Any) -> Iterator[None]:  # noqa: ANN401  # torch is optional
    """Nets this small train many times faster on one thread when other processes are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _local_net(torch: Any) -> Any:  # noqa: ANN401  # torch is optional
    nn = torch.nn
    return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, len(LABELS)))


def _remote_net(torch: Any) -> Any:  # noqa: ANN401  # torch is optional
    nn = torch.nn
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, len(LABELS)),
    )


def _train(torch: Any, net: Any, part: Part, *, epochs: int, rate: float) -> Any:  # noqa: ANN401  # torch is optional
    inputs, labels = torch.from_numpy(part.inputs), torch.from_numpy(part.labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(part)).split(_BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return net.eval()


def _save(torch: Any, net: Any, path: Path) -> None:  # noqa: ANN401  # torch is optional
    example = torch.zeros(2, FEATURES)
    program = torch.export.export(net.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)


def judge(path: Path, part: Part, *, logits: bool) -> Side:
    """Ask a model, loaded as the worker loads it, about every input of a part."""
    outputs = np.asarray(load_model(ModelPolicy(str(path))).call(list(part.inputs)))
    predicted = predictions(outputs)
    return Side(max_softmax(outputs, logits=logits), predicted == part.labels, predicted)


def calibrate(models: Models, calibration: Part) -> ThresholdPair:
    """The thresholds, from digits that the models have not learned from: half for the first, half for the second.

    Raises `ValueError` where so few digits certify nothing.
    """
    recording = Recording(
        judge(models.local, calibration, logits=True), judge(models.remote, calibration, logits=False)
    )
    half = len(recording) // 2
    line = local_threshold(recording[:half].local.scores, REMOTE_FRACTION)
    found = clopper_pearson(recording[half:], line, FALSE_POSITIVE_RATE, DELTA)
    if isinstance(found, Infeasible):
        raise ValueError(f"these digits certify no second threshold: {found.reason}")
    return ThresholdPair(line, found.threshold)
