from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from bisupervised.agents.local.formats.devices import SMALL, overlapped, sent_to, torch_device, usual_threads
from bisupervised.schemas.errors import ConfigurationError


def fake_torch(*, gpus: int = 0, mps: bool = False) -> Any:
    """A torch of a machine with so many GPUs."""
    cuda = SimpleNamespace(is_available=lambda: gpus > 0, device_count=lambda: gpus)
    backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps))
    return SimpleNamespace(cuda=cuda, backends=backends, device=lambda name: f"device {name}")


class FakeTensor:
    """Tells of its journey."""

    def __init__(self, journey: list[str]) -> None:
        self.journey = journey

    def pin_memory(self) -> FakeTensor:
        self.journey.append("pinned")
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> FakeTensor:
        self.journey.append(f"to {device.type}{' without waiting' if non_blocking else ''}")
        return self


def test_a_piece_is_sent_before_the_one_before_it_is_read() -> None:
    journey: list[str] = []

    def send(part: int) -> int:
        journey.append(f"send {part}")
        return part

    def read(sent: int) -> int:
        journey.append(f"read {sent}")
        return sent * 10

    assert list(overlapped([1, 2, 3], send, read)) == [10, 20, 30]
    assert journey == ["send 1", "send 2", "read 1", "send 3", "read 2", "read 3"]
    assert list(overlapped([], send, read)) == []


@pytest.mark.parametrize(
    ("there", "wanted", "chosen"),
    [
        ({"gpus": 2}, "auto", "cuda"),
        ({"mps": True}, "auto", "mps"),
        ({}, "auto", "cpu"),
        ({"gpus": 2}, "cpu", "cpu"),
        ({"gpus": 2}, "cuda", "cuda"),
        ({"gpus": 2}, "cuda:1", "cuda:1"),
        ({"mps": True}, "mps", "mps"),
    ],
)
def test_the_device_that_is_chosen(there: dict[str, Any], wanted: str, chosen: str) -> None:
    assert torch_device(fake_torch(**there), wanted) == f"device {chosen}"


@pytest.mark.parametrize(
    ("there", "wanted", "match"),
    [
        ({}, "cuda", 'device: "cuda" is not there: torch finds no GPU'),
        ({"gpus": 2}, "cuda:2", 'device: "cuda:2" is not there: torch finds 2, counted from cuda:0'),
        ({"gpus": 1}, "mps", '"mps" needs a Mac'),
    ],
)
def test_a_device_that_is_not_there(there: dict[str, Any], wanted: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        torch_device(fake_torch(**there), wanted)


@pytest.mark.parametrize(
    ("device", "journey"), [("cuda", ["pinned", "to cuda without waiting"]), ("cpu", ["to cpu"]), ("mps", ["to mps"])]
)
def test_only_what_is_pinned_travels_while_others_compute(device: str, journey: list[str]) -> None:
    tensor = FakeTensor([])
    sent_to(tensor, SimpleNamespace(type=device))
    assert tensor.journey == journey


@pytest.mark.parametrize(("weights", "threads"), [(SMALL - 1, 1), (SMALL, 0)])
def test_threads_share_large_work_alone(weights: int, threads: int) -> None:
    parameters = [SimpleNamespace(numel=lambda: weights - 10), SimpleNamespace(numel=lambda: 10)]
    assert usual_threads(SimpleNamespace(parameters=lambda: parameters)) == threads
