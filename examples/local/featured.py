"""A model of torch with a second output: its hidden layer, beside its logits. Put your own weights in its place."""

from __future__ import annotations

from typing import Any

import torch


class Small:
    """Called once, it makes what takes a list of inputs: rows of four numbers."""

    labels = ("small", "large")
    version = "1"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.trunk = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh()).eval()
        self.head = torch.nn.Linear(16, 2).eval()

    def __call__(self, inputs: list[Any]) -> dict[str, torch.Tensor]:
        """Logits (n, 2) and features (n, 16)."""
        with torch.inference_mode():
            hidden = self.trunk(torch.tensor(inputs, dtype=torch.float32))
            return {"logits": self.head(hidden), "features": hidden}
