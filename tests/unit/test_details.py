"""What a recording reads off an answer besides the one score, of every kind of model and protocol."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.answers import ClassReading, Details, read_classes, read_tokens
from bisupervised.agents.remote.protocol import Detailed, RemoteProtocol
from bisupervised.agents.remote.protocols.generic_json import GenericJson
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.protocols.tei import Tei
from bisupervised.agents.remote.protocols.templates import parse_json
from bisupervised.agents.supervision.class_scores import probabilities
from support.remotes import answered, chat_completion, choice, token

LABELS = ("negative", "positive")
CLASSES = {"max_softmax", "pcs", "softmax_entropy"}
TOKENS = {"token_first", "token_mean", "token_min", "token_product"}


def details_of(protocol: RemoteProtocol, document: Any) -> Details:
    """Of the one answer; the same without details, where nobody asks for them."""
    assert isinstance(protocol, Detailed)
    response = answered(document)
    [plain], [detailed] = (each.read(response, 1).answers for each in (protocol, protocol.in_detail()))
    assert (plain.details, plain.prediction, plain.score) == (None, detailed.prediction, detailed.score)
    assert detailed.details is not None
    return detailed.details


def test_of_classes_every_score_and_the_probabilities() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 1.0]])
    first, second = read_classes(logits, 2, ClassReading(True, LABELS, "pcs", 2.0, detailed=True))
    assert first.details is not None
    assert second.details is not None
    assert first.score == first.details.scores["pcs"]
    assert set(first.details.scores) == CLASSES
    sure = 1.0 / (1.0 + math.exp(-1.0))  # with the temperature
    assert first.details.probabilities == pytest.approx([sure, 1.0 - sure])
    assert first.details.labels == ["negative", "positive"]
    assert second.details.scores["max_softmax"] == pytest.approx(max(second.details.probabilities or ()))


def test_a_row_without_a_score_has_none_of_them() -> None:
    table = np.array([[math.nan, 0.0], [2.0, 0.0]])
    spoilt, whole = read_classes(table, 2, ClassReading(True, detailed=True))
    assert spoilt.details is not None
    assert (spoilt.score, spoilt.details.scores) == (None, {})
    assert whole.details is not None
    assert whole.details.labels is None


def test_probabilities_sum_to_one() -> None:
    assert probabilities(np.array([[0.501, 0.501]]), logits=False).tolist() == [[0.5, 0.5]]
    assert probabilities(np.array([[1000.0, 1000.0]]), logits=True).tolist() == [[0.5, 0.5]]


def test_of_tokens_every_score() -> None:
    [answer] = read_tokens([("Paris", [-0.1, -0.3])], 1, "token_min", detailed=True)
    assert answer.details is not None
    assert set(answer.details.scores) == TOKENS
    assert answer.score == answer.details.scores["token_min"]


def test_open_inference_of_numbers_and_of_texts() -> None:
    reading = ClassReading(False, LABELS)
    output = {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.2, 0.8]}
    found = details_of(OpenInference("m", reading=reading), {"outputs": [output]})
    assert (found.probabilities, found.labels) == ([0.2, 0.8], list(LABELS))
    text = output | {"datatype": "BYTES", "shape": [1], "data": ['{"positive": 0.8, "negative": 0.2}']}
    assert details_of(OpenInference("m", reading=reading), {"outputs": [text]}) == found


def test_tei_names_the_classes_in_one_order() -> None:
    likelier = [[{"score": 0.7, "label": "positive"}, {"score": 0.3, "label": "negative"}]]
    found = details_of(Tei(labels=LABELS), likelier)
    assert (found.labels, found.probabilities) == (list(LABELS), [0.3, 0.7])
    assert details_of(Tei(), likelier).labels == ["negative", "positive"], "by name, where the settings have none"


def test_chat_completions_of_free_text_and_of_labels() -> None:
    document = chat_completion(choice("Paris", [-0.1, -0.4]))
    found = details_of(OpenAIChat("large", score="token_mean"), document)
    assert set(found.scores) == TOKENS
    assert found.probabilities is None
    one = choice("positive", [-0.2])
    top = {"positive": math.log(0.8), "negative": math.log(0.15)}
    one["logprobs"] = {"content": [token("positive", math.log(0.8), top)]}
    named = details_of(OpenAIChat("large", score="label_softmax", labels=LABELS), chat_completion(one))
    assert set(named.scores) == TOKENS | CLASSES | {"label_softmax"}
    assert named.scores["label_softmax"] == pytest.approx(0.8)
    assert named.probabilities == pytest.approx([0.175, 0.825])


def test_chat_completions_without_log_probabilities() -> None:
    document = chat_completion(choice("Paris"))
    assert details_of(OpenAIChat("large", score="token_mean"), document) == Details()
    [answer] = OpenAIChat("large").in_detail().read(answered(document), 1).answers
    assert answer.details is None, "nothing was asked for"


def test_any_json_with_log_probabilities() -> None:
    body = parse_json({"text": "{input}"})
    protocol = GenericJson(body, "answer", score="logprobs", transform="token_mean")
    found = details_of(protocol, {"answer": "Paris", "logprobs": [-0.1, -0.2]})
    assert set(found.scores) == TOKENS
    other = GenericJson(body, "answer", score="p").in_detail()
    assert other.read(answered({"answer": "Paris", "p": 0.5}), 1).answers[0].details is None
