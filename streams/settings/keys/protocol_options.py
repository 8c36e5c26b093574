"""The tables of `[remote]` that only one protocol has, each named like it. What the keys mean to a server stands in
`agents/remote/`, in the file of the protocol.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from ....agents.remote.protocols.endings import WHOLE
from ....agents.remote.protocols.generic_json import TRANSFORMS
from ....agents.remote.protocols.templates import parse, parse_json
from .table import Table
from .values import Count, Integer, Number

_HTTP_PATH = re.compile(r"/[!-~]*")
#: written by the adapter itself
_CHAT_FIELDS = ("model", "messages", "n", "logprobs", "top_logprobs", "response_format", "stream", "tools")
_MESSAGE_FIELDS = ("model", "messages", "stream", "tools", "tool_choice")


def _template(text: str) -> str:
    parse(text)
    return text


def _json_template(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    parse_json(value)
    return value


def _http_path(path: str) -> str:
    if not _HTTP_PATH.fullmatch(path):
        raise ValueError("must be a path such as /v1/predict")
    return path


def _transform(name: str) -> str:
    if name not in TRANSFORMS:
        raise ValueError(f"must be one of {', '.join(TRANSFORMS)}")
    return name


_Text = Annotated[str, AfterValidator(_template)]
_Json = Annotated[Any, AfterValidator(_json_template)]
_Path = Annotated[str, AfterValidator(_http_path)]


class ChatOptions(Table):
    """`[remote.openai_chat]`: chat completions."""

    path: _Path = Field(default="/v1/chat/completions", description="path below the url")
    prompt: _Text = Field(
        default="{input}", description="the user's message; {input} is the model's input, {field} a field that is sent"
    )
    system: _Text = Field(default="", description="the system's message, a template as well; '' for none")
    max_tokens: Count = Field(default=256, description="tokens an answer may have; a longer one is no answer")
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = Field(
        default="max_completion_tokens", description="what the server calls it; max_tokens for older ones"
    )
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = Field(
        default=None,
        examples=[0.0],
        description="0 for the likeliest answer, up to 2; the server's own where it is not set",
    )
    seed: Integer | None = Field(
        default=None, examples=[1], description="for answers that can be had again, where the server knows it"
    )
    top_logprobs: Annotated[Integer, Field(ge=0, le=20)] = Field(
        default=5, description="asked for beside each token; some servers score nothing without"
    )
    samples: Count = Field(default=1, description="answers to one input, for supervisor = 'agreement'")
    samples_by: Literal["n", "calls"] = Field(
        default="n", description="n: all in one call; calls: a call each, for servers that do not know n"
    )
    answer: Literal["text", "label"] = Field(
        default="text",
        description="label: the server is held to [remote] labels; max_tokens grows where the longest does not fit",
    )
    label_by: Literal["learn", "json_schema", "grammar", "prompt"] = Field(
        default="learn",
        description="how it is held: by a schema, by a GBNF grammar (llama.cpp), by the prompt alone; learn takes the "
        "first of these that the server does not refuse",
    )
    unwrap: bool = Field(
        default=False,
        description="true reads the answer out of <think>…</think> and the like, a code fence or <answer> tags",
    )
    finish_reasons: tuple[str, ...] = Field(
        default=(),
        examples=[["done"]],
        description=f"further words of finish_reason for a whole answer, beside {', '.join(WHOLE)}, in any case",
    )
    response_format: Literal["text", "json_object", "json_schema"] = Field(
        default="text", examples=["json_schema"], description="what an answer is"
    )
    json_schema: dict[str, Any] | None = Field(
        default=None,
        validate_default=True,
        examples=[{"type": "object", "properties": {"label": {"type": "string"}}}],
        description="schema of an answer, a table, for json_schema",
    )
    answer_path: str = Field(
        default="",
        examples=["label"],
        description="where the prediction stands in a JSON answer, as in a.b; '' takes all of it",
    )
    extra: dict[str, Any] = Field(default={}, description="further fields of the call, as they are")

    @field_validator("json_schema")
    @classmethod
    def _schema(cls, schema: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
        wanted = info.data.get("response_format") == "json_schema"
        if wanted and schema is None:
            raise ValueError('must be given for response_format = "json_schema"')
        if schema is not None and not wanted and "response_format" in info.data:
            raise ValueError('has no use without response_format = "json_schema"')
        return schema

    @field_validator("response_format")
    @classmethod
    def _response_format(cls, name: str, info: ValidationInfo) -> str:
        if name != "text" and info.data.get("answer") == "label":
            raise ValueError('must be text for answer = "label", which makes a schema of its own')
        return name

    @field_validator("answer_path")
    @classmethod
    def _answer_path(cls, path: str, info: ValidationInfo) -> str:
        if path and info.data.get("response_format") == "text":
            raise ValueError('has no use with response_format = "text"')
        return path

    @field_validator("samples_by")
    @classmethod
    def _samples_by(cls, by: str, info: ValidationInfo) -> str:
        if by == "calls" and info.data.get("seed") is not None:
            raise ValueError("with a seed, every call would give the same answer")
        return by

    @field_validator("extra")
    @classmethod
    def _extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        own = {*_CHAT_FIELDS, *cls.model_fields}
        if taken := sorted(own & set(extra)):
            raise ValueError(f"must not hold {', '.join(taken)}: this is set elsewhere, or not supported")
        return extra


class AnthropicOptions(Table):
    """`[remote.anthropic_messages]`: Anthropic's messages."""

    path: _Path = Field(default="/v1/messages", description="path below the url")
    version: str = Field(
        default="2023-06-01", pattern=r"[!-~]+", description="of the interface: the header anthropic-version"
    )
    prompt: _Text = Field(
        default="{input}", description="the user's message; {input} is the model's input, {field} a field that is sent"
    )
    system: _Text = Field(default="", description="the system's message, a template as well; '' for none")
    max_tokens: Count = Field(default=256, description="tokens an answer may have; a longer one is no answer")
    temperature: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        default=None,
        examples=[0.0],
        description="0 for the likeliest answer, up to 1; the server's own where it is not set",
    )
    samples: Count = Field(default=1, description="answers to one input, a call each, for supervisor = 'agreement'")
    unwrap: bool = Field(
        default=False, description="true reads the answer out of a code fence or <answer> tags, and without reasoning"
    )
    extra: dict[str, Any] = Field(default={}, description="further fields of the call, as they are")

    @field_validator("extra")
    @classmethod
    def _extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        own = {*_MESSAGE_FIELDS, *cls.model_fields}
        if taken := sorted(own & set(extra)):
            raise ValueError(f"must not hold {', '.join(taken)}: this is set elsewhere, or not supported")
        return extra


