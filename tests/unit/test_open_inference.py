from __future__ import annotations

import math
import time
from typing import Any

import orjson
import pytest
from bisupervised.agents.answers import Answer, ClassReading
from bisupervised.agents.remote.protocols.open_inference import DATATYPES, OpenInference
from bisupervised.agents.remote.retry import CallRefused
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas.errors import InvalidAnswer, InvalidRequest, RateLimited, RemoteError, RemoteFailure, Timeout


def about(score: float) -> Any:
    """Equal to whatever float is close."""
    return pytest.approx(score)


def answered(data: Any, shape: list[int], *, name: str = "probabilities", **more: Any) -> Response:
    output = {"name": name, "datatype": "FP32", "shape": shape, "data": data}
    return Response(200, {}, orjson.dumps({"model_name": "big", "outputs": [output], **more}))


@pytest.mark.parametrize(
    ("more", "model"),
    [
        ({"model_version": 1}, "big@1"),
        ({"model_name": None}, "asked"),
        ({"model_name": 7, "model_version": {}}, "asked"),
        ({"model_version": None}, "big"),
        ({"model_version": ""}, "big"),
    ],
)
def test_what_is_not_needed_may_have_any_shape(more: dict[str, Any], model: str) -> None:
    wanted = {"name": "probabilities", "datatype": "FP32", "shape": [1.0, 2.0], "data": [0.25, 0.75]}
    others: list[dict[str, Any]] = [{"name": "binary", "shape": [1], "parameters": {}}, {"name": None, "shape": "x"}]
    body = orjson.dumps({"model_name": "big", "outputs": [*others, wanted], **more})
    reply = OpenInference("asked").read(Response(200, {}, body), 1)
    assert (reply.answers, reply.model) == ([Answer(1, 0.75)], model)


@pytest.mark.parametrize("shape", [None, "12", [1.5, 2], [1.5, 1.5], [True, 2], [None], {}])
def test_the_wanted_outputs_shape_is_needed(shape: Any) -> None:
    with pytest.raises(InvalidAnswer, match="its shape is no list of whole numbers"):
        OpenInference("big").read(answered([0.25, 0.75], shape), 1)


def test_what_json_does_not_have_costs_its_own_value_alone() -> None:
    body = b'{"model_name": "big", "parameters": {"t": NaN}, "outputs": [{"name": "other", "shape": [1],'
    body += b' "data": [-Infinity]}, {"name": "probabilities", "shape": [1, 2], "data": [0.25, 0.75]}]}'
    assert OpenInference("big").read(Response(200, {}, body), 1).answers == [Answer(1, 0.75)]


def test_the_same_of_a_text_that_holds_classes() -> None:
    text = '{"label": "positive", "score": 0.9, "t": NaN}'
    protocol = OpenInference("big", reading=ClassReading(logits=False, labels=("negative", "positive")))
    assert protocol.read(answered([text], [1]), 1).answers == [Answer("positive", 0.9)]


def test_the_call_has_exactly_the_protocols_fields() -> None:
    call = OpenInference("big", input_name="x", output_name="y").build([[1, 2.5], [3, 4]])
    assert call.path == "/v2/models/big/infer"
    assert call.headers == {"content-type": "application/json"}
    assert orjson.loads(call.body) == {
        "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1.0, 2.5, 3.0, 4.0]}],
        "outputs": [{"name": "y"}],
    }


def test_inputs_of_more_axes_are_batched_along_the_first() -> None:
    call = OpenInference("big").build([[[1, 2], [3, 4]]] * 3)
    [tensor] = orjson.loads(call.body)["inputs"]
    assert tensor["shape"] == [3, 2, 2]
    assert tensor["data"] == [1.0, 2.0, 3.0, 4.0] * 3


def test_a_models_name_cannot_leave_its_place_in_the_path() -> None:
    assert OpenInference("../a b").build([[1]]).path == "/v2/models/..%2Fa%20b/infer"


