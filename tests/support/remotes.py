"""Documents as real servers write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from bisupervised.agents.remote.transport import Response


def choice(
    content: str | None, logprobs: Sequence[float | None] | None = None, finish_reason: str | None = "stop", **more: Any
) -> dict[str, Any]:
    """One choice of a chat completion."""
    message = {"role": "assistant", "content": content, "refusal": None} | more
    told = {"content": _tokens(content or "", logprobs), "refusal": None} if logprobs is not None else None
    return {"index": 0, "message": message, "logprobs": told, "finish_reason": finish_reason}


def _tokens(content: str, logprobs: Sequence[float | None]) -> list[dict[str, Any]]:
    """The content cut into as many tokens: a letter each, and the rest."""
    last = len(logprobs) - 1
    return [token(content[at : None if at == last else at + 1], logprob) for at, logprob in enumerate(logprobs)]


def token(text: str, logprob: float | None, top: Mapping[str, float] | None = None) -> dict[str, Any]:
    """A token as it is told, with those that might have stood in its place."""
    others = [{"token": other, "logprob": value, "bytes": list(other.encode())} for other, value in (top or {}).items()]
    return {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": others}


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
