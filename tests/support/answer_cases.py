"""Answers that are there, in ways of the servers' own, and scores of the right tokens: cases as in `server_cases`."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import cramjam
import orjson
from bisupervised.agents.remote.transport import Response

from .far_end import Asked
from .far_end import answer as well
from .remotes import answered, token
from .server_cases import CHAT, Case, completion, said

LIKELY = 0.99  #: the probability of the token of `completion`
_CHAT = "BISUPERVISED_REMOTE__OPENAI_CHAT"


def chat_options(**options: Any) -> dict[str, str]:
    """These in the table of chat completions, with the answer's tokens scored as in the example."""
    return {_CHAT: orjson.dumps({"prompt": "{input}", "temperature": 0} | options).decode()}


def encoded(how: str, compress: Callable[[bytes], Any]) -> Response:
    response = completion()
    return Response(200, {**response.headers, "content-encoding": how}, bytes(compress(response.body)))


def tokens(*told: tuple[str, float], content: Any = "positive") -> Response:
    """An answer with these tokens, each with its probability."""
    return completion(content, logprobs={"content": [token(text, math.log(chance)) for text, chance in told]})


def tops(*told: tuple[str, float, Mapping[str, float]], content: str) -> Response:
    """The same with the probabilities of the tokens that might have stood there."""
    listed = [
        token(text, math.log(chance), {name: math.log(of) for name, of in top.items()}) for text, chance, top in told
    ]
    return completion(content, logprobs={"content": listed})


def stream(*deltas: Mapping[str, Any], kind: str = "text/event-stream", end: str = "\n\n") -> Response:
    """Chunks of one choice, although nobody asked for a stream."""
    chunks = [{"model": "large", "choices": [{"index": 0, "finish_reason": None, **each}]} for each in deltas]
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}
    lines = [f"data: {orjson.dumps(chunk).decode()}{end}" for chunk in (*chunks, usage)]
    return Response(200, {"content-type": kind}, "".join([*lines, f"data: [DONE]{end}"]).encode())


def written(text: str) -> dict[str, Any]:
    return {"delta": {"content": text}, "logprobs": {"content": [token(text, math.log(LIKELY))]}}


STREAM: tuple[dict[str, Any], ...] = (
    {"delta": {"role": "assistant", "content": ""}},
    written("posi"),
    written("tive"),
    {"delta": {}},
)
ENDED = (*STREAM[:-1], {"delta": {}, "finish_reason": "stop"})
THOUGHT = (("<think>", 0.9), ("hm", 0.05), (" maybe", 0.03), ("</think>", 0.8))
CLASSES = {"answer": "label", "max_tokens": 3}


def without(*options: str) -> Callable[[Asked], Response]:
    """A server that refuses calls with these options."""

    def handle(asked: Asked) -> Response:
        document = orjson.loads(asked.body)
        if set(options) & set(document):
            return said({"error": {"message": "Unknown parameter", "type": "invalid_request_error"}}, 400)
        return well(Asked(asked.method, asked.path, asked.headers, orjson.dumps(document | {"response_format": None})))

    return handle


def column(asked: Asked) -> Response:
    """A model of texts that takes [n, 1] alone, as Triton says it."""
    document = orjson.loads(asked.body)
    [tensor] = document["inputs"]
    shape = tensor["shape"]
    if shape[1:] != [1]:
        return said(
            {"error": f"unexpected shape for input 'input' for model 'large'. Expected [-1,1], got {shape}"}, 400
        )
    tensor["shape"] = shape[:1]
    return well(Asked(asked.method, asked.path, asked.headers, orjson.dumps(document)))


def texts(text: str) -> Callable[[Asked], Response]:
    """The same text for each input."""

    def handle(asked: Asked) -> Response:
        [tensor] = orjson.loads(asked.body)["inputs"]
        count = len(tensor["data"])
        output = {"name": "probabilities", "shape": [count, 1], "datatype": "BYTES", "data": [text] * count}
        return answered({"model_name": "large", "outputs": [output]})

    return handle


def tensors(shape: list[int], kind: str, data: list[Any]) -> Response:
    """This output, whatever is asked."""
    output = {"name": "probabilities", "shape": shape, "datatype": kind, "data": data}
    return answered({"model_name": "large", "outputs": [output]})


def there(name: str, answer: Any, *scores: float | None, settings: Mapping[str, str] | None = None) -> Case:
    """All six are answered with it at once, with one of these scores."""
    return Case(name, CHAT, answer, "answer", settings=settings or {}, scores=scores or (LIKELY,))


