"""Values that the tables of the settings share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def no_boolean(value: Any) -> Any:  # noqa: ANN401  # whatever the file held
    """Refuse true and false as numbers: pydantic would read `threshold = true` as 1.0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Number = Annotated[float, BeforeValidator(no_boolean), Field(allow_inf_nan=False)]
Integer = Annotated[int, BeforeValidator(no_boolean)]
Count = Annotated[int, BeforeValidator(no_boolean), Field(ge=1)]
