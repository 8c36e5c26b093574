"""Documents as real servers write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from bisupervised.agents.remote.transport import Response


def choice(
    content: str | None, logprobs: Sequence[float | None] | None = None, finish_reason: str | None = "stop", **more: Any
) -> dict[str, Any]:
    """One choice of a chat completion."""
    message = {"role": "assistant", "content": content, "refusal": None} | more
    told = {"content": [_token(value) for value in logprobs], "refusal": None} if logprobs is not None else None
    return {"index": 0, "message": message, "logprobs": told, "finish_reason": finish_reason}


def _token(logprob: float | None) -> dict[str, Any]:
    return {"token": "a", "logprob": logprob, "bytes": [97], "top_logprobs": []}


def chat_completion(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A response of `/v1/chat/completions`."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "large",
        "choices": [each | {"index": index} for index, each in enumerate(choices)],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    } | more


def answered(document: Any, status: int = 200, **headers: str) -> Response:
    """A response with this document."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {"Content-Type": "application/json"} | named, orjson.dumps(document))
