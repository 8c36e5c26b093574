"""The local model: a user's own callable, or a torch file.

Nothing in a model file is unpickled, and no machine code is taken from it. It is still a program that names
torch's functions, so take it from whom you would take a program.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...schemas.errors import ConfigurationError, ModelError
from ..answers import (
    Answer,
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
from ..importing import own_module
from ..supervision.learned.deferral import DeferralModel, length_of
from ..supervision.scores import SCORES
from .dropout import ModelCall, sampled

EXPORTED = (".pt2",)
TORCHSCRIPT = (".pt", ".ts")
_ENFORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
# parts of an export archive that torch would unpickle in full, or load as a shared library
_CODE = re.compile(r"/data/(aotinductor/|constants/(custom|opaque)_obj)")


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """Which model, and how what it puts out is read."""

    model: str  #: "module:callable", or a path ending in .pt2, .pt or .ts
    output: Output = "logits"  #: what it returns
    labels: tuple[Any, ...] = ()  #: what the classes are called; empty: the model's own, else their indices
    version: str = ""  #: for the records; empty: the model's own, else a digest of its file
    score: str = "max_softmax"  #: name of the score; one of `scores_for(output)` unless `output` is "scored"
    temperature: float = 1.0  #: logits are divided by it
    samples: int = 1  #: times a model of classes is asked the same, for the score "agreement"
    detailed: bool = False  #: answers come with their `Details`


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. `predict` blocks: call it in a thread."""

    call: ModelCall  #: takes a list of inputs
    name: str  #: "name@version" where the version is known
    output: Output
    reading: ClassReading
    samples: int = 1  #: times it is asked the same

    def predict(self, inputs: Sequence[Any], learned: DeferralModel | None = None) -> list[Answer]:
        """As many answers as inputs, in their order; scored by the learned score, where there is one.

        Raises `ModelError` where the model returns something else, and whatever the model itself raises.
        """
        outputs = [self.call(list(inputs)) for _ in range(self.samples)]
        try:
            return self._read(outputs, len(inputs), learned, _lengths(inputs, learned))
        except (ValueError, TypeError) as error:
            raise ModelError(f"the model {self.name} does not answer as it should: {error}") from error

    def unreadable(self, learned: DeferralModel) -> list[tuple[str, str]]:
        """Why that learned score cannot be made of what this model puts out; see `answers.unreadable`."""
        return unreadable(learned, self.output, self.samples, self.reading.labels)

    def _read(
        self, outputs: list[Any], asked: int, learned: DeferralModel | None, lengths: NDArray[np.float64] | None
    ) -> list[Answer]:
        if self.samples > 1:
            return read_class_samples([_to_array(sample) for sample in outputs], asked, self.reading)
        match self.output:
            case "scored":
                return read_pairs(outputs[0], asked)
            case "tokens":
                return read_tokens(
                    outputs[0], asked, self.reading.score, learned, lengths, detailed=self.reading.detailed
                )
            case "samples":
                return read_samples(outputs[0], asked)
            case "logits" | "probabilities":
                return read_classes(_to_array(outputs[0]), asked, self.reading, learned, lengths)


def load_model(policy: ModelPolicy) -> Model:
    """Load the model, once.

    Raises `ConfigurationError` for a model that cannot be found, or a file that is not what its name says;
    what the user's own code raises passes through, with its own traceback.
    """
    _check_score(policy)
    if policy.model.endswith(EXPORTED + TORCHSCRIPT):
        path = Path(policy.model)
        return _model(policy, _load_file(path), path.stem, _digest(path))
    call = _load_callable(policy.model)
    return _model(policy, call, policy.model, "")


def _check_score(policy: ModelPolicy) -> None:
    if policy.output != "scored" and policy.score not in SCORES:
        raise ConfigurationError([f"no score is called {policy.score!r}; there are {', '.join(sorted(SCORES))}"])
    if faults := unfit(policy.output, policy.score, policy.samples, policy.temperature):
        raise ConfigurationError([f"{key}: {text}" for key, text in faults])


def _model(policy: ModelPolicy, call: ModelCall, name: str, version: str) -> Model:
    version = policy.version or str(getattr(call, "version", "") or version)
    labels = policy.labels or tuple(getattr(call, "labels", ()))
    reading = ClassReading(policy.output == "logits", labels, policy.score, policy.temperature, policy.detailed)
    if policy.samples > 1:
        call = sampled(call, policy.model)
    return Model(call, f"{name}@{version}" if version else name, policy.output, reading, policy.samples)