@pytest.mark.parametrize(
    ("datatype", "given", "sent"),
    [
        ("BOOL", [True, False], [True, False]),
        ("INT64", [2**62, -1], [2**62, -1]),
        ("UINT8", [0, 255], [0, 255]),
        ("FP16", [0.5, 1], [0.5, 1.0]),
        ("FP64", [0.1, True], [0.1, 1.0]),
        ("BYTES", ["é", "b"], ["é", "b"]),
    ],
)
def test_every_data_type_is_sent_as_it_is(datatype: str, given: list[Any], sent: list[Any]) -> None:
    [tensor] = orjson.loads(OpenInference("big", datatype=datatype).build([given]).body)["inputs"]
    assert (tensor["datatype"], tensor["shape"], tensor["data"]) == (datatype, [1, 2], sent)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("given", [None, {"a": 1}, [None], [[1], [2, 3]]])
def test_what_is_no_tensor_is_refused_before_it_is_paid(datatype: str, given: Any) -> None:
    with pytest.raises(InvalidRequest):
        OpenInference("big", datatype=datatype).build([given])


@pytest.mark.parametrize(
    ("datatype", "given"),
    [
        ("FP32", ["1.5"]),
        ("FP32", [1e39]),
        ("FP16", [70000]),
        ("INT32", [1.5]),
        ("INT32", [2**31]),
        ("UINT8", [-1]),
        ("UINT8", [256]),
        ("BOOL", [1]),
        ("BYTES", [1]),
    ],
)
def test_nothing_is_bent_to_fit(datatype: str, given: list[Any]) -> None:
    with pytest.raises(InvalidRequest):
        OpenInference("big", datatype=datatype).build([given])


def test_inputs_of_several_shapes_cannot_go_in_one_call() -> None:
    with pytest.raises(InvalidRequest, match="make no tensor"):
        OpenInference("big").build([[1, 2], [3]])


@pytest.mark.parametrize("data", [[0.1, 0.9, 0.8, 0.2], [[0.1, 0.9], [0.8, 0.2]]])
def test_flat_and_nested_answers_read_the_same(data: Any) -> None:
    reply = OpenInference("big").read(answered(data, [2, 2]), 2)
    assert reply.answers == [Answer(1, 0.9), Answer(0, 0.8)]
    assert reply.model == "big"


def test_labels_logits_and_the_models_version() -> None:
    reading = ClassReading(logits=True, labels=("cat", "dog"))
    reply = OpenInference("asked", reading=reading).read(answered([3.0, 3.0], [1, 2], model_version="7"), 1)
    assert reply.answers == [Answer("cat", 0.5)]
    assert reply.model == "big@7"


def test_a_remote_that_does_not_name_its_model_is_called_as_asked() -> None:
    assert OpenInference("asked").read(answered([0.5, 0.5], [1, 2], model_name=""), 1).model == "asked"


def test_the_named_output_is_found_among_others() -> None:
    other = {"name": "other", "datatype": "INT64", "shape": [1], "data": [3]}
    wanted = {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 0.9]}
    response = Response(200, {}, orjson.dumps({"outputs": [other, wanted]}))
    assert OpenInference("big").read(response, 1).answers == [Answer(1, 0.9)]


SCORED = OpenInference("big", output_name="answer", score_output="score")


def scored(answers: Any, shape: list[int], scores: Any, score_shape: list[int] | None = None) -> Response:
    outputs = [
        {"name": "answer", "datatype": "BYTES", "shape": shape, "data": answers},
        {"name": "score", "datatype": "FP32", "shape": score_shape or [len(scores)], "data": scores},
    ]
    return Response(200, {}, orjson.dumps({"model_name": "big", "outputs": outputs}))


def test_a_remote_that_scores_itself_is_asked_for_both_outputs() -> None:
    assert orjson.loads(SCORED.build([[1]]).body)["outputs"] == [{"name": "answer"}, {"name": "score"}]


