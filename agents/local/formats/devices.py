"""Where a model computes, and how inputs travel there while others are computed.

A GPU works on its own: a call returns before it is done, and waits only where its result is read. So a batch is cut
into pieces, and a piece is sent before the one before it is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ....schemas.errors import ConfigurationError

#: weights of a module; one with fewer is computed by one thread
SMALL = 100_000

DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?|mps")

Part = TypeVar("Part")
Sent = TypeVar("Sent")
Read = TypeVar("Read")


def overlapped(parts: Iterable[Part], send: Callable[[Part], Sent], read: Callable[[Sent], Read]) -> Iterator[Read]:
    """What is read of each part, in order. Each is sent before the one before it is read."""
    before: list[Sent] = []
    for part in parts:
        sent = send(part)
        for waiting in before:
            yield read(waiting)
        before = [sent]
    for waiting in before:
        yield read(waiting)


def torch_device(torch: Any, wanted: str) -> Any:  # noqa: ANN401  # torch is optional
    """The `torch.device`. Raises `ConfigurationError` where this machine, or this torch, has none such."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps(torch) else "cpu")
    kind, _, index = wanted.partition(":")
    if kind == "cuda":
        _check_cuda(torch, wanted, int(index or 0))
    if kind == "mps" and not _has_mps(torch):
        raise ConfigurationError(['[local] device: "mps" needs a Mac with a GPU, and a torch that knows it'])
    return torch.device(wanted)


def _has_mps(torch: Any) -> bool:  # noqa: ANN401  # torch is optional
    return bool(torch.backends.mps.is_available())


def _check_cuda(torch: Any, wanted: str, index: int) -> None:  # noqa: ANN401  # torch is optional
    if not torch.cuda.is_available():
        raise ConfigurationError(
            [f'[local] device: "{wanted}" is not there: torch finds no GPU, or was built without CUDA']
        )
    if index >= (count := torch.cuda.device_count()):
        raise ConfigurationError([f'[local] device: "{wanted}" is not there: torch finds {count}, counted from cuda:0'])


def sent_to(tensor: Any, device: Any) -> Any:  # noqa: ANN401  # torch is optional
    """The tensor on the device, or on its way there."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # only pinned memory travels while others compute


def use_threads(torch: Any, threads: int) -> None:  # noqa: ANN401  # torch is optional
    """Let torch compute in so many threads of this process; 0 leaves it as it is."""
    if threads:
        torch.set_num_threads(threads)


def usual_threads(module: Any) -> int:  # noqa: ANN401  # torch is optional
    """One thread for a small module; 0, which leaves it to torch, for any other.

    Threads that share a small piece of work wait for each other longer than they compute, and wait busily: where other
    processes have the cores, a batch took a hundred times as long.
    """
    weights = sum(parameter.numel() for parameter in module.parameters())
    return 1 if weights < SMALL else 0
