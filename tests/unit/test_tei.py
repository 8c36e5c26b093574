from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from bisupervised.agents.answers import Answer
from bisupervised.agents.remote.protocol import Usage
from bisupervised.agents.remote.protocols.tei import Tei
from bisupervised.agents.remote.retry import CallRefused
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.errors import InvalidAnswer, InvalidRequest, RateLimited, RemoteError


def classes(**scores: float | None) -> list[dict[str, Any]]:
    """As the server sorts them: the likeliest first."""
    return [{"label": label, "score": score} for label, score in scores.items()]


def answered(*rows: Any) -> Response:
    return Response(200, {"x-compute-tokens": "12"}, orjson.dumps(list(rows)))


def test_one_input_is_a_batch_too_for_two_texts_in_a_list_would_be_a_pair() -> None:
    call = Tei().build(["a"])
    assert call.path == "/predict"
    assert orjson.loads(call.body) == {"inputs": [["a"]], "raw_scores": False, "truncate": False}


def test_a_batch_with_every_option() -> None:
    body = orjson.loads(Tei(raw_scores=True, truncate=True).build(["a", "b"]).body)
    assert body == {"inputs": [["a"], ["b"]], "raw_scores": True, "truncate": True}


def test_two_fields_are_a_pair() -> None:
    call = Tei(fields=("premise", "claim")).build([{"claim": "c", "premise": "p"}])
    assert orjson.loads(call.body)["inputs"] == [["p", "c"]]


@pytest.mark.parametrize("given", [3, None, ["a", "b"], {"a": "b"}])
def test_what_is_no_text_is_refused_before_it_is_paid(given: Any) -> None:
    with pytest.raises(InvalidRequest):
        Tei().build(["a", given])


def test_each_row_has_its_own_order_of_classes() -> None:
    reply = Tei(model="big").read(answered(classes(cat=0.9, dog=0.1), classes(dog=0.75, cat=0.25)), 2)
    assert reply.answers == [Answer("cat", 0.9), Answer("dog", 0.75)]
    [unsorted] = Tei().read(answered(classes(cat=0.25, dog=0.75)), 1).answers
    assert unsorted == Answer("dog", 0.75)
    assert (reply.model, reply.usage) == ("big", Usage(12))


def test_classes_without_names_are_the_labels_by_their_place() -> None:
    rows = answered(classes(LABEL_1=0.9, LABEL_0=0.1), classes(LABEL_0=0.8, LABEL_1=0.2))
    assert Tei(labels=("cat", "dog")).read(rows, 2).answers == [Answer("dog", 0.9), Answer("cat", 0.8)]
    assert Tei().read(rows, 2).answers[0].prediction == "LABEL_1"
    with pytest.raises(InvalidAnswer, match="'LABEL_1' is none of the 1 labels"):
        Tei(labels=("cat",)).read(rows, 2)


def test_what_json_does_not_have_costs_its_own_value_alone() -> None:
    body = b'[[{"label": "cat", "score": 0.9, "t": NaN}, {"label": "dog", "score": 0.1, "t": "\\uD83D"}]]'
    assert Tei().read(Response(200, {}, body), 1).answers == [Answer("cat", 0.9)]


@pytest.mark.parametrize(
    ("document", "answer"),
    [
        (classes(cat=0.9, dog=0.1), Answer("cat", 0.9)),  # not in a list of inputs
        (classes(cat=0.9), Answer("cat", 0.9)),
        ({"label": "cat", "score": 0.9}, Answer("cat", 0.9)),
        ([classes(cat=0.9)], Answer("cat", 0.9)),
        ([[{"label": 1, "score": 0.9}]], Answer("dog", 0.9)),
        ([[{"label": "cat", "score": "0.9"}, {"label": "dog", "score": "0.1"}]], Answer("cat", 0.9)),
        ([[{"label": "cat", "score": "90 %"}, {"label": "dog", "score": "10%"}]], Answer("cat", 0.9)),
    ],
)
def test_a_single_input_and_a_single_class_are_read(document: Any, answer: Answer) -> None:
    protocol = Tei(labels=("cat", "dog"))
    assert protocol.read(Response(200, {}, orjson.dumps(document)), 1).answers == [answer]