@pytest.mark.parametrize(
    ("response", "answers"),
    [
        (scored(["Rome", "é"], [2], [-3.5, 2]), [Answer("Rome", -3.5), Answer("é", 2.0)]),
        (scored(["Rome, Italy", "a, b, c"], [2], [1, 0]), [Answer("Rome, Italy", 1.0), Answer("a, b, c", 0.0)]),
        (scored([7, 0.5], [2, 1], [0.5, 0.25], [2, 1]), [Answer(7, 0.5), Answer(0.5, 0.25)]),
        (scored([["a", "b"], ["c", "d"]], [2, 2], [[1], [0]]), [Answer(["a", "b"], 1.0), Answer(["c", "d"], 0.0)]),
        (scored(["a", "b"], [2], [None, 0.5]), [Answer("a", None), Answer("b", 0.5)]),
        (answered(["a", "b"], [2], name="answer"), [Answer("a", None), Answer("b", None)]),
    ],
)
def test_a_remotes_own_scores(response: Response, answers: list[Answer]) -> None:
    read = SCORED.read(response, 2).answers
    assert read == answers
    kinds = [(type(answer.prediction), type(answer.score)) for answer in answers]
    assert [(type(answer.prediction), type(answer.score)) for answer in read] == kinds, "1 and 1.0 are equal"


@pytest.mark.parametrize(
    ("response", "match"),
    [
        (scored(["a"], [1], [0.5]), "1 answers to 2 inputs"),
        (scored(["a"], [], [0.5]), "0 answers to 2 inputs"),
        (scored(["a", "b"], [2], [0.5]), "1 scores for 2 answers"),
        (scored(["a", "b"], [2], [[0.5, 0.5], [0.5, 0.5]]), "no list of"),
        (scored(["a", "b"], [2], [[0.5, 0.5], [0.5, 0.5]], [2, 2]), "4 scores for 2 answers"),
        (scored(["a", None], [2], [0.5, 0.5]), "none"),
        (scored(["a", "b"], [2], ["high", 0.5]), "a score is 'high'"),
        (scored(["a", "b"], [2], [True, 0.5]), "a score is 'True'"),
        (scored(["a", "b"], [3], [0.5, 0.5]), "no answer"),
        (answered([0.5, 0.5], [2], name="score"), "missing"),
    ],
)
def test_scored_answers_that_are_none(response: Response, match: str) -> None:
    with pytest.raises(InvalidAnswer, match=match):
        SCORED.read(response, 2)


def _holding(data: bytes) -> bytes:
    """A document with this data, which need not be JSON."""
    return b'{"outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": ' + data + b"}]}"


@pytest.mark.parametrize(
    ("response", "match"),
    [
        (answered([0.5, 0.5], [1, 2]), "1 answers to 2 inputs"),
        (answered([0.5] * 6, [3, 2]), "3 answers to 2 inputs"),
        (answered([None, 0.5, 0.5, 0.5], [2, 2]), "not a number"),
        (answered([0.5] * 3, [2, 2]), "no answer"),
        (answered([0.5] * 2, [2]), r"\(n, classes\)"),
        (answered([0.5] * 2, [2, 1]), "two classes"),
        (answered([3.0, 0.5] * 2, [2, 2]), r"0\.\.1"),
        (answered(["a"] * 4, [2, 2]), "no answer"),
        (answered(["0.5"] * 4, [2, 2]), "not a number"),
        (answered([True, False] * 2, [2, 2]), "not a number"),
        (answered([0.5] * 4, [-1, 2]), "no list of"),
        (answered([0.5] * 4, [2**62, 2**62]), "no list of"),
        (answered([[], [], [], []], [2, 2]), "no answer"),
        (Response(200, {}, _holding(b"[" + b"9" * 400 + b", 0, 1, 0]")), "infinity"),
        (Response(200, {}, _holding(b"[NaN, 0, 1, 0]")), "a value that is not a number"),
        (Response(200, {}, _holding(b"[" * 100_000)), "cannot be read"),
        (Response(200, {}, _holding(b"[" * 400 + b"1,1,1,1" + b"]" * 400)), "no answer"),
        (Response(200, {}, _holding(b'{"0": 0.5}')), "no list of"),
        (Response(200, {}, _holding(b'{"0": 0.5, "1": 1, "2": 0, "3": 1, "4": 1}')), "no list of"),
        (answered([{}] * 4, [2, 2]), "no answer"),
        (answered([0.5] * 4, [2, 2], name="logits"), r"missing; there are \['logits'\]"),
        (answered([0.5] * 4, [2, 2], outputs=None), "cannot be read"),
        (Response(200, {}, b""), "cannot be read"),
        (Response(200, {}, b"<html>"), "cannot be read"),
        (Response(200, {}, b"\xff\xfe"), "cannot be read"),
        (Response(200, {}, b'{"outputs": [{"name": "\xff"}]}'), "cannot be read"),
        (Response(200, {}, b'{"error": "no such model"}'), "no such model"),
    ],
)
def test_what_is_no_answer_is_an_invalid_answer(response: Response, match: str) -> None:
    with pytest.raises(InvalidAnswer, match=match):
        OpenInference("big").read(response, 2)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, Timeout), (409, RemoteError), (429, RateLimited), (500, RemoteError), (503, RemoteError)],
)
def test_a_failure_that_may_pass_has_its_class_and_the_servers_wish(status: int, kind: type[RemoteFailure]) -> None:
    response = Response(status, {"retry-after": "2"}, b'{"error": "busy"}')
    with pytest.raises(kind, match=f"the remote answered {status}: busy") as caught:
        OpenInference("big").raise_for(response)
    assert type(caught.value) is kind
    assert caught.value.retry_after_s == 2.0


