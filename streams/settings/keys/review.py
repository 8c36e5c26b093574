"""The page on which people label: `[review]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from .table import Table
from .values import Name, Seconds, address, no_boolean


class ReviewSettings(Table):
    """The page on which people label: `bisupervised review`, a process of its own."""

    host: Annotated[str, AfterValidator(address)] = Field(default="127.0.0.1", description="address to listen on")
    port: Annotated[int, BeforeValidator(no_boolean), Field(ge=0, le=65535)] = Field(
        default=8100, description="port to listen on; 0 takes a free one"
    )
    hosts: tuple[Name, ...] = Field(
        default=(), description="names that people reach the page by, besides localhost and its address"
    )
    reviewers_file: str = Field(
        default="", description="file of who may label, which `bisupervised reviewers add NAME` writes"
    )
    question: Name = Field(default="What is the right answer?", description="what people are asked about each input")
    classes: tuple[Name, ...] = Field(
        default=(),
        description="what may be answered, each with a key, and what labels may say besides those of [local] and "
        "[remote]; [] takes those alone, and any words where there are none",
    )
    second_look: bool = Field(
        default=True,
        description="true: a label that speaks against the promise counts when a second person has looked; needs two "
        "reviewers",
    )
    lease_minutes: Seconds = Field(
        default=15.0, description="minutes for which nobody else gets an input that a person looks at"
    )

    @field_validator("classes")
    @classmethod
    def _different(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len({name.strip() for name in names}) < len(names) or any(name != name.strip() for name in names):
            raise ValueError("must differ, without white space around them")
        return names
