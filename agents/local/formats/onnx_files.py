"""ONNX files, computed by onnxruntime: one input tensor, or the tensors of a tokenizer that lies beside the file.

External data is read from the file's own folder only, and no library of custom operators is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....schemas.errors import ConfigurationError
from .folders import CONFIG, TOKENIZER, FolderConfig, config_of, in_index_order, labels_in
from .loaded import FEATURES, Loaded, Placing, digest, first_line, optional
from .texts import all_in_order, cut_by_length, encoded_by_kind, longest_of

_CUDA, _COREML, _CPU = "CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider"
#: tokens of a piece, padding included
_TOKENS = 4096
#: inputs of a model that reads a text: its tokens, which of them are no padding, and of which of two texts
_IDS, _MASK, _KINDS = "input_ids", "attention_mask", "token_type_ids"
#: what holds a row of classes, by the names that exporters give it
_CLASSES = ("logits", "probabilities", "output_probability", "output")
#: where exporters write the names of the classes
_LABELS = ("labels", "id2label", "names", "classes")
_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.str_,
}


def load_onnx(path: Path, placing: Placing, *, features: bool = False) -> Loaded:
    """The model. Raises `ConfigurationError` for a file that is none, or that does not take what there is, or that has
    no output `features` where these are wanted.
    """
    if not path.is_file():
        raise ConfigurationError([f"there is no model file {str(path)!r}"])
    runtime = optional("onnxruntime", str(path), "onnx")
    session = _session(runtime, path, placing)
    outputs = (_output_of(path, session),)
    wanted = (*outputs, *_features_of(path, session)) if features else ()
    names = [each.name for each in session.get_inputs()]
    tokenizer = _beside(path, TOKENIZER)
    labels = _labels_of(path, session)
    if _IDS not in names:
        call = _tensor_call(path, session, outputs)
        return Loaded(call, path.stem, digest([path]), labels, replace(call, outputs=wanted) if wanted else None)
    if tokenizer is None:
        raise ConfigurationError([f"{str(path)!r} takes {_IDS}: put the {TOKENIZER} of the model beside it"])
    of_texts = _text_call(path, session, outputs, tokenizer)
    version = digest([path, tokenizer])
    return Loaded(of_texts, path.stem, version, labels, replace(of_texts, outputs=wanted) if wanted else None)


def _session(runtime: Any, path: Path, placing: Placing) -> Any:  # noqa: ANN401  # onnxruntime is optional
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors: what it warns of are optimisations
    options.intra_op_num_threads = placing.threads
    provider, settings = _provider(placing.device, runtime.get_available_providers())
    providers = [(provider, settings)] if provider == _CPU else [(provider, settings), (_CPU, {})]
    try:
        session = runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # it raises anything from its own to RuntimeError
        raise ConfigurationError([f"{str(path)!r} is not an ONNX file that can be run: {first_line(error)}"]) from error
    if provider not in session.get_providers():  # it goes on without, and says so to the log only
        raise ConfigurationError(
            [f'[local] device: "{placing.device}" cannot be used: onnxruntime fails to start {provider}']
        )
    return session


def _provider(device: str, there: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """What computes on that device. Raises `ConfigurationError` where this onnxruntime has no such thing."""
    if device == "auto":
        return next(name for name in (_CUDA, _COREML, _CPU) if name in there), {}
    kind, _, index = device.partition(":")
    provider = {"cpu": _CPU, "cuda": _CUDA, "mps": _COREML}[kind]
    if provider not in there:
        package = "onnxruntime-gpu in place of onnxruntime" if kind == "cuda" else "another onnxruntime"
        raise ConfigurationError(
            [f'[local] device: "{device}" is not there: onnxruntime has no {provider}; install {package}']
        )
    return provider, {"device_id": int(index)} if index else {}


def _output_of(path: Path, session: Any) -> str:  # noqa: ANN401  # onnxruntime is optional
    names = [each.name for each in session.get_outputs() if each.name != FEATURES]
    chosen = names if len(names) == 1 else [name for name in _CLASSES if name in names][:1]
    if not chosen:
        listed = ", ".join(names)
        raise ConfigurationError([f"{str(path)!r} has the outputs {listed}; call the one with the classes logits"])
    return str(chosen[0])


def _features_of(path: Path, session: Any) -> tuple[str, ...]:  # noqa: ANN401  # onnxruntime is optional
    shapes = {each.name: each.shape for each in session.get_outputs()}
    if FEATURES not in shapes:
        raise ConfigurationError(
            [f"[local] features: {str(path)!r} has no output of the name {FEATURES}; it has {', '.join(shapes)}"]
        )
    if len(shapes[FEATURES]) not in (0, 2):  # no shape is one that the file does not tell
        text = f"puts out {FEATURES} of {len(shapes[FEATURES])} axes; they must be rows of numbers: pool them"
        raise ConfigurationError([f"[local] features: {str(path)!r} {text}"])
    return (FEATURES,)


def _beside(path: Path, name: str) -> Path | None:
    """A file of the same folder, or of the one above where exporters put it."""
    found = [folder / name for folder in (path.parent, path.parent.parent) if (folder / name).is_file()]
    return found[0] if found else None


def _labels_of(path: Path, session: Any) -> tuple[str, ...]:  # noqa: ANN401  # onnxruntime is optional
    """The names of the classes, from the file, or from a config beside it; empty where nobody says."""
    told = session.get_modelmeta().custom_metadata_map
    try:
        for name in _LABELS:
            if told.get(name):
                return labels_in(told[name])
        return in_index_order(_config_beside(path).id2label)
    except ValueError as error:
        raise ConfigurationError([f"{str(path)!r} names its classes in a way that cannot be read: {error}"]) from error


def _config_beside(path: Path) -> FolderConfig:
    found = _beside(path, CONFIG)
    return config_of(found.parent) if found else FolderConfig()


# one tensor


def _tensor_call(path: Path, session: Any, outputs: tuple[str, ...]) -> TensorCall:  # noqa: ANN401  # onnxruntime is optional
    inputs = session.get_inputs()
    if len(inputs) != 1:
        listed = ", ".join(each.name for each in inputs)
        raise ConfigurationError(
            [f"{str(path)!r} takes {listed}; it must take one tensor, or {_IDS} with a {TOKENIZER} beside the file"]
        )
    [taken] = inputs
    if taken.type not in _TYPES:
        raise ConfigurationError([f"{str(path)!r} takes a {taken.type}, which no JSON value can become"])
    if taken.shape and isinstance(taken.shape[0], int):  # a free dimension is a name, or None
        raise ConfigurationError(
            [f"{str(path)!r} was exported for batches of {taken.shape[0]}; export it with a dynamic first axis"]
        )
    return TensorCall(session, taken.name, _TYPES[taken.type], tuple(taken.shape), outputs)


@dataclass(frozen=True, slots=True)
class TensorCall:
    """A model of one tensor: inputs are numbers, lists of numbers, or texts."""

    session: Any
    name: str
    dtype: Any
    shape: tuple[Any, ...]  #: a number where the axis is fixed
    outputs: tuple[str, ...]  #: that are read

    def __call__(self, inputs: list[Any]) -> Any:  # noqa: ANN401  # an array, or one table of classes an input
        """What the model puts out, with features beside it where they are read. Raises `ValueError` where inputs are
        no tensor of its type.
        """
        rows = np.asarray(inputs, dtype=object if self.dtype is np.str_ else self.dtype)
        if rows.ndim == 1 and len(self.shape) == 2 and self.shape[1] == 1:
            rows = rows[:, None]  # exporters of scikit-learn make a column of each value
        first, *besides = self.session.run(list(self.outputs), {self.name: rows})
        return (_rows(first), *besides) if besides else _rows(first)


def _rows(found: Any) -> Any:  # noqa: ANN401  # what onnxruntime puts out
    """Exporters of scikit-learn write a table {class: probability} for each input."""
    if isinstance(found, list) and found and isinstance(found[0], Mapping):
        return np.array([list(row.values()) for row in found])
    return found


# texts


def _text_call(path: Path, session: Any, outputs: tuple[str, ...], tokenizer: Path) -> TokensCall:  # noqa: ANN401  # onnxruntime is optional
    tokenizers = optional("tokenizers", str(path), "onnx")
    taken = {each.name: each.type for each in session.get_inputs()}
    if unknown := sorted(set(taken) - {_IDS, _MASK, _KINDS}):
        raise ConfigurationError([f"{str(path)!r} takes {', '.join(unknown)} besides tokens, which no tokenizer makes"])
    try:
        read = tokenizers.Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # it raises a plain Exception
        raise ConfigurationError([f"{str(tokenizer)!r} is no tokenizer: {first_line(error)}"]) from error
    pad = (read.padding or {}).get("pad_id", 0)
    read.no_padding()
    told = (read.truncation or {}).get("max_length")
    read.enable_truncation(longest_of(told, _config_beside(path).max_position_embeddings))
    return TokensCall(session, read, {name: _TYPES[kind] for name, kind in taken.items()}, pad, outputs)


@dataclass(frozen=True, slots=True)
class TokensCall:
    """A model of texts, or of pairs of texts. What is longer than the model reads is cut off at its end."""

    session: Any
    tokenizer: Any
    dtypes: Mapping[str, Any]  #: of each input of the model
    pad: int  #: the token that stands behind the shorter texts
    outputs: tuple[str, ...]  #: that are read

    def __call__(self, inputs: list[Any]) -> Any:  # noqa: ANN401  # an array, or a pair of two
        """Logits, (n, classes), with features beside them where they are read. Raises `ValueError` for an input that is
        no text.
        """
        columns = encoded_by_kind(inputs, self._encode)
        pieces = cut_by_length([len(ids) for ids in columns[_IDS]], _TOKENS)
        return all_in_order(pieces, (self._computed(columns, rows) for rows in pieces))

    def _computed(self, columns: Mapping[str, list[list[int]]], rows: Sequence[int]) -> Sequence[NDArray[Any]]:
        tensors = {
            name: _padded([columns[name][row] for row in rows], self.pad if name == _IDS else 0, dtype)
            for name, dtype in self.dtypes.items()
        }
        found: list[NDArray[Any]] = self.session.run(list(self.outputs), tensors)
        return found

    def _encode(self, firsts: list[str], seconds: list[str] | None) -> dict[str, list[list[int]]]:
        texts = firsts if seconds is None else list(zip(firsts, seconds, strict=True))
        found = self.tokenizer.encode_batch(texts)
        return {
            _IDS: [each.ids for each in found],
            _MASK: [each.attention_mask for each in found],
            _KINDS: [each.type_ids for each in found],
        }


def _padded(rows: Sequence[Sequence[int]], fill: int, dtype: Any) -> NDArray[Any]:  # noqa: ANN401  # a numpy type
    """(n, longest)."""
    table = np.full((len(rows), max(map(len, rows))), fill, dtype)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table
