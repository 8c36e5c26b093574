"""A model behind LiteLLM's proxy, which loads this file in an environment of its own. It knows log-probabilities."""

from __future__ import annotations

import math
from typing import Any

import litellm
from litellm.types.utils import ChatCompletionTokenLogprob, ChoiceLogprobs, Choices, Message, ModelResponse, Usage


class Sentiment(litellm.CustomLLM):  # type: ignore[misc]  # litellm is not installed where types are checked
    async def acompletion(self, *args: Any, **kwargs: Any) -> ModelResponse:
        text, options = kwargs["messages"][-1]["content"], kwargs["optional_params"]
        label = "positive" if "good" in text else "negative"
        probability = 0.6 if "?" in text else 0.9
        token = ChatCompletionTokenLogprob(token=label, logprob=math.log(probability), top_logprobs=[])
        told = ChoiceLogprobs(content=[token]) if options.get("logprobs") else None
        whole = (options.get("max_completion_tokens") or options.get("max_tokens") or 16) > 1
        message = Message(role="assistant", content=label)
        choice = Choices(message=message, finish_reason="stop" if whole else "length", logprobs=told)
        usage = Usage(prompt_tokens=9, completion_tokens=1, total_tokens=10)
        return ModelResponse(model="sentiment", choices=[choice] * (options.get("n") or 1), usage=usage)


sentiment = Sentiment()