class TeiOptions(Table):
    """`[remote.tei]`: Text Embeddings Inference."""

    path: _Path = Field(default="/predict", description="path below the url")
    raw_scores: bool = Field(default=False, description="true asks for logits")
    truncate: bool = Field(default=False, description="true lets the server cut off an input that is too long")


class GenericOptions(Table):
    """`[remote.generic_json]`: any server of JSON."""

    method: Literal["POST", "PUT", "PATCH"] = Field(default="POST", description="HTTP method")
    path: _Path = Field(default="/", description="path below the url")
    body: _Json = Field(
        examples=[{"text": "{input}"}],
        description="a table with {input} or fields that are sent in its texts; {inputs} for many in one call",
    )
    item: _Json = Field(default="{input}", description="what each of {inputs} becomes, text or a table")
    answers: str = Field(
        default="", description="path of the list of answers for {inputs}, or of the one answer; '' takes all"
    )
    prediction: str = Field(
        examples=["label"], description="path of the prediction in an answer, as in choices.0.text; '' takes all of it"
    )
    score: str = Field(default="", description="path of the score in an answer, as in data.0.probs; '' for none")
    transform: Annotated[str, AfterValidator(_transform)] = Field(
        default="identity", description=f"what makes a score of it: {', '.join(TRANSFORMS)}"
    )
    require: dict[str, tuple[Any, ...]] = Field(
        default={}, description="paths in an answer, each with the list of values that may stand there"
    )
    model_path: str = Field(default="", description="path of the model's name in a response; '' takes [remote] model")
    prompt_tokens: str = Field(
        default="", description="path of the tokens read in a response, or several with + between; '' for none"
    )
    completion_tokens: str = Field(default="", description="path of the tokens written in a response; '' for none")
    cached_tokens: str = Field(
        default="", description="path of those read that were cached and have a price of their own; '' for none"
    )
    cache_write_tokens: str = Field(
        default="", description="path of those read that are kept for calls to come, and have one; '' for none"
    )
