"""A single row of a few numbers goes a way of its own. It says to the bit what it says beside another row."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.answers import Answer, ClassReading
from bisupervised.agents.remote.protocols.open_inference import DATATYPES, OpenInference
from bisupervised.agents.remote.transport import Response
from bisupervised.agents.supervision.class_scores import (
    label_softmax,
    likeliest,
    max_softmax,
    predictions,
    softmax_of_label,
)
from bisupervised.schemas.errors import InvalidAnswer, InvalidRequest
from hypothesis import example, given
from hypothesis import strategies as st

#: where types of numbers end, and where one begins to round
EDGES = (0, -0.0, 1, 0.1, 1e-46, 2**24 + 1, 65_504, 65_536, 3.5e38, -3.5e38, 2**53, 2**53 + 1, 2**60 + 2**36 + 1)
HUGE = (2**63 - 1, 2**63, -(2**63), 2**64 - 1, 2**64, float("inf"), float("-inf"), float("nan"))
NUMBER = st.one_of(st.sampled_from((*EDGES, *HUGE)), st.floats(-1.0, 1.0), st.floats(), st.integers(-1, 300))
OTHER = st.sampled_from((10**400, True, False, None, "0.5", "nan", b"0", [0.5], [], {}, {"a": 1}))
ROWS = st.one_of(
    st.lists(st.one_of(st.floats(-1.0, 1.0), st.integers(-1, 300)), max_size=70),
    st.lists(NUMBER, max_size=5),
    st.lists(st.one_of(NUMBER, OTHER), max_size=4),
)

#: near 1 in their sum, or anything
PROBABILITY = st.one_of(
    st.floats(0.0, 1.0), st.sampled_from((0, 1, -0.0, 1.0005, -0.0005, 1.1, -0.1, 5e-324, 0.495, 0.505, 0.485))
)
SHARES = st.lists(st.integers(0, 9), min_size=2, max_size=70).filter(any).map(lambda n: [each / sum(n) for each in n])
CLASSES = st.one_of(SHARES, st.lists(PROBABILITY, min_size=1, max_size=3), st.lists(NUMBER, min_size=1, max_size=3))
#: elements as a server writes them
WRITTEN = st.one_of(
    PROBABILITY.map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(("1e400", "-0", "1E-400", "9223372036854775808", "18446744073709551616", "1" * 400)),
    st.sampled_from(("true", "false", "null", "NaN", "-Infinity", '"0.5"', '"0.9:1:b"', "[0.5]", "{}", "[]")),
)
ELEMENTS = st.one_of(SHARES.map(lambda row: list(map(repr, row))), st.lists(WRITTEN, min_size=2, max_size=4))
READINGS = st.builds(
    ClassReading,
    logits=st.booleans(),
    labels=st.sampled_from(((), ("a", "b"), ("a", "b", "c"))),
    score=st.sampled_from(("max_softmax", "max_softmax", "pcs", "softmax_entropy")),
    detailed=st.sampled_from((False, False, True)),
)


def sent(protocol: OpenInference, inputs: list[Any]) -> tuple[str, str]:
    """The shape and the elements of a tensor as they are written, or why there is none."""
    try:
        body = protocol.build(inputs).body.decode()
    except InvalidRequest as error:
        return "", str(error).split(":")[0]  # numpy's own words tell the shape
    [(shape, elements)] = re.findall(r'"shape":\[(.*?)\].*"data":\[(.*)\]\}\],', body)
    return shape, elements


@given(ROWS, st.sampled_from(sorted(DATATYPES)), st.booleans())
@example([0.1, 2**53 + 1], "FP64", False)
@example([2**60 + 2**36 + 1, 1], "FP32", False)  # by way of float64 it is rounded twice
@example([65_536.0], "FP16", False)
@example([1.5, 1.0], "INT64", False)
@example([0.5, float("nan")], "FP32", False)
@example([-(2**60 + 2**36 + 1), 1], "FP32", False)
@example([True, 0.5], "FP32", False)
@example([True, False], "FP32", False)
def test_an_input_is_sent_alone_as_beside_another(row: list[Any], datatype: str, column: bool) -> None:
    protocol = OpenInference("big", datatype=datatype, column=column)
    (shape, elements), (doubled_shape, doubled) = sent(protocol, [row]), sent(protocol, [row, row])
    assert shape[1:] == doubled_shape[1:]  # but for the number of inputs
    assert doubled == (f"{elements},{elements}" if shape and elements else elements)


@given(CLASSES)
@example([0.5, 0.5])  # the first of equals
@example([0.98999, 0.0])
@example([1, 0])
@example([0.5, float("nan")])
@example([1.0005, 0.0])
@example([1.0, -0.0005])
def test_the_likeliest_class_of_a_row_is_that_of_a_table(row: list[float]) -> None:
    found = likeliest(row)
    if found is not None:
        table = np.array([row], dtype=np.float64)
        assert found == (predictions(table)[0], max_softmax(table, logits=False)[0])
        assert list(map(type, found)) == [int, float]


@given(CLASSES, st.data())
@example([1.0005, -0.0005], None)
@example([1.0011, 0.0], None)
@example([0.5, -0.0011], None)
def test_the_score_of_a_label_is_that_of_a_table(row: list[float], data: st.DataObject | None) -> None:
    of = list(range(len(row))) if data is None else [data.draw(st.integers(0, len(row) - 1))]
    for answered in of:
        try:
            expected = label_softmax(np.array([row], dtype=np.float64), np.array([answered])).tolist()[0].hex()
        except ValueError as error:
            with pytest.raises(ValueError, match=f"^{error}$"):
                softmax_of_label(row, answered)
        else:
            assert float(softmax_of_label(row, answered)).hex() == expected


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=64))
def test_probabilities_need_no_table(row: list[float]) -> None:
    assert likeliest([each / sum(row) for each in row]) is not None


def read(reading: ClassReading, elements: list[str], rows: int) -> Answer | str:
    """The answer to the first of so many inputs, or why there is none."""
    shape, data = f"[{rows},{len(elements)}]", ",".join(elements * rows)
    body = f'{{"outputs":[{{"name":"probabilities","shape":{shape},"data":[{data}]}}]}}'
    try:
        return OpenInference("big", reading=reading).read(Response(200, {}, body.encode()), rows).answers[0]
    except InvalidAnswer as error:
        return re.sub(r"\d+", "N", str(error).split(": {")[0])  # of shapes and places; the body is told behind them


@given(ELEMENTS, READINGS)
@example(["true", "0.0"], ClassReading(logits=False))
@example(["0", "1"], ClassReading(logits=False))
@example(["0.5", "0.52"], ClassReading(logits=False))
@example(["0.25", "0.75"], ClassReading(logits=False, labels=("a", "b", "c")))
@example(["18446744073709551615", "-1"], ClassReading(logits=True))
def test_an_answer_is_read_alone_as_beside_another(elements: list[str], reading: ClassReading) -> None:
    alone = read(reading, elements, 1)
    assert repr(alone) == repr(read(reading, elements, 2))


@pytest.mark.parametrize("shape", ["[1,2]", "[2]", "[1,2,1]", "[1,1,2]", "[1.0,2.0]"])
def test_a_single_row_has_several_shapes(shape: str) -> None:
    body = f'{{"outputs":[{{"name":"probabilities","shape":{shape},"data":[0.25,0.75]}}]}}'
    [answer] = OpenInference("big").read(Response(200, {}, body.encode()), 1).answers
    assert (answer.prediction, answer.score) == (1, 0.75)


@pytest.mark.parametrize(
    ("shape", "data", "why"),
    [
        ("[2,1]", "[0.25,0.75]", "2 answers to 1 inputs"),
        ("[2,1,1]", "[0.25,0.75]", "2 answers to 1 inputs"),
        ("[-1,-2]", "[0.25,0.75]", "can only specify one unknown dimension"),
        ("[1,1]", "[1.0]", r"two classes or more, not \(1, 1\)"),
        ("[1]", "[1.0]", r"two classes or more, not \(1,\)"),
    ],
)
def test_other_shapes_are_those_of_other_answers(shape: str, data: str, why: str) -> None:
    body = f'{{"outputs":[{{"name":"probabilities","shape":{shape},"data":{data}}}]}}'
    with pytest.raises(InvalidAnswer, match=why):
        OpenInference("big").read(Response(200, {}, body.encode()), 1)
