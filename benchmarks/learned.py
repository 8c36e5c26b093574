"""What a learned score costs an event, beside max-softmax: what the local agent does with a model's output.

    python -m benchmarks.learned [--out build/learned.json]

The model's own time is left out. Where no learned score is used, nothing of it is computed, not even a length.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from bisupervised.agents.answers import ClassReading
from bisupervised.agents.local.model import Model
from bisupervised.agents.supervision.choosing.evidence import Evidence
from bisupervised.agents.supervision.choosing.heads import fit_deferral
from bisupervised.agents.supervision.class_scores import probabilities
from bisupervised.agents.supervision.learned.deferral import DeferralModel
from bisupervised.agents.supervision.recording import Recording, Side
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

#: seconds that each figure is measured for, at least, in each of some rounds
_SECONDS, _ROUNDS = 0.2, 5
_TEXT = "a text of about one hundred characters, as a review or the title of a report may have, but not longer."


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds an event, the least of some rounds."""

    classes: int
    batch: int
    plain_us: float  #: read with max-softmax
    learned_us: float  #: read with a learned score that knows the length of the input
    features: int = 0  #: of the model itself, that the learned score reads as well


def fitted(classes: int, features: int = 0, seed: int = 0) -> DeferralModel:
    """A learned score for so many classes, and so many features of the model."""
    chance = np.random.default_rng(seed)
    table = probabilities(chance.normal(0, 3, (2000, classes)), logits=True)
    right = chance.random(2000) < table.max(axis=1)
    recording = Recording(Side(table.max(axis=1), right), Side(chance.random(2000), chance.random(2000) < 0.9))
    lengths = chance.integers(1, 500, 2000).astype(np.float64)
    besides = chance.normal(size=(2000, features)).astype(np.float32) if features else None
    return fit_deferral(recording, Evidence({}, table, (), lengths, besides), 0)


def measure(classes: int, batch: int, features: int = 0) -> Cost:
    """Both ways to read a batch."""
    chance = np.random.default_rng(1)
    outputs: NDArray[np.float64] = chance.normal(0, 3, (batch, classes))
    besides = chance.normal(size=(batch, features)).astype(np.float32)
    reading = ClassReading(logits=True)
    model = Model(lambda _: outputs, "m", "logits", reading, featured=lambda _: (outputs, besides))
    inputs, learned = [_TEXT] * batch, fitted(classes, features)
    plain = _least(lambda: model.predict(inputs))
    return Cost(classes, batch, plain / batch, _least(lambda: model.predict(inputs, learned)) / batch, features)


def _least(call: Callable[[], object]) -> float:
    found = []
    for _ in range(_ROUNDS):
        calls, started = 0, time.perf_counter()
        while (took := time.perf_counter() - started) < _SECONDS:
            call()
            calls += 1
        found.append(took / calls)
    return min(found) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/learned.json"))
    arguments = parser.parse_args()
    costs = [measure(classes, batch) for classes in (2, 10, 1000) for batch in (1, 64, 1000)]
    costs += [measure(10, batch, 384) for batch in (1, 64, 1000)]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps([asdict(cost) for cost in costs], indent=2) + "\n")
    table = Table(title="A learned score, µs an event", title_justify="left")
    for name in ("classes", "features", "batch", "max-softmax", "learned", "more"):
        table.add_column(name, justify="right")
    for cost in costs:
        more = cost.learned_us - cost.plain_us
        table.add_row(
            *(f"{number:,}" for number in (cost.classes, cost.features, cost.batch)),
            *(f"{us:.1f}" for us in (cost.plain_us, cost.learned_us, more)),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
