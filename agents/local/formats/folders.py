"""What lies in a model's folder: its config, its labels, and what of it is not read."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ....schemas.errors import ConfigurationError

CONFIG, ADAPTER, TOKENIZER, WEIGHTS = "config.json", "adapter_config.json", "tokenizer.json", "*.safetensors"
_READ = ("*.json", "*.txt", "*.model", WEIGHTS)


class FolderConfig(msgspec.Struct, frozen=True):
    """The part of a config.json that is read here. Fields of another type count as not there."""

    architectures: list[str] = []
    id2label: dict[str, str] = {}
    num_labels: int | None = None
    problem_type: str | None = None
    max_position_embeddings: int | None = None


def check_folder(path: Path) -> None:
    """Raises `ConfigurationError` where it cannot be read, with what to do."""
    if not path.is_dir():
        raise ConfigurationError(
            [f"there is no folder {str(path)!r}: nothing is downloaded; fetch it with `hf download` --local-dir"]
        )
    if (path / ADAPTER).exists():
        raise ConfigurationError([f"{str(path)!r} holds an adapter; merge it into its model, and save that"])
    if not (path / CONFIG).is_file():
        raise ConfigurationError([f"{str(path)!r} holds no {CONFIG}{_onnx_in(path)}"])
    if not any(path.glob(WEIGHTS)):
        pickled = next((found.name for found in sorted(path.glob("*.bin"))), "")
        why = f"{pickled} is a pickle, which is not read: save it with safe_serialization=True" if pickled else ""
        raise ConfigurationError([f"{str(path)!r} holds no {WEIGHTS}{why and '; ' + why}{_onnx_in(path)}"])


def _onnx_in(path: Path) -> str:
    found = next(iter(sorted([*path.glob("*.onnx"), *path.glob("onnx/*.onnx")])), None)
    return f"; name the file to have {found.relative_to(path)}" if found else ""


def config_of(path: Path) -> FolderConfig:
    """The folder's config. Raises `ConfigurationError`."""
    try:
        return msgspec.json.decode((path / CONFIG).read_bytes(), type=FolderConfig)
    except OSError as error:
        raise ConfigurationError([f"cannot read {str(path / CONFIG)!r}: {error.strerror}"]) from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError([f"{str(path / CONFIG)!r} is no config of a model: {error}"]) from error


def labels_of(path: Path, config: FolderConfig) -> tuple[str, ...]:
    """The names of its classes. Raises `ConfigurationError` where it has one class, or several at once."""
    if config.problem_type not in (None, "single_label_classification"):
        raise ConfigurationError([f"{str(path)!r} is for {config.problem_type}; one class of several must be right"])
    try:
        labels = in_index_order(config.id2label)
    except ValueError as error:
        raise ConfigurationError([f"{str(path)!r} names its classes in a way that cannot be read: {error}"]) from error
    if len(labels) == 1 or config.num_labels == 1:
        raise ConfigurationError([f"{str(path)!r} has one class; at least two are needed"])
    return labels or ("LABEL_0", "LABEL_1")  # as transformers has it where a config names none


def in_index_order(names: Mapping[Any, Any]) -> tuple[str, ...]:
    """The names by their index. Raises `ValueError` where the indices are not 0, 1, 2 and so on."""
    by_index = {int(index): str(name) for index, name in names.items()}
    if sorted(by_index) != list(range(len(by_index))):
        raise ValueError(f"classes are numbered {sorted(by_index)[:5]}")
    return tuple(by_index[index] for index in range(len(by_index)))


def labels_in(written: str) -> tuple[str, ...]:
    """The names of classes as exporters write them in a text: a list or a table by index, in JSON or in Python, or
    words with commas. Raises `ValueError`.
    """
    found: Any
    try:
        found = ast.literal_eval(written)  # JSON's lists and tables of texts are Python's, too
    except (ValueError, SyntaxError):
        found = [word.strip() for word in written.split(",")]
    if isinstance(found, Mapping):
        return in_index_order(found)
    if isinstance(found, Sequence) and not isinstance(found, str):
        return tuple(str(name) for name in found)
    raise ValueError(f"{written[:80]!r} names no classes")


def model_files(path: Path) -> list[Path]:
    """All that the model is made of: what its digest is of."""
    return sorted({found for pattern in _READ for found in path.glob(pattern) if found.is_file()})
