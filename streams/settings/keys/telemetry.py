"""What is seen of a worker: `[web]` and `[log]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from .table import Table
from .values import Count, Name, Seconds, address, no_boolean, picture_shape, upper

_Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(upper)]


class WebSettings(Table):
    """The worker's page, its health and its metrics."""

    enabled: bool = Field(default=True, description="true serves the page, /live, /ready and /metrics")
    host: Annotated[str, AfterValidator(address)] = Field(
        default="127.0.0.1",
        description="address to listen on; beyond loopback, what shows records needs a token",
    )
    port: Annotated[int, BeforeValidator(no_boolean), Field(ge=0, le=65535)] = Field(
        default=8080,
        description="port to listen on; where it is taken, or a remote on this machine has it, one of the next 19; "
        "0 takes a free one",
    )
    hosts: tuple[Name, ...] = Field(
        default=(), description="names that people reach the page by, besides localhost and its address"
    )
    token: SecretStr | None = Field(
        default=None, description="what one must know to see records, from the environment only"
    )
    token_file: str = Field(default="", description="file that holds that token; '' for none")
    image_shape: Annotated[tuple[Count, ...], AfterValidator(picture_shape)] = Field(
        default=(),
        description="height and width, and 3 where it has colours, of the picture that an input is when it is a flat "
        "list of numbers; empty for none",
    )
    stalled_s: Seconds = Field(
        default=150.0,
        description="seconds in which a partition with unfinished records must finish one; else /ready fails",
    )


class LogSettings(Table):
    """What the worker writes about itself."""

    level: _Level = Field(default="INFO", description="least severity that is written")
    # the attribute cannot be called `json`: pydantic's models have a method of that name
    as_json: bool = Field(default=False, alias="json", description="true writes one JSON object a line")
