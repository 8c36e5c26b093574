"""The local model: a user's own callable, or files, which `formats/` reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...schemas.errors import ConfigurationError, ModelError
from ..answers import (
    Answer,
    Besides,
    ClassReading,
    Output,
    read_class_samples,
    read_classes,
    read_pairs,
    read_samples,
    read_tokens,
    unfit,
    unreadable,
)
from ..importing import own_callable
from ..supervision.learned.deferral import DeferralModel, length_of
from ..supervision.scores import SCORES
from .dropout import ModelCall, sampled
from .features import as_array, feature_table, parted
from .formats.loaded import EXPORTED, ONNX, TORCHSCRIPT, Loaded, Placing

#: endings of the files that are models
SUFFIXES = EXPORTED + TORCHSCRIPT + ONNX


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """Which model, and how what it puts out is read."""

    model: str  #: "module:callable", a path that ends in one of `SUFFIXES`, or a folder of Hugging Face's format
    output: Output = "logits"  #: what it returns
    labels: tuple[Any, ...] = ()  #: what the classes are called; empty: the model's own, else their indices
    version: str = ""  #: for the records; empty: the model's own, else a digest of its file
    score: str = "max_softmax"  #: name of the score; one of `scores_for(output)` unless `output` is "scored"
    temperature: float = 1.0  #: logits are divided by it
    samples: int = 1  #: times a model of classes is asked the same, for the score "agreement"
    detailed: bool = False  #: answers come with their `Details`
    features: bool = False  #: what the model puts out besides is read, for a recording and for a learned score
    placing: Placing = field(default_factory=Placing)  #: where a file or a folder computes


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. `predict` blocks: call it in a thread."""

    call: ModelCall  #: takes a list of inputs
    name: str  #: "name@version" where the version is known
    output: Output
    reading: ClassReading
    samples: int = 1  #: times it is asked the same
    featured: ModelCall | None = None  #: the same, with features beside the outputs; None where none are to be read

    def predict(self, inputs: Sequence[Any], learned: DeferralModel | None = None) -> list[Answer]:
        """As many answers as inputs, in their order; scored by the learned score, where there is one.

        Raises `ModelError` where the model returns something else, and whatever the model itself raises.
        """
        featured = self.featured if self.reading.detailed or (learned and learned.features) else None
        call = featured or self.call
        returned = [call(list(inputs)) for _ in range(self.samples)]
        try:
            outputs = [parted(each, self.output) for each in returned]
            features = feature_table(outputs[0][1], len(inputs)) if featured else None
            besides = Besides(_lengths(inputs, learned), features)
            return self._read([each for each, _ in outputs], len(inputs), learned, besides)
        except (ValueError, TypeError) as error:
            raise ModelError(f"the model {self.name} does not answer as it should: {error}") from error

    @property
    def labels(self) -> tuple[Any, ...]:
        """What its classes are called; empty where that is not known."""
        return self.reading.labels

    def unreadable(self, learned: DeferralModel) -> list[tuple[str, str]]:
        """Why that learned score cannot be made of what this model puts out; see `answers.unreadable`."""
        return unreadable(learned, self.output, self.samples, self.reading.labels, features=self.featured is not None)

    def _read(self, outputs: list[Any], asked: int, learned: DeferralModel | None, besides: Besides) -> list[Answer]:
        if self.samples > 1:
            return read_class_samples([as_array(sample) for sample in outputs], asked, self.reading)
        match self.output:
            case "scored":
                return read_pairs(outputs[0], asked)
            case "tokens":
                return read_tokens(
                    outputs[0], asked, self.reading.score, learned, besides, detailed=self.reading.detailed
                )
            case "samples":
                return read_samples(outputs[0], asked)
            case "logits" | "probabilities":
                return read_classes(as_array(outputs[0]), asked, self.reading, learned, besides)


def load_model(policy: ModelPolicy) -> Model:
    """Load the model, once.

    Raises `ConfigurationError` for a model that cannot be found, or a file that is not what its name says;
    what the user's own code raises passes through, with its own traceback.
    """
    _check_score(policy)
    return _model(policy, _loaded(policy))


def _loaded(policy: ModelPolicy) -> Loaded:
    """Each reader is imported only by who needs it: a callable's worker starts without any."""
    path = Path(policy.model)
    if policy.model.endswith(EXPORTED + TORCHSCRIPT):
        from .formats.torch_files import load_torch_file

        return load_torch_file(path, policy.placing)
    if policy.model.endswith(ONNX):
        from .formats.onnx_files import load_onnx

        return load_onnx(path, policy.placing, features=policy.features)
    if is_folder(policy.model):
        from .formats.hugging_face import load_folder

        return load_folder(path, policy.placing)
    call = _load_callable(policy.model)
    version, labels = getattr(call, "version", ""), getattr(call, "labels", ())
    return Loaded(call, policy.model, str(version or ""), tuple(labels))


def is_folder(model: str) -> bool:
    """Whether it names a folder: a path with a stroke in it, or one that is there. A callable has a colon."""
    return ":" not in model and (any(stroke in model for stroke in "/\\") or Path(model).is_dir())


def _check_score(policy: ModelPolicy) -> None:
    if policy.output != "scored" and policy.score not in SCORES:
        raise ConfigurationError([f"no score is called {policy.score!r}; there are {', '.join(sorted(SCORES))}"])
    if faults := unfit(policy.output, policy.score, policy.samples, policy.temperature, features=policy.features):
        raise ConfigurationError([f"{key}: {text}" for key, text in faults])


def _model(policy: ModelPolicy, loaded: Loaded) -> Model:
    version, labels = policy.version or loaded.version, policy.labels or loaded.labels
    reading = ClassReading(policy.output == "logits", labels, policy.score, policy.temperature, policy.detailed)
    call = sampled(loaded.call, policy.model) if policy.samples > 1 else loaded.call
    featured = (loaded.featured or loaded.call) if policy.features else None
    name = f"{loaded.name}@{version}" if version else loaded.name
    return Model(call, name, policy.output, reading, policy.samples, featured)


def _load_callable(spec: str) -> ModelCall:
    module_name, colon, attribute = spec.partition(":")
    if not (module_name and colon and attribute):
        kinds = f'"module:callable", a folder, nor a file of {", ".join(SUFFIXES)}'
        raise ConfigurationError([f"{spec!r} is neither {kinds}"])
    return _callable_of(own_callable(spec, "[local] model")(), spec)


def _callable_of(made: object, spec: str) -> ModelCall:
    if not callable(made):
        kind = type(made).__name__
        raise ConfigurationError([f"{spec!r} returned a {kind}; it must return something to call with inputs"])
    return made


def _lengths(inputs: Sequence[Any], learned: DeferralModel | None) -> NDArray[np.float64] | None:
    """(n,), where the learned score reads them: nobody else pays for them."""
    if learned is None or not learned.length:
        return None
    return np.fromiter(map(length_of, inputs), np.float64, len(inputs))