@pytest.mark.parametrize(
    ("status", "may_be_input"),
    [(400, True), (413, True), (422, True), (301, False)],
)
def test_a_refusal_tells_whose_fault_it_is(status: int, may_be_input: bool) -> None:
    with pytest.raises(CallRefused) as caught:
        OpenInference("big").raise_for(Response(status, {}, b""))
    assert caught.value.may_be_input is may_be_input


@pytest.mark.parametrize("body", [b"<html>" + b"x" * 10_000, b"\xff" * 1000, b'{"error": 3}'])
def test_an_error_body_that_cannot_be_read_is_quoted_in_part(body: bytes) -> None:
    with pytest.raises(RemoteError) as caught:
        OpenInference("big").raise_for(Response(500, {}, body))
    assert len(str(caught.value)) < 300


_FRAMES = b"Traceback (most recent call last):\n" + b"".join(
    b'  File "/opt/server/layer_%d.py", line 7, in call\n    answer = await self.inner(*args)\n             ^^^^^\n'
    % number
    for number in range(40)
)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (_FRAMES + b"TypeError: takes 2 positional arguments but 3 were given\n", "TypeError: takes 2 positional arg"),
        (_FRAMES + b"a.b.ShapeError: bad shape\n  of [n]\nsee above\n\n", "a.b.ShapeError: bad shape of [n] see above"),
        (orjson.dumps({"error": _FRAMES.decode() + "KeyError: 'a'"}), "KeyError: 'a'"),
        (orjson.dumps({"error": {"message": _FRAMES.decode() + "KeyError: 'a'"}}), "KeyError: 'a'"),
        (_FRAMES, "Traceback (most recent call last)"),
        (_FRAMES + b"Error: " + b"x" * 100_000, "Error: xxx"),
    ],
)
def test_of_a_traceback_the_failure_is_told_not_where_it_began(body: bytes, says: str) -> None:
    with pytest.raises(RemoteError) as caught:
        OpenInference("big").raise_for(Response(500, {}, body))
    assert str(caught.value).startswith(f"the remote answered 500: {says}")
    assert len(str(caught.value)) < 300


def test_a_success_is_no_failure() -> None:
    OpenInference("big").raise_for(Response(200, {}, b""))


