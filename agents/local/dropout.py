"""Monte-Carlo dropout: a torch model whose dropout stays active answers differently each time it is asked.

Source: Gal and Ghahramani, Dropout as a Bayesian Approximation, ICML 2016. Only layers of dropout are switched;
normalisation and the rest stay as they were. Dropout that is no layer (`torch.nn.functional.dropout`, the
attention weights of `MultiheadAttention`, the argument `dropout` of `LSTM`) stays off.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...schemas.errors import ConfigurationError, ModelError

#: torch's layers of dropout; a TorchScript file knows them by these names only
_LAYERS = frozenset(("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"))

#: a local model: takes a list of inputs
ModelCall = Callable[[list[Any]], Any]


def sampled(call: ModelCall, name: str) -> ModelCall:
    """The same call with the dropout of its torch modules active.

    Its modules are those that it is, holds as an attribute or refers to by name. Raises `ConfigurationError` where they
    have no layer of dropout that can be switched: k equal answers would agree perfectly. A call without modules is
    handed back as it is, and must be stochastic by itself.
    """
    modules = _modules(call)
    if not modules:
        return call
    layers = tuple(layer for module in modules for layer in module.modules() if _can_drop(layer))
    if not layers:
        raise ConfigurationError(
            [
                f"{name!r} has no layer of dropout that can be switched on, so that asking it several times gives one "
                'answer; take a TorchScript file made by torch.jit.script, or a callable, or output = "samples"'
            ]
        )
    for layer in layers:
        layer.train()
    return _Sampled(call, layers, all(part.device.type == "cpu" for module in modules for part in module.parameters()))


def _modules(call: ModelCall) -> list[Any]:
    torch = sys.modules.get("torch")  # whoever made a module has imported it
    return [] if torch is None else [value for value in _held(call) if isinstance(value, torch.nn.Module)]


def _held(call: Any) -> Iterator[Any]:  # noqa: ANN401 - a function, a method, or an object that can be called
    for holder in (call, getattr(call, "__self__", None)):
        yield holder
        yield from getattr(holder, "__dict__", {}).values()
    if isinstance(call, partial):
        yield from (*call.args, *call.keywords.values())
    with suppress(TypeError, ValueError):  # it is no Python function, or refers to what is not there
        names = inspect.getclosurevars(call if inspect.isroutine(call) else type(call).__call__)
        yield from (*names.nonlocals.values(), *names.globals.values())


def _can_drop(layer: Any) -> bool:  # noqa: ANN401 - torch is optional
    """Whether a layer drops anything when it is switched to training."""
    kind = getattr(layer, "original_name", type(layer).__name__)
    # a traced layer has no p: what it does was fixed when it was traced
    return kind in _LAYERS and getattr(layer, "p", 0.0) > 0.0


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A call whose layers of dropout are active, and which makes sure that they were."""

    call: ModelCall
    layers: tuple[Any, ...]
    on_cpu: bool

    def __call__(self, inputs: list[Any]) -> Any:  # noqa: ANN401 - what the user's model returns
        """Raises `ModelError` where no dropout took place: the model would agree with itself."""
        import torch  # here, for it is optional; it is loaded, since the layers are there

        before = torch.get_rng_state() if self.on_cpu else None
        with _no_fused_attention(torch):
            outputs = self.call(inputs)
        if before is not None and torch.equal(before, torch.get_rng_state()):
            raise ModelError("no dropout took place: the model has drawn no random number")
        if not all(layer.training for layer in self.layers):
            raise ModelError("the model switches its dropout off when it is called; do so once, where it is made")
        return outputs


@contextmanager
def _no_fused_attention(torch: Any) -> Iterator[None]:  # noqa: ANN401 - torch is optional
    # the fused kernel of TransformerEncoderLayer, taken in evaluation, passes its layers of dropout by
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