def test_a_score_that_is_not_told_costs_no_other_answer() -> None:
    rows = answered(classes(cat=None, dog=0.1), classes(dog=0.75, cat=0.25), [{"label": "dog"}])
    answers = Tei(labels=("cat", "dog")).read(rows, 3).answers
    assert [(answer.prediction, answer.score) for answer in answers] == [("cat", None), ("dog", 0.75), ("dog", None)]
    assert "told no score" in answers[0].unscored


@pytest.mark.parametrize(
    ("protocol", "score", "why"),
    [
        (Tei(), 0.9, "one class alone"),
        (Tei(labels=("cat", "dog")), 1.0, "one class alone"),
        (Tei(labels=("cat", "dog"), raw_scores=True), 0.9, "one class alone"),
        (Tei(labels=("cat", "dog"), score="pcs"), 0.9, "pcs needs all"),
    ],
)
def test_one_class_alone_is_never_certain(protocol: Tei, score: float, why: str) -> None:
    """Its softmax is always 1."""
    [answer] = protocol.read(answered(classes(cat=score)), 1).answers
    assert (answer.prediction, answer.score) == ("cat", None)
    assert why in answer.unscored


def test_raw_scores_are_logits() -> None:
    [answer] = Tei(raw_scores=True).read(answered(classes(cat=2.0, dog=-1.0)), 1).answers
    assert answer.score == pytest.approx(1 / (1 + math.exp(-3.0)))


@pytest.mark.parametrize(
    ("response", "match"),
    [
        (answered(classes(cat=0.9, dog=0.1)), "1 answers to 2 inputs"),
        (answered(*[classes(cat=0.9, dog=0.1)] * 3), "3 answers to 2 inputs"),
        (answered(classes(cat=1.9), classes(cat=0.9)), r"0\.\.1"),
        (answered(classes(cat=9.0, dog=0.1), classes(cat=0.9, dog=0.1)), r"0\.\.1"),
        (answered(classes(cat=0.9, dog=0.1), classes(cow=0.9, dog=0.1)), "'cow' is none of the 2 labels"),
        (answered([{"label": "cat", "score": "high"}], classes(cat=0.9, dog=0.1)), "a score is 'high'"),
        (answered([{"label": "cat", "score": True}], classes(cat=0.9, dog=0.1)), "a score is 'True'"),
        (answered([{"label": None, "score": 0.5}], classes(cat=0.9, dog=0.1)), "cannot be read"),
        (answered([], []), "no classes"),
        (Response(200, {}, orjson.dumps(classes(cat=0.9, dog=0.1))), "cannot be read"),
        (Response(200, {}, b"<html>"), "cannot be read"),
        (Response(200, {}, b'[[{"label": "cat", "score": NaN}]]'), "1 answers to 2 inputs"),
        (Response(200, {}, b'{"label": "cat", "score": 0.9}'), "cannot be read"),
        (Response(200, {}, b""), "cannot be read"),
    ],
)
def test_what_is_no_answer_is_an_invalid_answer(response: Response, match: str) -> None:
    with pytest.raises(InvalidAnswer, match=match):
        Tei(labels=("cat", "dog")).read(response, 2)


@pytest.mark.parametrize(
    ("status", "error_type", "kind"),
    [
        (400, "empty", CallRefused),
        (413, "validation", CallRefused),
        (422, "tokenizer", CallRefused),
        (424, "backend", RemoteError),
        (429, "overloaded", RateLimited),
        (503, "unhealthy", RemoteError),
    ],
)
def test_a_failure_is_classified_once(status: int, error_type: str, kind: type[Exception]) -> None:
    body = orjson.dumps({"error": "told", "error_type": error_type})
    with pytest.raises(kind, match=f"{status}: told") as caught:
        Tei().raise_for(Response(status, {}, body))
    assert type(caught.value) is kind


def test_a_refused_batch_may_fare_better_in_halves() -> None:
    with pytest.raises(CallRefused) as caught:
        Tei().raise_for(Response(413, {}, b""))
    assert caught.value.may_be_input


def test_the_estimate_is_a_token_per_four_bytes() -> None:
    assert Tei().estimate(["12345", "é"]) == 2 + 1
