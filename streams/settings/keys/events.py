"""What the bytes of requests and results are: `[request]`, `[registry]` and `[results]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr

from .certificates import Reached
from .table import Table
from .values import MODULE_CALLABLE, FieldPath, Seconds, optional_url

if TYPE_CHECKING:
    from collections.abc import Callable


#: what the bytes of a request can be, beside what a function of the user's own reads
EVENT_FORMATS = ("json", "json_registry", "avro", "protobuf", "text", "bytes")
#: of these, those whose schemas are in a registry, and those that have no fields
OF_REGISTRY, FIELDLESS = ("avro", "protobuf"), ("text", "bytes")


def _event_format(name: str) -> str:
    if name in EVENT_FORMATS or MODULE_CALLABLE.fullmatch(name):
        return name
    raise ValueError(f"must be one of {', '.join(EVENT_FORMATS)}, or module:callable")


def _usual(field: str) -> Callable[[dict[str, Any]], str]:
    """The field that is read where none is named; none where a value has no fields."""
    return lambda data: "" if data.get("format") in FIELDLESS else field


class RequestSettings(Table):
    """Which parts of a request mean what. Names are fields of its JSON value, with dots on the way to those that stand
    further in; '' means none.
    """

    format: Annotated[str, AfterValidator(_event_format)] = Field(
        default="json",
        description="what the bytes of a request are: json; json_registry, which is JSON behind the frame of a schema "
        "registry's serializer; avro or protobuf, with a [registry]; text; bytes; or module:callable, a function of "
        "yours from bytes to a JSON value",
    )
    input: FieldPath = Field(
        default_factory=_usual("input"),
        description="field with the model's input, such as text or payload.after.text; '' takes the whole value",
    )
    id: FieldPath = Field(default_factory=_usual("id"), description="field with the user's id; '' where there is none")
    deadline_ms: FieldPath = Field(
        default_factory=_usual("deadline_ms"),
        description="field with the deadline, milliseconds since epoch; '' for none",
    )
    id_header: str = Field(default="", description="header with the user's id, which wins over the field; '' for none")
    deadline_header: str = Field(
        default="bisupervised-deadline-ms",
        description="header with the deadline, which wins over the field; '' for none",
    )


class _Registry(Table):
    """Where the registry is, and who we are to it."""

    url: Annotated[str, AfterValidator(optional_url)] = Field(
        default="",
        description="address of Confluent's REST interface, such as http://127.0.0.1:8081; '' for none",
    )
    username: str = Field(default="", description="user to log in as; '' shows the password as a bearer token")
    password: SecretStr | None = Field(default=None, description="its password or token, from the environment only")
    password_file: str = Field(default="", description="file that holds its password or token; '' for none")
    timeout_s: Seconds = Field(default=10.0, description="seconds to wait for one answer of the registry")


class RegistrySettings(Reached, _Registry):
    """The schema registry of events in Avro and Protobuf, and of results in Avro."""


class ResultsSettings(Table):
    """How the value of a result is written."""

    format: Literal["json", "avro"] = Field(
        default="json",
        description="json; or avro, behind the frame of the [registry], with the schema that `bisupervised schema "
        "result-avro` prints",
    )
    register_schema: bool = Field(
        default=True,
        description="true registers that schema, for TOPIC-value; false waits until somebody has registered it",
    )
