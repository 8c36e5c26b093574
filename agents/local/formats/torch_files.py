"""Files of torch.export and TorchScript.

Nothing in them is unpickled, and no machine code is taken from them. They are still programs that name torch's
functions, so take them from whom you would take a program.
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ....schemas.errors import ConfigurationError
from .devices import overlapped, sent_to, torch_device, use_threads, usual_threads
from .loaded import EXPORTED, Loaded, Placing, digesting, first_line, optional

_ENFORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
# parts of an export archive that torch would unpickle in full, or load as a shared library
_CODE = re.compile(r"/data/(aotinductor/|constants/(custom|opaque)_obj)")
#: inputs that travel to a GPU at once; on the processor a batch is one piece
_PIECE = 256


def load_torch_file(path: Path, placing: Placing) -> Loaded:
    """The model. Raises `ConfigurationError` for a file that is not what its name says, and where torch is missing."""
    if not path.is_file():
        raise ConfigurationError([f"there is no model file {str(path)!r}"])
    with digesting([path]) as version:
        return _loaded(path, placing, version)


def _loaded(path: Path, placing: Placing, version: Callable[[], str]) -> Loaded:
    torch = optional("torch", str(path), "torch")  # here, for it takes seconds: who needs no torch must not pay
    device = torch_device(torch, placing.device)
    load = _load_exported if path.suffix in EXPORTED else _load_torchscript
    try:
        with _nothing_unpickled():
            module, dtype = load(torch, path, device)
    except ConfigurationError:
        raise
    except Exception as error:  # torch raises anything from RuntimeError to zipfile's and json's
        kind = "a torch.export" if path.suffix in EXPORTED else "a TorchScript"
        raise ConfigurationError([f"{str(path)!r} is not {kind} file: {first_line(error)}"]) from error
    use_threads(torch, placing.threads or usual_threads(module))
    return Loaded(_on_tensors(torch, module, dtype, device), path.stem, version())


def _load_exported(torch: Any, path: Path, device: Any) -> tuple[Any, Any]:  # noqa: ANN401 - torch is optional
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
    if device.type != "cpu":
        program = torch.export.passes.move_to_device_pass(program, device)
    return program.module(), example.dtype


def _refuse_code(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        found = [name for name in archive.namelist() if _CODE.search(name)]
    if found:
        raise ConfigurationError([f"{str(path)!r} holds objects or machine code, which are not loaded: {found[0]}"])


def _load_torchscript(torch: Any, path: Path, device: Any) -> tuple[Any, Any]:  # noqa: ANN401 - torch is optional
    with warnings.catch_warnings():
        # the user has such a file; that its kind is on the way out is no news worth a line at every start
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.load(path, map_location=device).eval(), torch.float32


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


def _on_host(outputs: Any) -> dict[Any, Any]:  # noqa: ANN401 - a tensor, or several
    """The tensors by name, or by their place in a tuple; a single one by None."""
    if isinstance(outputs, Mapping):
        return {name: tensor.cpu() for name, tensor in outputs.items()}
    if isinstance(outputs, tuple):
        return {place: tensor.cpu() for place, tensor in enumerate(outputs)}
    return {None: outputs.cpu()}


def _joined(torch: Any, parts: Sequence[Mapping[Any, Any]]) -> Any:  # noqa: ANN401 - torch is optional
    """What the module puts out of a whole batch, as it would have put it out itself."""
    whole = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    if None in whole:
        return whole[None]
    return tuple(whole.values()) if 0 in whole else whole


def _on_tensors(torch: Any, module: Any, dtype: Any, device: Any) -> Callable[[list[Any]], Any]:  # noqa: ANN401 - torch is optional
    def on_processor(inputs: list[Any]) -> Any:  # noqa: ANN401 - what the module puts out
        with torch.inference_mode():
            return module(torch.as_tensor(np.asarray(inputs)).to(dtype))

    def on_device(inputs: list[Any]) -> Any:  # noqa: ANN401 - a tensor
        rows = torch.as_tensor(np.asarray(inputs)).to(dtype)
        pieces = (sent_to(piece, device) for piece in rows.split(_PIECE))
        with torch.inference_mode():
            return _joined(torch, list(overlapped(pieces, module, _on_host)))

    return on_processor if device.type == "cpu" else on_device
