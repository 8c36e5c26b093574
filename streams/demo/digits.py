"""Handwritten digits: the data, the two models and the thresholds of the first demo.

The local model is one linear layer over the image at a quarter of its resolution. The remote model is a small
convolutional network over the whole image. Both are trained in seconds, and kept for the next run.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...agents.local.model import ModelPolicy, load_model
from ...agents.supervision.recording import Recording, Side
from ...agents.supervision.scores import max_softmax, predictions
from .thresholds import Split, ThresholdPair, ThresholdTargets, calibrate_pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = tuple("0123456789")
#: values of one input: 8 x 8 grey levels, 0..1
FEATURES = 64

#: version of the training: change it with anything that changes the models, so that old files are not reused
RECIPE = 1
_TRAINING, _CALIBRATION = 900, 360  # of 1,797 digits; the rest is held out
_HIGHEST_GREY = 16.0
_BATCH = 64

TARGETS = ThresholdTargets(remote_fraction=0.35, false_positive_rate=0.05, delta=0.1)


@dataclass(frozen=True, slots=True)
class Digits:
    """Images of digits with their labels."""

    inputs: NDArray[np.float32]  #: (n, 64), grey levels in 0..1
    labels: NDArray[np.intp]  #: (n,), the digit

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where the two models are."""

    local: Path  #: puts out logits
    remote: Path  #: puts out probabilities


def load_split(seed: int) -> Split[Digits]:
    """All digits. The same seed gives the same split."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    inputs = (bunch.data / _HIGHEST_GREY).astype(np.float32)
    labels = bunch.target.astype(np.intp)
    order = np.random.default_rng(seed).permutation(len(labels))
    cuts = np.split(order, [_TRAINING, _TRAINING + _CALIBRATION])
    return Split(*(Digits(inputs[cut], labels[cut]) for cut in cuts))


def make_models(folder: Path, split: Split[Digits], seed: int) -> tuple[ModelFiles, bool]:
    """Train and save the models, unless they are there already. The second value says whether they were."""
    import torch

    models = ModelFiles(folder / "local.pt2", folder / "remote.pt2")
    recipe, made_by = {"recipe": RECIPE, "seed": seed, "torch": torch.__version__}, folder / "models.json"
    if models.local.exists() and models.remote.exists() and _read(made_by) == recipe:
        return models, True
    folder.mkdir(parents=True, exist_ok=True)
    made_by.unlink(missing_ok=True)  # until both files are complete there are no models
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
    """Run torch on one thread: while other processes are busy, small nets train many times faster so."""
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


def _train(torch: Any, net: Any, part: Digits, *, epochs: int, rate: float) -> Any:  # noqa: ANN401  # torch is optional
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


def predict(path: Path, part: Digits, *, logits: bool) -> Side:
    """The answers of a model to a part. The model is loaded as the worker loads it."""
    outputs = np.asarray(load_model(ModelPolicy(str(path))).call(list(part.inputs)))
    predicted = predictions(outputs)
    return Side(max_softmax(outputs, logits=logits), predicted == part.labels, predicted)


def predict_both(models: ModelFiles, part: Digits) -> Recording:
    """The answers of both models to a part."""
    return Recording(predict(models.local, part, logits=True), predict(models.remote, part, logits=False))


def calibrate(models: ModelFiles, calibration: Digits) -> ThresholdPair:
    """Both thresholds. Raises `DemoError` where so few digits certify nothing."""
    return calibrate_pair(predict_both(models, calibration), TARGETS, "digits")
