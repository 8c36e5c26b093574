"""The protocols that `[remote] protocol` may name, and what each means for other keys: scores, defaults, tables.

A name that is not listed is `module:callable`, the user's own: nothing is known about it before it is loaded. The
protocol itself is made in `streams/worker/protocols.py`; what does not fit it is found in `../fit_protocol.py`.
"""

from __future__ import annotations

from typing import Any

from ....agents.answers import Output
from ....agents.remote.protocols.anthropic.messages import AnthropicMessages
from ....agents.remote.protocols.generic_json import INPUTS, GenericJson
from ....agents.remote.protocols.open_inference import OpenInference
from ....agents.remote.protocols.openai_chat import OpenAIChat
from ....agents.remote.protocols.tei import Tei
from ....agents.remote.protocols.templates import names_in, parse_json
from ....agents.remote.spending.price import Bounded
from ....agents.supervision.scores import fitting
from .protocol_options import AnthropicOptions, ChatOptions, GenericOptions, TeiOptions

PROTOCOLS = ("open_inference", "openai_chat", "anthropic_messages", "tei", "generic_json")
#: the tables inside [remote], by protocol
TABLES: dict[str, type[ChatOptions | AnthropicOptions | TeiOptions | GenericOptions]] = {
    "openai_chat": ChatOptions,
    "anthropic_messages": AnthropicOptions,
    "tei": TeiOptions,
    "generic_json": GenericOptions,
}
#: name of the score that several answers to one question are given
AGREEMENT = "agreement"
#: name of the score that a model gives to its own answer, through a tool
SELF_REPORTED = "self_reported"
#: inputs of one call where [remote] batch_size is not set
_BATCH_SIZE = 8


def own_scores(protocol: str, output: str) -> list[str] | None:
    """The names of the scores that its answers can be given; None where the remote gives one of its own."""
    if protocol == "openai_chat":
        return sorted([*fitting("tokens", "labels", "classes"), AGREEMENT])
    if protocol == "anthropic_messages":
        return [AGREEMENT, SELF_REPORTED]
    if protocol == "tei" or (protocol == "open_inference" and output != "scored"):
        return fitting("classes")
    return None


def usual_score(protocol: str) -> str:
    """The name of that score where [remote] says none."""
    usual = {
        "open_inference": "max_softmax",
        "tei": "max_softmax",
        "openai_chat": "token_mean",
        "anthropic_messages": SELF_REPORTED,
    }
    return usual.get(protocol, "score")


def usual_output(protocol: str) -> Output:
    """What is read of its answers as a local model's; of a model in this process, '' for the protocol, logits."""
    usual: dict[str, Output] = {
        "": "logits",
        "open_inference": "probabilities",
        "tei": "probabilities",
        "openai_chat": "tokens",
    }
    return usual.get(protocol, "scored")


def needs_model(protocol: str) -> bool:
    """Whether the server must be told which of its models is asked."""
    return protocol in ("open_inference", "openai_chat", "anthropic_messages")


def bounds_answers(protocol: str) -> bool:
    """Whether it knows itself how long an answer can be. One of your own is not asked: it is made later."""
    known = {
        "open_inference": OpenInference,
        "openai_chat": OpenAIChat,
        "anthropic_messages": AnthropicMessages,
        "tei": Tei,
        "generic_json": GenericJson,
    }
    return issubclass(known.get(protocol, object), Bounded)


def usual_batch_size(data: dict[str, Any]) -> int:
    """Inputs in one call, from what is known of [remote]."""
    return 1 if asks_singly(data.get("protocol"), data.get("generic_json")) else _BATCH_SIZE


def asks_singly(protocol: str | None, generic: GenericOptions | None) -> bool:
    """Whether a call takes one input, and no more."""
    if protocol == "generic_json":
        return generic is not None and INPUTS not in names_in(parse_json(generic.body))
    return protocol in ("openai_chat", "anthropic_messages")
