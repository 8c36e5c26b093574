"""Monte-Carlo dropout with real torch models, small ones."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.answers import Answer
from bisupervised.agents.local.dropout import sampled
from bisupervised.agents.local.model import Model, ModelPolicy, load_model
from bisupervised.schemas.errors import ConfigurationError, ModelError

torch: Any = pytest.importorskip("torch")

SAMPLES = 25
#: near the border between the classes, where dropout decides, and far from it
UNSURE, SURE = [0.0, 0.0, 0.0], [9.0, 0.0, 0.0]


def network(*, p: float = 0.5) -> Any:
    """The sign of the first input, told by 16 units for each class: dropout, and a layer it must not switch too."""
    first, last = torch.nn.Linear(3, 32), torch.nn.Linear(32, 2, bias=False)
    side = torch.tensor([1.0] * 16 + [-1.0] * 16)
    first.load_state_dict({"weight": side[:, None] * torch.tensor([[1.0, 0.0, 0.0]]), "bias": torch.ones(32)})
    last.load_state_dict({"weight": torch.stack([side.clamp(min=0.0), (-side).clamp(min=0.0)])})
    layers = (first, torch.nn.ReLU(), torch.nn.BatchNorm1d(32), torch.nn.Dropout(p), last)
    return torch.nn.Sequential(*layers).eval()


def tensor(inputs: list[Any]) -> Any:
    return torch.tensor(inputs, dtype=torch.float32)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """The same dropout in every run, and nobody else's random numbers moved."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Owner:
    """A callable that has a module."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def __call__(self, inputs: list[Any]) -> Any:
        with torch.inference_mode():
            return self.net(tensor(inputs))

    def method(self, inputs: list[Any]) -> Any:
        return self(inputs)


class Itself(torch.nn.Module):  # type: ignore[misc]  # torch is optional, and Any here
    """A callable that is a module."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, inputs: list[Any]) -> Any:
        return self.net(tensor(inputs))


def of_closure(net: Any) -> Callable[[list[Any]], Any]:
    return lambda inputs: net(tensor(inputs))


def of_global(net: Any) -> Callable[[list[Any]], Any]:
    module = ModuleType("theirs")
    code = "def predict(inputs): return net(tensor(inputs))"
    module.__dict__.update(net=net, tensor=tensor)
    exec(code, module.__dict__)
    predict: Callable[[list[Any]], Any] = module.predict
    return predict


HOLDERS: list[Callable[[Any], Callable[[list[Any]], Any]]] = [
    Owner,
    lambda net: Owner(net).method,
    lambda net: Itself(net).eval(),
    of_closure,
    of_global,
    lambda net: partial(lambda module, inputs: module(tensor(inputs)), net),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=["attribute", "method", "module", "closure", "global", "partial"])
def test_the_dropout_of_a_callable_is_active_and_nothing_else(holder: Callable[[Any], Any]) -> None:
    net = network()
    call = holder(net)
    assert np.array_equal(call([UNSURE]).tolist(), call([UNSURE]).tolist()), "off before"
    call = sampled(call, "theirs")
    assert len({str(call([UNSURE]).tolist()) for _ in range(5)}) > 1
    assert {type(layer).__name__ for layer in net.modules() if layer.training} == {"Dropout"}


@pytest.mark.parametrize(
    "net",
    [network(p=0.0), torch.nn.Linear(3, 2), torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).eval()],
)
def test_a_module_without_dropout_is_refused(net: Any) -> None:
    with pytest.raises(ConfigurationError, match="no layer of dropout that can be switched on"):
        sampled(Owner(net), "theirs")


def test_a_callable_without_a_module_is_left_alone() -> None:
    def call(inputs: list[Any]) -> list[Any]:
        return inputs

    assert sampled(call, "theirs") is call
    assert sampled(len, "theirs") is len, "nor does one that is not Python's"


