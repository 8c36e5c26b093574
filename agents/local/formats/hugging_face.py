"""A folder of Hugging Face's format: config, tokenizer or image processor, and safetensors.

Nothing is downloaded, no code of the folder is run, and nothing is unpickled: weights come from safetensors only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ....schemas.errors import ConfigurationError
from .devices import overlapped, sent_to, torch_device, use_threads
from .folders import check_folder, config_of, labels_of, model_files
from .images import picture_of
from .loaded import Loaded, Placing, digesting, first_line, optional
from .texts import all_in_order, cut_by_length, encoded_by_kind, longest_of

#: tokens of a piece, padding included, and pictures: what is computed while the next is on its way
_TOKENS = 4096
_PICTURES = 32
_TEXTS, _IMAGES = "ForSequenceClassification", "ForImageClassification"


def load_folder(path: Path, placing: Placing) -> Loaded:
    """The model. Raises `ConfigurationError` for a folder that does not hold a classifier, with what it lacks."""
    check_folder(path)
    with digesting(model_files(path)) as version:
        return _loaded(path, placing, version)


def _loaded(path: Path, placing: Placing, version: Callable[[], str]) -> Loaded:
    config = config_of(path)
    kind = _kind(path, config.architectures)
    labels = labels_of(path, config)
    transformers = _offline(path)
    torch = optional("torch", str(path), "transformers")
    device = torch_device(torch, placing.device)
    use_threads(torch, placing.threads)
    module = _module(path, kind, transformers, _dtype(torch, placing.dtype, device)).to(device)
    call = _call(path, kind, transformers, _Runner(torch, module, device))
    besides = replace(call, run=replace(call.run, features=True))
    return Loaded(call, path.resolve().name, version(), labels, besides)


def _kind(path: Path, architectures: Sequence[str]) -> str:
    found = next((kind for kind in (_TEXTS, _IMAGES) for name in architectures if name.endswith(kind)), None)
    if found is None:
        held = " or ".join(architectures) or "no architecture"
        raise ConfigurationError([f"{str(path)!r} holds {held}; it must be a classifier: …{_TEXTS} or …{_IMAGES}"])
    return found


def _offline(path: Path) -> Any:  # noqa: ANN401  # transformers is optional
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read once, when it is imported
    transformers = optional("transformers", str(path), "transformers")
    transformers.utils.logging.set_verbosity_error()  # it advises on training
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _dtype(torch: Any, wanted: str, device: Any) -> Any:  # noqa: ANN401  # torch is optional
    """On a GPU as the weights are stored, on the processor in single precision: half is slow there, or missing."""
    if wanted != "auto":
        return getattr(torch, wanted)
    return torch.float32 if device.type == "cpu" else "auto"


def _module(path: Path, kind: str, transformers: Any, dtype: Any) -> Any:  # noqa: ANN401  # transformers is optional
    """The module in evaluation, every weight of it from the folder."""
    auto = getattr(transformers, f"AutoModel{kind}")
    options = {"use_safetensors": True, "dtype": dtype, "output_loading_info": True}
    with _told(path, "model"):
        module, info = auto.from_pretrained(str(path), local_files_only=True, trust_remote_code=False, **options)
    lacking = sorted({*info["missing_keys"], *(str(key[0]) for key in info["mismatched_keys"])})
    if lacking:  # they would be drawn at random
        named = ", ".join(lacking[:3])
        raise ConfigurationError([f"{str(path)!r} lacks weights of the model that its config names, such as {named}"])
    return module.eval()


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # it raises anything from OSError to KeyError
        raise ConfigurationError(
            [f"transformers cannot read the {what} of {str(path)!r}: {first_line(error)}"]
        ) from error


def _call(path: Path, kind: str, transformers: Any, run: _Runner) -> TextCall | PictureCall:  # noqa: ANN401  # transformers is optional
    safe = {"local_files_only": True, "trust_remote_code": False}
    if kind == _IMAGES:
        with _told(path, "image processor"):
            # by its module: by itself it asks for torchvision, which must fit torch to the build, and PIL does
            auto = import_module("transformers.models.auto.image_processing_auto").AutoImageProcessor
            processor = auto.from_pretrained(str(path), backend="pil", **safe)
        return PictureCall(run.module, run, processor)
    with _told(path, "tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(path), **safe)
    longest = longest_of(tokenizer.model_max_length, config_of(path).max_position_embeddings)
    return TextCall(run.module, run, tokenizer, longest)


@dataclass(frozen=True, slots=True)
class _Runner:
    """Computes what is put before it, piece by piece."""

    torch: Any
    module: Any
    device: Any
    features: bool = False  #: the last hidden state comes along, pooled

    def send(self, tensors: dict[str, Any]) -> list[Any]:
        """Logits, (n, classes), and features (n, k) where they are read; on a GPU they are still being computed."""
        with self.torch.inference_mode():
            there = {name: sent_to(tensor, self.device) for name, tensor in tensors.items()}
            if not self.features:
                return [self.module(**there).logits]
            found = self.module(**there, output_hidden_states=True)
            return [found.logits, _pooled(found.hidden_states[-1], there.get("attention_mask"))]

    def read(self, outputs: Sequence[Any]) -> list[NDArray[Any]]:
        """The same, when they are there."""
        return [tensor.float().cpu().numpy() for tensor in outputs]


def _pooled(state: Any, mask: Any) -> Any:  # noqa: ANN401  # tensors
    """(n, k): the mean over the tokens that are no padding (n, t, k), or over the places of a map (n, k, h, w)."""
    if state.ndim == 4:
        return state.mean(dim=(2, 3))
    if mask is None:
        return state.mean(dim=1)
    weights = mask[..., None].to(state.dtype)
    return (state * weights).sum(dim=1) / weights.sum(dim=1)


@dataclass(frozen=True)
class TextCall:
    """Classifies texts, or pairs of texts. What is longer than the model reads is cut off at its end."""

    module: Any  #: named here so that `dropout.py` finds its layers
    run: _Runner
    tokenizer: Any
    longest: int  #: tokens

    def __call__(self, inputs: list[Any]) -> Any:  # noqa: ANN401  # an array, or a pair of two
        """Logits, (n, classes), with features beside them where they are read. Raises `ValueError` for an input that is
        no text.
        """
        columns = encoded_by_kind(inputs, self._encode)
        pieces = cut_by_length([len(ids) for ids in columns["input_ids"]], _TOKENS)

        def send(rows: list[int]) -> list[Any]:
            chosen = {name: [column[row] for row in rows] for name, column in columns.items()}
            return self.run.send(dict(self.tokenizer.pad(chosen, return_tensors="pt")))

        return all_in_order(pieces, overlapped(pieces, send, self.run.read))

    def _encode(self, firsts: list[str], seconds: list[str] | None) -> dict[str, list[list[int]]]:
        return dict(self.tokenizer(firsts, seconds, truncation=True, max_length=self.longest))


@dataclass(frozen=True)
class PictureCall:
    """Classifies pictures."""

    module: Any  #: named here so that `dropout.py` finds its layers
    run: _Runner
    processor: Any

    def __call__(self, inputs: list[Any]) -> Any:  # noqa: ANN401  # an array, or a pair of two
        """Logits, (n, classes), with features beside them where they are read. Raises `ValueError` for an input that is
        no picture.
        """
        positions = iter(range(len(inputs)))
        pieces = list(iter(lambda: list(islice(positions, _PICTURES)), []))

        def send(rows: list[int]) -> list[Any]:
            pictures = [picture_of(inputs[row]) for row in rows]
            return self.run.send(dict(self.processor(images=pictures, return_tensors="pt")))

        return all_in_order(pieces, overlapped(pieces, send, self.run.read))
