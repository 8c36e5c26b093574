"""A server that follows the shapes of the real ones, errors included: one model of sentiment, behind every protocol.

A text is positive where it has "good" in it. It is sure of itself (0.9), but not of a question (0.6). `answer` is a
pure function, for the scripted transport; `serve` puts it behind HTTP on 127.0.0.1.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from bisupervised.agents.remote.transport import Response

from .remotes import answered, chat_completion, choice

KEY = "sk-canary-0123456789abcdef"
LABELS = ("negative", "positive")


class Asked(NamedTuple):
    """A call as the server sees it."""

    method: str
    path: str
    headers: Mapping[str, str]  #: names in lower case
    body: bytes


def judge(text: str) -> tuple[str, float]:
    """The answer to a text and its probability."""
    return LABELS["good" in text], 0.6 if "?" in text else 0.9


def answer(asked: Asked) -> Response:
    """What the server that owns this path says."""
    handle = _HANDLERS.get(asked.path)
    if handle is None:
        return answered({"error": {"message": "no such path", "code": 404}}, 404)
    if (refused := _unauthorized(asked)) is not None:
        return refused
    try:
        document = orjson.loads(asked.body)
    except orjson.JSONDecodeError:
        return answered({"error": "bad JSON"}, 400)
    return handle(document)


def _unauthorized(asked: Asked) -> Response | None:
    """Servers that want no key take any. The others quote a wrong one, as some do."""
    given = asked.headers.get("x-api-key") or asked.headers.get("authorization", "").removeprefix("Bearer ")
    if not given or given == KEY:
        return None
    error = {"message": f"Incorrect API key provided: {given}", "type": "invalid_request_error"}
    return answered({"error": error | {"param": None, "code": "invalid_api_key"}}, 401, x_echo=given)


def _openai_error(status: int, message: str, code: str | None, **headers: str) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return answered({"error": error}, status, **headers)


def _chat(document: Any) -> Response:
    if document.get("model") != "large":
        return _openai_error(404, "The model does not exist", "model_not_found")
    text = document["messages"][-1]["content"]
    label, probability = judge(text)
    if (special := _special(text)) is not None:
        return special
    if "schema" in str(document.get("response_format")):
        label = orjson.dumps({"label": label}).decode()
    # as some do, nothing without top_logprobs
    wanted = document.get("logprobs") and document.get("top_logprobs")
    logprobs = [math.log(probability)] if wanted else None
    whole = document.get("max_completion_tokens", document.get("max_tokens", 16)) > 1
    one = choice(label, logprobs) if whole else choice(label[:4], logprobs, finish_reason="length")
    return answered(chat_completion(*[one] * document.get("n", 1)), x_ratelimit_remaining_requests="59")


def _special(text: str) -> Response | None:
    """Texts that ask for trouble."""
    if "refuse" in text:
        return answered(chat_completion(choice(None, refusal="I cannot help with that.")))
    if "filter" in text:
        return _openai_error(400, "The prompt was filtered", "content_filter")
    if "too long" in text:
        return _openai_error(400, "This model's maximum context length is 8 tokens", "context_length_exceeded")
    if "broke" in text:
        return _openai_error(429, "You exceeded your current quota", "insufficient_quota")
    if "neutral" in text:
        return answered(chat_completion(choice("neutral", [-0.1])))
    return None


def _tei(document: Any) -> Response:
    """A list of lists is a batch, a flat one is a single input of its texts, as in the real one."""
    inputs = document["inputs"]
    if not inputs:
        return answered({"error": "`inputs` cannot be empty", "error_type": "empty"}, 400)
    if len(inputs) > 32:
        return answered({"error": f"batch size {len(inputs)} > 32", "error_type": "validation"}, 413)
    if any("too long" in " ".join(texts) for texts in inputs if isinstance(texts, list)):
        return answered({"error": "`inputs` must have less than 512 tokens", "error_type": "validation"}, 413)
    batched = isinstance(inputs[0], list)
    rows = [_tei_row(" ".join(texts)) for texts in (inputs if batched else [inputs])]
    return answered(rows if batched else rows[0], x_compute_tokens=str(8 * len(rows)))


def _tei_row(text: str) -> list[dict[str, Any]]:
    label, probability = judge(text)
    [other] = {*LABELS} - {label}
    return [{"score": probability, "label": label}, {"score": 1 - probability, "label": other}]


def _classify(document: Any) -> Response:
    if document.get("model") != "large":
        error = {"message": "The model does not exist.", "type": "NotFoundError", "param": None, "code": 404}
        return answered({"error": error}, 404)
    data = []
    for index, text in enumerate(document["input"]):
        label, probability = judge(text)
        probs = [1 - probability, probability] if label == "positive" else [probability, 1 - probability]
        data.append({"index": index, "label": label, "probs": probs, "num_classes": 2})
    usage = {"prompt_tokens": 8 * len(data), "total_tokens": 8 * len(data), "completion_tokens": 0}
    return answered({"id": "classify-1", "object": "list", "model": "large", "data": data, "usage": usage})


def _completions(document: Any) -> Response:
    if (special := _special(document["prompt"])) is not None and special.status != 200:
        return special
    label, probability = judge(document["prompt"])
    logprobs = {"tokens": [label], "token_logprobs": [math.log(probability)], "top_logprobs": [{}]}
    given = logprobs if document.get("logprobs") else None
    one = {"index": 0, "text": f" {label}", "logprobs": given, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    return answered({"object": "text_completion", "model": "large", "choices": [one], "usage": usage})


def _messages(document: Any) -> Response:
    if document.get("tool_choice", {}).get("type") != "tool" or "max_tokens" not in document:
        error = {"type": "invalid_request_error", "message": "tool_choice: Field required"}
        return answered({"type": "error", "error": error}, 400)
    text = document["messages"][0]["content"]
    label, confidence = judge(text)
    tool = {"type": "tool_use", "id": "toolu_1", "name": "answer", "input": {"label": label, "confidence": confidence}}
    usage = {"input_tokens": 9, "output_tokens": 2, "cache_read_input_tokens": 0}
    stopped = "max_tokens" if "too long" in text else "tool_use"
    return answered({"type": "message", "model": "large", "content": [tool], "stop_reason": stopped, "usage": usage})


def _infer(document: Any) -> Response:
    [tensor] = document["inputs"]
    if tensor["datatype"] != "BYTES" or len(tensor["shape"]) != 1:
        return answered({"error": f"unexpected shape {tensor['shape']} for input 'input'"}, 400)
    if any("too long" in text for text in tensor["data"]):
        return answered({"error": "an input is too long"}, 400)
    data: list[float] = []
    for text in tensor["data"]:
        label, probability = judge(text)
        data += [1 - probability, probability] if label == "positive" else [probability, 1 - probability]
    output = {"name": "probabilities", "datatype": "FP32", "shape": [len(data) // 2, 2], "data": data}
    return answered({"model_name": "large", "model_version": "1", "outputs": [output]})


_HANDLERS: dict[str, Callable[[Any], Response]] = {
    "/v1/chat/completions": _chat,
    "/predict": _tei,
    "/classify": _classify,
    "/v1/completions": _completions,
    "/v1/messages": _messages,
    "/v2/models/large/infer": _infer,
}


@asynccontextmanager
async def serve(handle: Callable[[Asked], Response]) -> AsyncIterator[str]:
    """Serve these answers on a free port of 127.0.0.1; gives the URL."""

    async def respond(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        response = handle(Asked(request.method, request.path, headers, await request.read()))
        return web.Response(status=response.status, headers=response.headers, body=response.body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