@pytest.mark.parametrize("unit", [b"1e300,", b"[],", b"{},", b"0,", b'{"a":[]},', b'"a,b",'])
def test_data_of_another_size_than_its_shape_is_not_parsed(unit: bytes) -> None:
    """A MiB of numbers such as 1e300 took more than a second, with the event loop waiting."""
    body = _holding(b"[" + unit * (2**20 // len(unit)) + b"0]")
    began = time.thread_time()
    with pytest.raises(InvalidAnswer, match="no list of"):
        OpenInference("big").read(Response(200, {}, body), 2)
    assert time.thread_time() - began < 0.05


def test_a_models_name_without_end_is_cut() -> None:
    response = answered([0.5] * 4, [2, 2], model_name="m" * 10_000)
    assert OpenInference("big").read(response, 2).model == "m" * 200


def test_a_prediction_nested_without_end_is_none() -> None:
    nested = b'{"a":' * 500 + b"1" + b"}" * 500
    document = b'{"outputs": [{"name": "label", "shape": [1], "data": [' + nested + b"]}]}"
    with pytest.raises(InvalidAnswer, match="nested more than 64"):
        OpenInference("big", output_name="label", score_output="score").read(Response(200, {}, document), 1)


# texts: inputs as a column, classes as JSON or as a mapping


def test_inputs_of_one_value_may_go_as_a_column() -> None:
    column = OpenInference("big", datatype="BYTES", column=True)
    [tensor] = orjson.loads(column.build(["a", "b"]).body)["inputs"]
    assert (tensor["shape"], tensor["data"]) == ([2, 1], ["a", "b"])
    [tensor] = orjson.loads(column.build([["a", "b"], ["c", "d"]]).body)["inputs"]
    assert tensor["shape"] == [2, 2], "what has several values has its shape"


def texts(*data: Any, shape: list[int] | None = None) -> Response:
    output = {"name": "probabilities", "datatype": "BYTES", "shape": shape or [len(data)], "data": list(data)}
    return Response(200, {}, orjson.dumps({"model_name": "big", "outputs": [output]}))


NAMED = ClassReading(logits=False, labels=("negative", "positive"))
PAIR = '{"label": "POSITIVE", "score": 0.9}'
BOTH = '[{"label": "POSITIVE", "score": 0.9}, {"label": "NEGATIVE", "score": 0.1}]'


@pytest.mark.parametrize(
    "text",
    [
        PAIR, f"[{PAIR}]", BOTH, f"[{BOTH}]", "{0: 0.1, 1: 0.9}", '{"0": 0.1, "1": 0.9}', "{1: 0.9, 0: 0.1}",
        '{"positive": 0.9, "negative": 0.1}', "{'positive': 0.9, 'negative': 0.1}", "[0.1, 0.9]", "[[0.1, 0.9]]",
        '{"label": "LABEL_1", "score": 0.9}', "{0: np.float32(0.1), 1: np.float32(0.9)}",
        "{'label': 'Positive', 'score': tensor(0.9)}",
    ],
)  # fmt: skip
def test_classes_may_come_as_json_or_a_mapping_in_text(text: str) -> None:
    protocol = OpenInference("big", reading=NAMED)
    assert protocol.read(texts(text), 1).answers == [Answer("positive", about(0.9))]
    other = texts(text, "{0: 0.8, 1: 0.2}", shape=[2, 1])
    assert protocol.read(other, 2).answers == [Answer("positive", about(0.9)), Answer("negative", 0.8)]


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (["0.9:1:positive", "0.1:0:negative"], [1, 2]),
        (["0.9:1", "0.1:0"], [1, 2]),
        (["0.9:1:positive"], [1, 1]),
        (["0.9:1:positive"], [1]),
        (["0.9:1:positive", "0.1:0:negative"], [2]),
        ([["0.9:1:positive", "0.1:0:negative"]], [1, 1, 2]),
        (["9e-1:1:Positive"], [1, 1]),
    ],
)
def test_classes_as_triton_writes_them(data: Any, shape: list[int]) -> None:
    assert OpenInference("big", reading=NAMED).read(texts(*data, shape=shape), 1).answers == [Answer("positive", 0.9)]


def test_classes_as_triton_writes_them_a_row_an_input() -> None:
    protocol = OpenInference("big", reading=NAMED)
    data = ["0.9:1:positive", "0.1:0:negative", "0.8:0:negative", "0.2:1:positive"]
    assert protocol.read(texts(*data, shape=[2, 2]), 2).answers == [Answer("positive", 0.9), Answer("negative", 0.8)]
    assert protocol.read(texts(*data[::2], shape=[2]), 2).answers == [Answer("positive", 0.9), Answer("negative", 0.8)]
    for shape in ([2, 2], [4, 1]):
        with pytest.raises(InvalidAnswer, match="answers to 3 inputs"):
            protocol.read(texts(*data, shape=shape), 3)
    with pytest.raises(InvalidAnswer, match="none of the 2 labels"):
        protocol.read(texts("0.9:1:neutral"), 1)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"label": "positive", "score": "0.9"}', 0.9),
        ('{"label": "positive", "score": "90%"}', 0.9),
        ('{"label": "positive", "score": null}', None),
        ('[{"label": "positive", "score": null}, {"label": "negative", "score": null}]', None),
        ("{'positive': '0.9', 'negative': '0.1'}", 0.9),
    ],
)
def test_a_score_in_text_may_be_a_text_or_none(text: str, score: float | None) -> None:
    [answer] = OpenInference("big", reading=NAMED).read(texts(text), 1).answers
    assert (answer.prediction, answer.score) == ("positive", score)