READ = (
    there("content in parts", completion([{"type": "thinking", "text": "no"}, {"type": "text", "text": "positive"}])),
    there("content in parts without types", completion([{"text": "posi"}, "tive"])),
    there("content in one part", completion({"type": "text", "text": "positive"})),
    *(
        there(f"whole, said as {word}", completion(finish_reason=word))
        for word in ("eos", "eos_token", "end_turn", "STOP")
    ),
    there("whole, in another word", completion(finish_reason="Done"), settings=chat_options(finish_reasons=["done"])),
    there("usage of fractions", completion(usage={"prompt_tokens": 12.0, "completion_tokens": 1.0})),
    there("usage with lists", completion(usage={"prompt_tokens": 12, "prompt_tokens_details": [{"tokens": 12}]})),
    there("usage in words", completion(usage="12 tokens")),
    there("fields of other shapes", completion(id=7, created="now", object=[], system_fingerprint={})),
    there("always gzip", encoded("gzip", gzip.compress)),
    there("always deflate", encoded("deflate", zlib.compress)),
    there("always br", encoded("br", cramjam.brotli.compress)),
    there("always zstd", encoded("zstd", cramjam.zstd.compress)),
    there("a stream", stream(*ENDED)),
    there("a stream of another type", stream(*ENDED, kind="application/json")),
    there(
        "a stream behind a long comment",
        Response(200, {}, b"\n" * 400 + b": " + b"x" * 9000 + b"\n\n" + stream(*ENDED).body),
    ),
    there("a stream with NaN", Response(200, {}, stream(*ENDED).body.replace(b'"index":0', b'"index":0,"t":NaN'))),
    there(
        "always gzip, and a line end",
        Response(200, {"content-encoding": "gzip"}, gzip.compress(completion().body) + b"\r\n"),
    ),
    there("gzip, said twice", encoded("gzip, gzip", gzip.compress)),
    there("gzip, not said", Response(200, {}, gzip.compress(completion().body))),
    there("a stream with lines as Windows ends them", stream(*ENDED, end="\r\n\r\n")),
    there("a byte order mark", Response(200, {}, b"\xef\xbb\xbf" + completion().body)),
    there(
        "in a fence",
        tokens(("```\n", 0.5), ("positive", LIKELY), ("\n```", 0.5), content="```\npositive\n```"),
        settings=chat_options(unwrap=True),
    ),
    there(
        "behind its reasoning",
        tokens(*THOUGHT, ("positive", LIKELY), content="<think>hm maybe</think>positive"),
        settings=chat_options(unwrap=True),
    ),
)

LABELS = (
    *(
        there(f"a label as {text}", tokens((text, LIKELY), content=text))
        for text in ("Positive", "POSITIVE.", " positive\n", "**positive**", "<b>Positive</b>", '"positive"')
    ),
    *(
        there(f"a label as {text}", completion(text, logprobs=None), None)
        for text in (
            "Label: positive",
            "1. positive",
            "ｐｏｓｉｔｉｖｅ",
            '{"label": "positive"}',
            "Answer: **Positive**",
        )
    ),
    there(
        "the labels go out as a schema",
        tokens(('{"label":', 0.5), ('"positive', LIKELY), ('"}', 0.5), content='{"label":"positive"}'),
        settings=chat_options(**CLASSES),
    ),
    Case("a server without schemas", CHAT, without("response_format"), "answer", settings=chat_options(**CLASSES)),
    Case(
        "a server without schemas and grammars",
        CHAT,
        without("response_format", "grammar"),
        "answer",
        settings=chat_options(**CLASSES),
    ),
    there(
        "the probability of a label",
        tops(("Pos", 0.5, {"Pos": 0.5, "positive": 0.2, "neg": 0.1}), ("itive", 0.9, {}), content="Positive"),
        0.7,
        settings={"BISUPERVISED_REMOTE__SUPERVISOR": "label_softmax"},
    ),
    there(
        "the margin of a label",
        tops(("Pos", 0.5, {"Pos": 0.5, "positive": 0.2, "neg": 0.1}), ("itive", 0.9, {}), content="Positive"),
        0.6,
        settings={"BISUPERVISED_REMOTE__SUPERVISOR": "pcs"},
    ),
)

SCORED = (
    there("reasoning in the log-probabilities", tokens(*THOUGHT, ("positive", LIKELY))),
    there(
        "reasoning of another tag",
        tokens(("<seed:think>", 0.9), ("hm", 0.1), ("</seed:think>", 0.9), ("positive", LIKELY)),
    ),
    there("reasoning without tags", tokens(("hm", 0.05), (" so", 0.1), (" positive", LIKELY)), None),
    there("reasoning in words", tokens(("Here is my thought process:", 0.5), (" positive", LIKELY)), None),
    there("reasoning of another tag without end", tokens(("<seed:think>", 0.9), (" positive", LIKELY)), None),
    there("a special token at the end", tokens(("positive", LIKELY), ("<|im_end|>", 0.2))),
    there("log-probabilities of reasoning alone", tokens(*THOUGHT), None),
    there("reasoning that ends like the answer", tokens(("<think>", 0.9), (" positive", 0.05)), None),
    there("log-probabilities of another text", tokens(("neg", 0.9), ("ative", 0.9)), None),
    there("no log-probabilities", completion(logprobs=None), None),
    there("log-probabilities of another shape", completion(logprobs={"content": "none"}), None),
)

