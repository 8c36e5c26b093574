"""Makes a small text classifier for MLServer's runtime for Hugging Face, in the environment of that.

A BERT of one layer, which learns within a second what a good text is here. Nothing is downloaded. Argument: the folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = ["bad", "good", "a", "the", "film", "book"]
_TEXTS = [f"{word} {rest}".strip() for word in ("bad", "good") for rest in ("", "film", "book", "a film", "the book")]

folder = Path(sys.argv[1])
folder.mkdir(parents=True)
vocabulary = folder / "vocab.txt"
vocabulary.write_text("\n".join(_SPECIAL + _WORDS) + "\n")
config = BertConfig(
    vocab_size=len(_SPECIAL + _WORDS),
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=16,
    id2label={0: "NEGATIVE", 1: "POSITIVE"},
    label2id={"NEGATIVE": 0, "POSITIVE": 1},
)
torch.manual_seed(7)
torch.set_num_threads(1)
model, tokenizer = BertForSequenceClassification(config), BertTokenizer(str(vocabulary))
told = tokenizer(_TEXTS, padding=True, return_tensors="pt")
labels = torch.tensor([int(text.startswith("good")) for text in _TEXTS])
adam = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(40):
    adam.zero_grad()
    model(**told, labels=labels).loss.backward()
    adam.step()
model.save_pretrained(folder)
tokenizer.save_pretrained(folder)