@pytest.mark.parametrize(
    ("shape", "asked"), [([1, 1, 2], 1), ([2], 1), ([1, 2, 1], 1), ([2, 1, 2], 2), ([1, 2, 2], 2), ([2, 2, 1, 1], 2)]
)
def test_axes_of_one_element_make_no_difference(shape: list[int], asked: int) -> None:
    data = [0.25, 0.75] * asked
    assert OpenInference("big").read(answered(data, shape), asked).answers == [Answer(1, 0.75)] * asked


@pytest.mark.parametrize(("shape", "asked"), [([2, 1, 1], 1), ([2, 1], 1), ([4, 1, 1], 2), ([2, 2, 2], 2), ([4], 2)])
def test_axes_of_more_elements_do(shape: list[int], asked: int) -> None:
    with pytest.raises(InvalidAnswer):
        OpenInference("big").read(answered([0.5] * math.prod(shape), shape), asked)


def test_classes_in_text_have_every_score_of_classes_where_all_are_told() -> None:
    reading = ClassReading(logits=True, labels=("no", "yes"), score="pcs", temperature=2.0)
    numbers = OpenInference("big", reading=reading).read(answered([1.0, 3.0], [1, 2]), 1).answers
    assert OpenInference("big", reading=reading).read(texts("{0: 1.0, 1: 3.0}"), 1).answers == numbers
    [answer] = OpenInference("big", reading=ClassReading(logits=False, score="pcs")).read(texts(PAIR), 1).answers
    assert (answer.prediction, answer.score) == ("POSITIVE", None)
    assert "pcs needs all" in answer.unscored
    [answer] = OpenInference("big", reading=ClassReading(logits=True)).read(texts(PAIR), 1).answers
    assert (answer.prediction, answer.score) == ("POSITIVE", None)


def test_without_labels_classes_are_called_as_the_server_does() -> None:
    protocol = OpenInference("big")
    assert protocol.read(texts("{0: 0.1, 1: 0.9}"), 1).answers == [Answer(1, 0.9)]
    assert protocol.read(texts(BOTH), 1).answers == [Answer("POSITIVE", 0.9)]
    likeliest = '[{"label": "c", "score": 0.5}, {"label": "a", "score": 0.2}]'  # of more classes
    assert protocol.read(texts(likeliest), 1).answers == [Answer("c", 0.5)]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("positive", 'set output = "scored"'),
        ("", "neither JSON"),
        ("{}", "no classes"),
        ("[]", "no classes"),
        ("7", "no classes"),
        ('"positive"', "no classes"),
        ('{"label": "positive"}', "no classes"),
        ("0.9:positive", "neither JSON"),
        ("0.9:7:", "none of the 2 labels"),
        ("1.9:1:positive", "0..1"),
        ('{"label": "positive", "score": "high"}', "no classes"),
        ('{"label": "neutral", "score": 0.9}', "none of the 2 labels"),
        ('{"label": "LABEL_7", "score": 0.9}', "none of the 2 labels"),
        ('{"label": "positive", "score": 1.5}', "0..1"),
        ("{0: 0.9, 1: 0.9}", "sum to 1"),
        ("{0: nan, 1: 0.9}", "neither JSON"),
        ("__import__('os').system('true')", "neither JSON"),
        ("(" * 5000, "neither JSON"),
        ("[" * 5000 + "]" * 5000, "neither JSON"),
        ("{" + "0: 1, " * 100_000 + "}", "neither JSON"),
    ],
)
def test_a_text_without_classes_is_no_answer(text: str, match: str) -> None:
    with pytest.raises(InvalidAnswer, match=match) as caught:
        OpenInference("big", reading=NAMED).read(texts(text), 1)
    assert len(str(caught.value)) < 400
    with pytest.raises(InvalidAnswer, match="1 answers to 2"):
        OpenInference("big", reading=NAMED).read(texts(PAIR), 2)