REFUSED = (
    Case("a label of another kind", CHAT, completion("neutral"), "spoil one"),
    Case("two labels", CHAT, completion("positive or negative"), "spoil one"),
    Case("the opposite", CHAT, completion("not positive"), "spoil one"),
    Case("cut off", CHAT, completion("posi", finish_reason="length"), "spoil one"),
    Case("the opposite behind a colon", CHAT, completion("Label: not positive"), "spoil one"),
    Case("a label in the reasoning", CHAT, completion("<seed:think>positive</seed:think>"), "spoil one"),
    Case("an encoding of its own", CHAT, encoded("lzw", bytes), "spoil one"),
    Case("a stream that breaks off", CHAT, stream(*STREAM), "spoil one"),
    Case("another case of a label, to the letter", CHAT, completion("Positive"), "spoil one",
         settings={"BISUPERVISED_REMOTE__EXACT_LABELS": "true"}),
    Case("reasoning without end", CHAT, completion("<think>positive"), "spoil one", settings=chat_options(unwrap=True)),
    Case("a bomb", CHAT, Response(200, {"content-encoding": "gzip"}, gzip.compress(bytes(2**22))), "spoil one"),
    Case("not what it says, gzip", CHAT, Response(200, {"content-encoding": "gzip"}, completion().body), "spoil one"),
)  # fmt: skip

TENSORS = (
    Case(
        "texts in a column",
        "open_inference",
        column,
        "answer",
        settings={"BISUPERVISED_REMOTE__INPUT_SHAPE": "column"},
        scores=(0.9,),
    ),
    *(
        Case(f"probabilities as the text {text}", "open_inference", texts(text), "answer", scores=(LIKELY,))
        for text in (
            "{0: 0.01, 1: 0.99}",
            '{"label": "POSITIVE", "score": 0.99}',
            '[{"label": "positive", "score": 0.99}, {"label": "negative", "score": 0.01}]',
            '{"negative": 0.01, "positive": 0.99}',
            '[{"label": "LABEL_1", "score": 0.99}]',
            "[0.01, 0.99]",
        )
    ),
)

FAILED = (
    Case(
        "a failure in a stream, by its own name",
        CHAT,
        Response(200, {}, stream(*STREAM).body[:-14] + b'error: {"code": 503, "message": "loading"}\n\n'),
        "answer",
        first=2,
    ),
    Case(
        "a failure in a stream with NaN",
        CHAT,
        Response(200, {}, b'data: {"error": {"code": 503, "t": NaN}}\n\n'),
        "answer",
        first=2,
    ),
    *(
        Case(
            f"a failure in a stream: {said_.decode()}",
            CHAT,
            Response(200, {}, stream(*STREAM).body[:-14] + said_ + b"\n\n"),
            "answer",
            first=2,
        )
        for said_ in (
            b"error: out of memory",
            b'event: error\ndata: {"message": "overloaded", "type": "overloaded_error"}',
            b'data: {"error": {"code": 503, "message": "late"}}',
        )
    ),
    Case(
        "a failure at the end of a long stream",
        CHAT,
        Response(200, {}, stream(*STREAM * 300).body[:-14] + b'error: {"code": 503}\n\n'),
        "answer",
        first=2,
    ),
    Case("nothing, compressed", CHAT, Response(200, {"content-encoding": "gzip"}, b""), "answer", first=2),
)

ALONE = {"BISUPERVISED_REMOTE__BATCH_SIZE": "1"}
CLASSIFIED = (
    *(
        Case(f"classes of a text classifier: {name}", "tei", said(document), "answer", settings=ALONE, scores=(score,))
        for name, document, score in (
            ("a flat list", [{"label": "positive", "score": 0.99}, {"label": "negative", "score": 0.01}], LIKELY),
            ("one class", [[{"label": "positive", "score": 0.99}]], LIKELY),
            ("no score", [[{"label": "positive", "score": None}, {"label": "negative", "score": None}]], None),
            ("a score as text", [[{"label": "POSITIVE", "score": "0.99"}, {"label": "n", "score": "1%"}]], LIKELY),
        )
    ),
    *(
        Case(f"classes as a tensor of {shape}: {data[0]}", "open_inference", tensors(shape, kind, data), "answer",
             settings=ALONE, scores=(LIKELY,))
        for shape, kind, data in (
            ([1, 1, 2], "FP32", [0.01, LIKELY]),
            ([2], "FP32", [0.01, LIKELY]),
            ([1, 2], "BYTES", ["0.99:1:positive", "0.01:0:negative"]),
            ([1, 1], "BYTES", ["0.99:1"]),
        )
    ),
)  # fmt: skip

ANSWERS = CLASSIFIED + FAILED + READ + LABELS + SCORED + REFUSED + TENSORS
