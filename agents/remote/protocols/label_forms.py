"""How a server is held to the labels: by a schema, by a grammar, or by the prompt alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

LabelBy = Literal["json_schema", "grammar", "prompt"]
#: in the order in which they are tried
LABEL_BY: tuple[LabelBy, ...] = ("json_schema", "grammar", "prompt")
#: the field of the object that a schema asks for; some servers take nothing but objects
_FIELD = "label"


@dataclass(frozen=True, slots=True)
class LabelForm:
    """One way to ask for a label and nothing else."""

    by: LabelBy
    learns: bool = False  #: where the server refuses this one, the next is tried

    @property
    def simpler(self) -> LabelForm | None:
        """The next one; None where there is none, or none is to be tried."""
        following = LABEL_BY[LABEL_BY.index(self.by) + 1 :]
        return replace(self, by=following[0]) if self.learns and following else None

    def asked(self, labels: Sequence[str]) -> dict[str, Any]:
        """The fields of the call that say so."""
        if self.by == "json_schema":
            return {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": _FIELD, "strict": True, "schema": _schema(labels)},
                }
            }
        if self.by == "grammar":  # GBNF, as llama.cpp has it; its literals are written as those of JSON
            return {"grammar": "root ::= " + " | ".join(orjson.dumps(label).decode() for label in labels)}
        return {}

    def most_tokens(self, labels: Sequence[str]) -> int:
        """Tokens that any of the labels takes in this form: a token is a byte at least."""
        return 0 if self.by == "prompt" else max(len(orjson.dumps({_FIELD: label})) for label in labels) + 4


def _schema(labels: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {_FIELD: {"type": "string", "enum": list(labels)}},
        "required": [_FIELD],
        "additionalProperties": False,
    }
