from __future__ import annotations

import io
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.answers import Answer
from bisupervised.agents.local.formats.loaded import Placing
from bisupervised.agents.local.model import ModelPolicy, load_model
from bisupervised.schemas.errors import ConfigurationError, ModelError

MODULE = """
import numpy as np

class Digits:
    version = "7"
    labels = ("even", "odd")

    def __call__(self, inputs):
        return np.array([[0.9, 0.1] if value % 2 == 0 else [0.2, 0.8] for value in inputs])

def load():
    return Digits()

def bare():
    return lambda inputs: [[0.9, 0.1] for _ in inputs]

class Made:
    @staticmethod
    def there():
        return Digits()

def pairs():
    return lambda inputs: [(np.int64(value), np.float32(0.5)) for value in inputs]

def short():
    return lambda inputs: [[0.9, 0.1]] * (len(inputs) - 1)

def short_pairs():
    return lambda inputs: [("a", 0.5)]

def no_pairs():
    return lambda inputs: [0.5 for _ in inputs]

def ragged():
    return lambda inputs: [[0.9, 0.1], [0.5]]

def unsure():
    return lambda inputs: [("a", None), ("b", float("nan")), ("c", float("inf"))]

def said():
    return lambda inputs: [("Paris", np.log([0.5, 0.25])), ["Rome", [-0.1]], ("A", []), ("B", None)][: len(inputs)]

def sure():
    return lambda inputs: [("Paris", [0.9])] * len(inputs)

def several():
    return lambda inputs: [["a", "b", "b"], np.array([1, 1, 1]), ["a", None], ()][: len(inputs)]

def words():
    return lambda inputs: ["cat"] * len(inputs)

class Dice:
    def __init__(self):
        self.thrown = 0

    def __call__(self, inputs):
        self.thrown += 1
        sure, doubtful = [0.9, 0.1], [[0.9, 0.1], [0.2, 0.8], [0.2, 0.8]][self.thrown % 3]
        return np.array([sure, doubtful, [np.nan, 0.5]])[: len(inputs)]

class Infinite:
    def __call__(self, inputs):
        return np.array([[np.inf, 0.0]] * len(inputs))

def failing():
    def call(inputs):
        raise ZeroDivisionError("of the user's own")
    return call

def nothing():
    return None

number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's current directory, with a module of theirs; it leaves nothing behind."""
    (tmp_path / "their_model.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    sys.modules.pop("their_model", None)


def answers(name: str, inputs: list[Any], **policy: Any) -> list[Answer]:
    return load_model(ModelPolicy(f"their_model:{name}", **policy)).predict(inputs)


def test_a_callable_beside_the_user_is_found_and_answers_in_order() -> None:
    model = load_model(ModelPolicy("their_model:load", output="probabilities"))
    assert model.name == "their_model:load@7"
    assert model.predict([3, 4]) == [Answer("odd", 0.8), Answer("even", 0.9)]


def test_an_attribute_of_an_attribute_is_found() -> None:
    assert answers("Made.there", [3], output="probabilities") == [Answer("odd", 0.8)]


def test_the_settings_labels_and_version_win() -> None:
    policy = ModelPolicy("their_model:load", output="probabilities", labels=("0", "1"), version="8")
    model = load_model(policy)
    assert model.name == "their_model:load@8"
    assert model.predict([3]) == [Answer("1", 0.8)]


def test_without_labels_and_version_there_are_indices_and_a_name() -> None:
    model = load_model(ModelPolicy("their_model:bare", output="probabilities"))
    assert model.name == "their_model:bare"
    assert model.predict([3, 4]) == [Answer(0, 0.9), Answer(0, 0.9)]


def test_logits_are_scored_by_softmax() -> None:
    [answer] = answers("bare", [1], output="logits")
    assert answer.score == pytest.approx(1 / (1 + np.exp(-0.8)))


def test_scored_output_is_taken_as_it_is_and_is_plain() -> None:
    [answer] = answers("pairs", [3], output="scored", score="their own")
    assert answer == Answer(3, 0.5)
    assert type(answer.prediction) is int
    assert type(answer.score) is float


def test_texts_are_scored_by_their_tokens_and_none_without() -> None:
    found = answers("said", [1, 2, 3, 4], output="tokens", score="token_product")
    assert [answer.prediction for answer in found] == ["Paris", "Rome", "A", "B"]
    assert [answer.score for answer in found] == [pytest.approx(0.125), pytest.approx(np.exp(-0.1)), None, None]
    [answer] = answers("said", [1], output="tokens", score="token_min")
    assert answer.score == pytest.approx(0.25)


def test_samples_are_answered_with_the_modal_one() -> None:
    assert answers("several", [1, 2, 3, 4], output="samples", score="agreement") == [
        Answer("b", 2 / 3),
        Answer(1, 1.0),
        Answer("a", None),
        Answer(None, None),
    ]


def test_a_stochastic_callable_is_asked_several_times() -> None:
    policy: dict[str, Any] = {"output": "probabilities", "score": "agreement", "samples": 6, "labels": ("x", "y")}
    assert answers("Dice", [1, 2, 3], **policy) == [
        Answer("x", 1.0),
        Answer("y", 4 / 6),
        Answer(None, None),
    ]
    assert answers("Infinite", [1], **policy | {"output": "logits"}) == [Answer(None, None)]


def test_the_temperature_reaches_the_score() -> None:
    [answer] = answers("bare", [1], output="logits", temperature=0.5)
    assert answer.score == pytest.approx(1 / (1 + np.exp(-1.6)))


def test_scores_that_are_none_are_none() -> None:
    assert answers("unsure", [1, 2, 3], output="scored") == [
        Answer("a", None),
        Answer("b", None),
        Answer("c", None),
    ]


@pytest.mark.parametrize(
    ("name", "output", "match"),
    [
        ("short", "probabilities", "1 answers to 2 inputs"),
        ("short_pairs", "scored", "1 answers to 2 inputs"),
        ("no_pairs", "scored", "does not answer as it should"),
        ("ragged", "logits", "does not answer as it should"),
        ("short_pairs", "tokens", "1 answers to 2 inputs"),
        ("no_pairs", "tokens", "does not answer as it should"),
        ("sure", "tokens", "a log-probability must be 0 or less, not 0.9"),
        ("short_pairs", "samples", "1 answers to 2 inputs"),
        ("words", "samples", "must be a list of answers, not str"),
        ("no_pairs", "samples", "must be a list of answers, not float"),
        ("nothing_like_it", "logits", "has no attribute 'nothing_like_it'"),
    ],
)
def test_an_answer_that_is_none_is_a_model_error(name: str, output: str, match: str) -> None:
    scores = {"tokens": "token_mean", "samples": "agreement"}
    with pytest.raises((ModelError, ConfigurationError), match=match):
        answers(name, [1, 2], output=output, score=scores.get(output, "max_softmax"))


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("short", "1 answers to 2 inputs"),
        ("ragged", "does not answer as it should"),
        ("Dice", "1 labels for 2 classes"),
    ],
)
def test_a_sample_that_is_none_is_a_model_error(name: str, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        answers(name, [1, 2], output="probabilities", score="agreement", samples=2, labels=("x",))


def test_what_the_model_raises_passes_through() -> None:
    with pytest.raises(ZeroDivisionError, match="of the user's own"):
        answers("failing", [1])


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("their_model", "neither"),
        (":load", "neither"),
        ("their_model:", "neither"),
        ("no_such_module:load", "cannot be imported: No module named 'no_such_module'"),
        ("their_model:missing", "cannot be imported: module 'their_model' has no attribute 'missing'"),
        ("their_model:number", "cannot be called"),
        ("their_model:nothing", "returned a NoneType"),
        ("missing.pt2", "there is no model file"),
        ("missing.ts", "there is no model file"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_a_fault_of_the_configuration(spec: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        load_model(ModelPolicy(spec))


def test_an_unknown_score_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match="no score is called 'entropy'"):
        load_model(ModelPolicy("their_model:load", score="entropy"))


@pytest.mark.parametrize(
    ("policy", "match"),
    [
        ({"output": "tokens"}, "supervisor: must be one of token_first, token_mean, token_min, token_product"),
        ({"output": "samples", "score": "pcs"}, "supervisor: must be one of agreement"),
        ({"score": "token_min"}, "supervisor: must be one of agreement, max_softmax, pcs, softmax_entropy"),
        ({"score": "agreement"}, "samples: must be at least 2"),
        ({"score": "pcs", "samples": 3}, "samples: must be 1 unless"),
        ({"output": "scored", "samples": 3}, "samples: must be 1 unless"),
        ({"output": "probabilities", "temperature": 2.0}, "temperature: must be 1 unless"),
    ],
)
def test_settings_of_a_score_that_do_not_fit_are_a_fault_of_the_configuration(
    policy: dict[str, Any], match: str
) -> None:
    with pytest.raises(ConfigurationError, match=match):
        load_model(ModelPolicy("their_model:load", **policy))


WEIGHT = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
INPUTS = [[5.0, 1.0, 0.0], [0.0, 2.0, 9.0], [1.0, 0.0, 0.0]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A linear model of three inputs and two classes, in every kind of file. Exporting takes seconds: once."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 2, bias=False).eval()
    module.load_state_dict({"weight": torch.tensor(WEIGHT)})
    made = tmp_path_factory.mktemp("models")
    batch = ({0: torch.export.Dim("batch")},)
    example = (torch.zeros(2, 3),)
    torch.export.save(torch.export.export(module, example, dynamic_shapes=batch), made / "free.pt2")
    torch.export.save(torch.export.export(module, example), made / "fixed.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
        torch.jit.script(module).save(str(made / "script.pt"))
    torch.save(module.state_dict(), made / "weights.pt")
    return {path.name: path for path in made.iterdir()}


@pytest.mark.parametrize("name", ["free.pt2", "script.pt"])
@pytest.mark.parametrize("inputs", [INPUTS, INPUTS[:1]])
def test_a_torch_file_answers_batches_of_any_size(files: dict[str, Path], name: str, inputs: list[Any]) -> None:
    model = load_model(ModelPolicy(str(files[name]), labels=("a", "b")))
    found = model.predict(inputs)
    assert [answer.prediction for answer in found] == ["a", "b", "a"][: len(inputs)]
    assert found[0].score == pytest.approx(1 / (1 + np.exp(-4.0)))


@pytest.mark.parametrize(("asked", "taken"), [(0, 1), (2, 2)])
def test_a_small_torch_file_is_computed_by_one_thread(files: dict[str, Path], asked: int, taken: int) -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        load_model(ModelPolicy(str(files["free.pt2"]), placing=Placing(threads=asked)))
        assert torch.get_num_threads() == taken
    finally:
        torch.set_num_threads(before)


def test_a_torch_file_takes_whole_numbers(files: dict[str, Path]) -> None:
    [answer] = load_model(ModelPolicy(str(files["free.pt2"]))).predict([[0, 3, 1]])
    assert answer.prediction == 1


def test_a_torch_file_is_known_by_its_name_and_digest(files: dict[str, Path]) -> None:
    name, _, version = load_model(ModelPolicy(str(files["free.pt2"]))).name.partition("@")
    assert name == "free"
    assert len(version) == 12
    assert load_model(ModelPolicy(str(files["free.pt2"]), version="3")).name == "free@3"


@pytest.mark.parametrize(
    ("name", "match"),
    [("fixed.pt2", "exported for batches of 2"), ("weights.pt", "is not a TorchScript file")],
)
def test_a_torch_file_that_cannot_serve_is_refused(files: dict[str, Path], name: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        load_model(ModelPolicy(str(files[name])))


class Bomb:
    """What a malicious pickle does: runs code where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._mark,)


def test_the_bomb_goes_off_where_it_is_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["bomb.pt", "bomb.ts", "bomb.pt2"])
@pytest.mark.parametrize("saved_by", ["pickle", "torch"])
def test_a_pickle_in_disguise_is_refused_and_not_run(tmp_path: Path, name: str, saved_by: str) -> None:
    torch = pytest.importorskip("torch")
    bomb, path = Bomb(tmp_path / "mark"), tmp_path / name
    if saved_by == "torch":
        torch.save(bomb, path)
    else:
        path.write_bytes(pickle.dumps(bomb))
    with pytest.raises(ConfigurationError, match=rf"{name}' is not a (torch\.export|TorchScript) file"):
        load_model(ModelPolicy(str(path)))
    assert not (tmp_path / "mark").exists()


def rewritten(whole: Path, to: Path, change: dict[str, bytes], add: dict[str, bytes]) -> None:
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            new.writestr(name, next((data for end, data in change.items() if name.endswith(end)), old.read(name)))
        root = old.namelist()[0].split("/")[0]
        for name, data in add.items():
            new.writestr(f"{root}/{name}", data)


def test_a_bomb_among_the_tensors_of_an_export_is_not_run(files: dict[str, Path], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save((Bomb(tmp_path / "mark"),), buffer)
    path = tmp_path / "inner.pt2"
    rewritten(files["free.pt2"], path, {"sample_inputs/model.pt": buffer.getvalue()}, {})
    with pytest.raises(ConfigurationError, match=r"is not a torch\.export file"):
        load_model(ModelPolicy(str(path)))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("part", ["data/constants/opaque_obj_0", "data/aotinductor/model/a.so"])
def test_an_export_with_objects_or_machine_code_is_refused(files: dict[str, Path], tmp_path: Path, part: str) -> None:
    path = tmp_path / "inner.pt2"
    rewritten(files["free.pt2"], path, {}, {part: pickle.dumps(Bomb(tmp_path / "mark"))})
    with pytest.raises(ConfigurationError, match="holds objects or machine code"):
        load_model(ModelPolicy(str(path)))
    assert not (tmp_path / "mark").exists()


def test_torch_is_not_imported_for_a_model_that_needs_none() -> None:
    import subprocess

    code = (
        "import sys; from bisupervised.agents.local.model import *; "
        "load_model(ModelPolicy('their_model:load')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