def _load_callable(spec: str) -> ModelCall:
    module_name, colon, attribute = spec.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigurationError([f'{spec!r} is neither "module:callable" nor a path ending in .pt2, .pt or .ts'])
    try:
        module = own_module(module_name)
    except ImportError as error:
        raise ConfigurationError([f"cannot import {module_name!r} of {spec!r}: {error}"]) from error
    try:
        factory = reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        raise ConfigurationError([f"{module_name!r} has no {attribute!r}"]) from error
    if not callable(factory):
        raise ConfigurationError([f"{spec!r} is not callable"])
    return _callable_of(factory(), spec)


def _callable_of(made: object, spec: str) -> ModelCall:
    if not callable(made):
        kind = type(made).__name__
        raise ConfigurationError([f"{spec!r} returned a {kind}; it must return something to call with inputs"])
    return made


def _load_file(path: Path) -> ModelCall:
    if not path.is_file():
        raise ConfigurationError([f"there is no model file {str(path)!r}"])
    try:
        import torch  # here, for it takes seconds: who needs no torch must not pay
    except ImportError as error:
        raise ConfigurationError([f"{str(path)!r} needs torch: install bisupervised[torch]"]) from error
    load = _load_exported if path.suffix in EXPORTED else _load_torchscript
    try:
        with _nothing_unpickled():
            module, dtype = load(torch, path)
    except ConfigurationError:
        raise
    except Exception as error:  # torch raises anything from RuntimeError to zipfile's and json's
        kind = "a torch.export" if path.suffix in EXPORTED else "a TorchScript"
        raise ConfigurationError([f"{str(path)!r} is not {kind} file: {_first_line(error)}"]) from error
    return _on_tensors(torch, module, dtype)


def _load_exported(torch: Any, path: Path) -> tuple[Any, Any]:  # noqa: ANN401 - torch is optional
    _refuse_code(path)
    program = torch.export.load(path)
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    if len(inputs) != 1:
        raise ConfigurationError([f"{str(path)!r} takes {len(inputs)} inputs; it must take one tensor"])
    example = inputs[0].meta["val"]
    if isinstance(example.shape[0], int):  # a free dimension is a symbol, not a number
        raise ConfigurationError(
            [f"{str(path)!r} was exported for batches of {example.shape[0]}; export it with dynamic_shapes"]
        )
    return program.module(), example.dtype


def _refuse_code(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if _CODE.search(name)]
    if found:
        raise ConfigurationError([f"{str(path)!r} holds objects or machine code, which are not loaded: {found[0]}"])


def _load_torchscript(torch: Any, path: Path) -> tuple[Any, Any]:  # noqa: ANN401 - torch is optional
    with warnings.catch_warnings():
        # the user has such a file; that its kind is on the way out is no news worth a line at every start
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.load(path, map_location="cpu").eval(), torch.float32


@contextmanager
def _nothing_unpickled() -> Iterator[None]:
    """Hold torch to `weights_only`.

    `torch.export.load` (2.13 still) falls back to a full unpickling where a file of tensors
    holds anything else.
    """
    before = os.environ.get(_ENFORCE)
    os.environ[_ENFORCE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ENFORCE]
        else:
            os.environ[_ENFORCE] = before


def _on_tensors(torch: Any, module: Any, dtype: Any) -> ModelCall:  # noqa: ANN401 - torch is optional
    def call(inputs: list[Any]) -> Any:  # noqa: ANN401 - a tensor
        with torch.inference_mode():
            return module(torch.as_tensor(np.asarray(inputs)).to(dtype))

    return call


def _lengths(inputs: Sequence[Any], learned: DeferralModel | None) -> NDArray[np.float64] | None:
    """(n,), where the learned score reads them: nobody else pays for them."""
    if learned is None or not learned.length:
        return None
    return np.fromiter(map(length_of, inputs), np.float64, len(inputs))


def _to_array(outputs: Any) -> NDArray[Any]:  # noqa: ANN401 - an array, a tensor, or lists of numbers
    if hasattr(outputs, "detach"):  # a torch tensor, told without importing torch
        outputs = outputs.detach().cpu().double().numpy()  # double: numpy has no bfloat16
    return np.asarray(outputs)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise ConfigurationError([f"cannot read the model file {str(path)!r}: {error.strerror}"]) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
