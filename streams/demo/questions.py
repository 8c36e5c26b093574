"""Questions and answers in words: the questions, a small model that writes answers, and how answers are judged.

"What is 342 in words?" is answered by "three hundred forty two". The questions are made here, so the right answers
are known. The model is an encoder and a decoder of 64 units each. It learns from a few questions in seconds. It returns
the log-probability of each of its words, by which its answers are scored.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...agents.supervision.recording import Side
from .digits import one_thread
from .thresholds import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: environment variable with the model's file, for `answerer`, which takes no arguments
MODEL_VARIABLE = "QUESTIONS_MODEL"
TRAINING, CALIBRATION, HELD_OUT = 800, 800, 2_000
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", *_TEENS)
_TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_FORMS = ("What is {number} in words?", "How do you write {number} in words?", "Spell out {number}.")
_WORDS = ("", "<end>", *_ONES, *_TENS[2:], "hundred", "thousand")
_SIGNS = ("", *map(str, range(10)), "what", "is", "in", "words", "how", "do", "you", "write", "spell", "out")
_WORD, _SIGN = ({name: index for index, name in enumerate(names)} for names in (_WORDS, _SIGNS))
_END = 1  # index of <end>
_LONGEST_QUESTION, _LONGEST_ANSWER = 10, 8  # in signs, and in words with the end
_UNITS, _EPOCHS, _BATCH = 64, 30, 32


#: a text and the log-probabilities of its words, the end included
Written = tuple[str, list[float]]


@dataclass(frozen=True, slots=True)
class NumberQuestion:
    """A question and its right answer."""

    text: str
    answer: str


def words(number: int) -> str:
    """A number from 0 to 9,999 in words."""
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {words(number % size)}" if number % size else ""
            return f"{_ONES[number // size]} {name}{rest}"
    if number < 20:
        return _ONES[number]
    return _TENS[number // 10] + (f" {_ONES[number % 10]}" if number % 10 else "")


def make_split(seed: int) -> Split[list[NumberQuestion]]:
    """The same seed gives the same split. No number is in two parts."""
    chance = random.Random(seed)
    numbers = chance.sample(range(10_000), TRAINING + CALIBRATION + HELD_OUT)
    made = [NumberQuestion(chance.choice(_FORMS).format(number=number), words(number)) for number in numbers]
    return Split(made[:TRAINING], made[TRAINING : TRAINING + CALIBRATION], made[TRAINING + CALIBRATION :])


def _encoded(text: str) -> list[int]:
    """Words and single digits as indices, padded on the left. Raises `KeyError` for a word that no question has."""
    parts = (word.strip("?.").lower() for word in text.split())
    known = [_SIGN[sign] for part in parts for sign in (part if part.isdecimal() else (part,))]
    return [0] * (_LONGEST_QUESTION - len(known)) + known[:_LONGEST_QUESTION]


def _answer_of(question: NumberQuestion) -> list[int]:
    known = [*(_WORD[word] for word in question.answer.split()), _END]
    return known + [0] * (_LONGEST_ANSWER - len(known))


def train(questions: Sequence[NumberQuestion], seed: int, path: Path) -> None:
    """Train the small model, and save its weights."""
    torch = _torch()
    with one_thread(torch):
        torch.manual_seed(seed)
        net = _trained(torch, _net(torch), questions)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)


def _trained(torch: Any, net: Any, questions: Sequence[NumberQuestion]) -> Any:  # noqa: ANN401  # torch is optional
    asked = torch.tensor([_encoded(question.text) for question in questions])
    answers = torch.tensor([_answer_of(question) for question in questions])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
    for _ in range(_EPOCHS):
        for batch in torch.randperm(len(questions)).split(_BATCH):
            optimizer.zero_grad()
            logits = _taught(torch, net, asked[batch], answers[batch])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers[batch].flatten(), ignore_index=0)
            loss.backward()
            optimizer.step()
    return net


def _torch() -> Any:  # noqa: ANN401  # a module
    """torch, as `Any`: it is optional, and parts of it have no types."""
    import torch

    return torch


def _net(torch: Any) -> Any:  # noqa: ANN401  # torch is optional
    nn = torch.nn
    return nn.ModuleDict(
        {
            "signs": nn.Embedding(len(_SIGNS), _UNITS, padding_idx=0),
            "words": nn.Embedding(len(_WORDS), _UNITS, padding_idx=0),
            "reads": nn.GRU(_UNITS, _UNITS, batch_first=True, bidirectional=True),
            "joins": nn.Linear(2 * _UNITS, _UNITS),
            "writes": nn.GRU(_UNITS, _UNITS, batch_first=True),
            "says": nn.Linear(_UNITS, len(_WORDS)),
        }
    )


def _read(torch: Any, net: Any, asked: Any) -> Any:  # noqa: ANN401  # tensors
    """The encoder: the state that the decoder begins with, (1, n, units)."""
    _, state = net["reads"](net["signs"](asked))
    return torch.tanh(net["joins"](torch.cat([state[0], state[1]], dim=1)))[None]


def _taught(torch: Any, net: Any, asked: Any, answers: Any) -> Any:  # noqa: ANN401  # tensors
    """The decoder in training: logits of each word given the right words before it, (n, words, vocabulary)."""
    before = torch.cat([torch.zeros_like(answers[:, :1]), answers[:, :-1]], dim=1)
    written, _ = net["writes"](net["words"](before), _read(torch, net, asked))
    return net["says"](written)


def load_answerer(path: Path) -> Callable[[list[Any]], list[Written]]:
    """The trained model: takes texts, returns an answer for each."""
    torch = _torch()
    net = _net(torch)
    net.load_state_dict(torch.load(path, weights_only=True))
    net.eval()

    def answer(inputs: list[Any]) -> list[Written]:
        with torch.no_grad(), one_thread(torch):
            return _written(torch, net, torch.tensor([_encoded(text) for text in inputs]))

    return answer


def _written(torch: Any, net: Any, asked: Any) -> list[Written]:  # noqa: ANN401  # tensors
    """The decoder at work: word by word, always the likeliest."""
    state, last = _read(torch, net, asked), torch.zeros(len(asked), 1, dtype=torch.long)
    chosen, logprobs = [], []
    for _ in range(_LONGEST_ANSWER):
        written, state = net["writes"](net["words"](last), state)
        logprob, word = torch.log_softmax(net["says"](written[:, 0]), dim=1).max(dim=1)
        last = word[:, None]
        chosen.append(word.tolist())
        logprobs.append(logprob.tolist())
    return [_text(*each) for each in zip(zip(*chosen, strict=True), zip(*logprobs, strict=True), strict=True)]


def _text(chosen: Sequence[int], logprobs: Sequence[float]) -> Written:
    end = chosen.index(_END) + 1 if _END in chosen else len(chosen)
    text = " ".join(_WORDS[index] for index in chosen[:end] if index > _END)
    return text, list(logprobs[:end])


def answerer() -> Callable[[list[Any]], list[Written]]:
    """The factory that the settings name: `bisupervised.streams.demo.questions:answerer`."""
    return load_answerer(Path(os.environ[MODEL_VARIABLE]))


def side(questions: Sequence[NumberQuestion], answers: Sequence[tuple[str, float | None]]) -> Side:
    """The score of each answer, and whether it is right."""
    correct = [text == question.answer for question, (text, _) in zip(questions, answers, strict=True)]
    return Side(np.array([score for _, score in answers], dtype=np.float64), np.array(correct))
