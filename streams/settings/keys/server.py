"""How a server of models is spoken to: `[remote]` says so, and `[local]` may."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from .protocol_options import AnthropicOptions, ChatOptions, GenericOptions, TeiOptions
from .protocols import PROTOCOLS
from .table import Table
from .values import MODULE_CALLABLE, Name, header_name, http_url, plain_headers


def protocol_name(name: str) -> str:
    if name in PROTOCOLS or MODULE_CALLABLE.fullmatch(name):
        return name
    raise ValueError(f"must be one of {', '.join(PROTOCOLS)}, or module:callable")


class Server(Table):
    """What is asked over HTTP: how the server is spoken to. `[remote]` is, and `[local]` may be."""

    url: Annotated[str, AfterValidator(http_url)] = Field(
        examples=["http://127.0.0.1:8080"], description="base address, such as http://127.0.0.1:8080"
    )
    protocol: Annotated[str, AfterValidator(protocol_name)] = Field(
        default="open_inference",
        description=f"what the server speaks: {', '.join(PROTOCOLS)}, or module:callable for one of your own",
    )
    # None stands for not given, and ends as ''
    model: str = Field(
        default=None, validate_default=True, examples=["large"], description="the server's name for its model"
    )
    input_name: Name = Field(default="input", description="name of the input tensor")
    datatype: Literal[
        "BOOL",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "FP16",
        "FP32",
        "FP64",
        "BYTES",
    ] = Field(default="FP32", description="type of the input tensor's elements")
    input_shape: Literal["as_given", "column"] = Field(
        default="as_given",
        description="column sends n inputs of one value each as [n, 1], which Triton's models of text want, not as [n]",
    )
    output_name: Name = Field(default="probabilities", description="name of the output tensor to read")
    score_output: Name = Field(
        default="score", description='name of the tensor with one score an input, where output = "scored"'
    )
    exact_labels: bool = Field(
        default=False,
        description="true takes an answer for a label to the letter only; false ignores case, and white space, "
        "punctuation and mark-up around it",
    )
    openai_chat: ChatOptions | None = Field(default=None, description="table for protocol = 'openai_chat'")
    anthropic_messages: AnthropicOptions | None = Field(
        default=None, description="table for protocol = 'anthropic_messages'"
    )
    tei: TeiOptions | None = Field(default=None, description="table for protocol = 'tei'")
    generic_json: GenericOptions | None = Field(default=None, description="table for protocol = 'generic_json'")
    options: dict[str, Any] = Field(default={}, description="table that a protocol of your own is made with")
    api_key: SecretStr | None = Field(default=None, description="the key to the server, from the environment only")
    api_key_file: str = Field(default="", description="file that holds the key to the server; '' for none")
    api_key_header: Annotated[str, AfterValidator(header_name)] = Field(
        default="authorization", description="header that carries the key"
    )
    api_key_scheme: str = Field(default="Bearer", description="word before the key in that header; '' for none")
    headers: Annotated[dict[str, str], AfterValidator(plain_headers)] = Field(
        default={}, repr=False, description="further headers of every call"
    )


#: keys that say how a server is spoken to
OF_SERVERS = tuple(Server.model_fields)