def test_a_model_that_switches_its_dropout_off_is_found_out() -> None:
    class Careful(Owner):
        def __call__(self, inputs: list[Any]) -> Any:
            self.net.eval()
            return super().__call__(inputs)

    with pytest.raises(ModelError, match="no dropout took place"):
        sampled(Careful(network()), "theirs")([UNSURE])

    class Noisy(Careful):
        def __call__(self, inputs: list[Any]) -> Any:
            return super().__call__(inputs) + torch.rand(())

    with pytest.raises(ModelError, match="switches its dropout off"):
        sampled(Noisy(network()), "theirs")([UNSURE])


def test_a_layer_that_is_never_reached_is_found_out() -> None:
    class Detour(Owner):
        def __call__(self, inputs: list[Any]) -> Any:
            return self.net[0](tensor(inputs))

    with pytest.raises(ModelError, match="no dropout took place"):
        sampled(Detour(network()), "theirs")([UNSURE])


def test_the_fused_attention_of_transformers_does_not_pass_dropout_by() -> None:
    layer = torch.nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()

    def call(inputs: list[Any]) -> Any:
        with torch.inference_mode():
            return layer(tensor(inputs))

    ask = sampled(call, "theirs")
    assert len({str(ask([[[0.5] * 7 + [1.0]] * 2]).tolist()) for _ in range(5)}) > 1
    assert torch.backends.mha.get_fastpath_enabled(), "as it was, afterwards"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The network in every kind of file; a frozen and a traced one have no dropout left."""
    made, net, example = tmp_path_factory.mktemp("models"), network(), torch.zeros(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
        torch.jit.script(net).save(str(made / "script.pt"))
        torch.jit.trace(net, example).save(str(made / "traced.pt"))
        torch.jit.freeze(torch.jit.script(net)).save(str(made / "frozen.ts"))
    batch = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=batch), made / "exported.pt2")
    return {path.name: path for path in made.iterdir()}


def model(path: Path, **policy: Any) -> Model:
    return load_model(ModelPolicy(str(path), score="agreement", samples=SAMPLES, **policy))


@pytest.mark.parametrize("name", ["traced.pt", "frozen.ts", "exported.pt2"])
def test_a_file_whose_dropout_is_frozen_is_refused(files: dict[str, Path], name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name}' has no layer of dropout that can be switched on"):
        model(files[name])
    assert load_model(ModelPolicy(str(files[name]))).predict([SURE]), "it serves otherwise"


def test_a_scripted_file_answers_with_the_modal_class_and_the_share_that_agrees(files: dict[str, Path]) -> None:
    asked = model(files["script.pt"], labels=("a", "b"))
    outputs: list[Any] = []

    def call(inputs: list[Any]) -> Any:
        outputs.append(asked.call(inputs))
        return outputs[-1]

    unsure, sure = Model(call, asked.name, asked.output, asked.reading, asked.samples).predict([UNSURE, SURE])
    assert len(outputs) == SAMPLES
    assert len({str(output.tolist()) for output in outputs}) > SAMPLES // 2, "dropout is drawn anew each time"
    for row, answer in enumerate((unsure, sure)):
        votes = Counter("ab"[int(output[row].argmax())] for output in outputs)
        [(winner, count)] = votes.most_common(1)
        assert answer == Answer(winner, count / SAMPLES)
    assert sure.score == 1.0
    assert unsure.score is not None
    assert 0.5 <= unsure.score < 1.0


def test_without_samples_a_scripted_file_answers_the_same_each_time(files: dict[str, Path]) -> None:
    once = load_model(ModelPolicy(str(files["script.pt"])))
    assert once.predict([UNSURE]) == once.predict([UNSURE])


def test_a_module_of_the_users_is_sampled_through_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ModuleType("their_network")
    theirs.__dict__["load"] = lambda: Owner(network())
    monkeypatch.setitem(sys.modules, "their_network", theirs)
    policy = ModelPolicy("their_network:load", score="agreement", samples=SAMPLES)
    [unsure, sure] = load_model(policy).predict([UNSURE, SURE])
    assert unsure.score is not None
    assert 0.5 <= unsure.score < 1.0
    assert sure.score == 1.0
