"""Records of real runs against the interface documents: AsyncAPI's message of their topic, and the JSON Schemas."""

from __future__ import annotations

from typing import Any

import orjson
from bisupervised.schemas import jsonschema
from bisupervised.schemas.records import FACTS_HEADER
from bisupervised.streams.commands import asyncapi
from bisupervised.streams.settings.tables import Settings
from jsonschema import Draft7Validator, Draft202012Validator


class Interface:
    """What the documents say of each topic of a configuration."""

    def __init__(self, settings: Settings) -> None:
        self._document = asyncapi.document(settings)
        self._schemas = {
            name: Draft202012Validator(orjson.loads((jsonschema.FOLDER / jsonschema.file_name(name)).read_bytes()))
            for name in jsonschema.DOCUMENTS
        }

    def check(self, role: str, record: Any) -> None:
        """Raises `jsonschema.ValidationError` where a record of this topic is not what the documents say."""
        (reference,) = self._document["channels"][role]["messages"].values()
        message = reference["$ref"]
        said = self._at(message)
        headers = {name: value.decode(errors="replace") for name, value in record.headers}
        self._validate(f"{message}/headers", headers)
        if said["contentType"] == "application/json":
            self._validate(f"{message}/payload", orjson.loads(record.value))
        if FACTS_HEADER in said["headers"]["properties"]:
            header = f"{message}/headers/properties/{FACTS_HEADER}"
            facts = orjson.loads(headers[FACTS_HEADER])
            self._validate(f"{header}/contentSchema", facts)
            self._schemas["facts"].validate(facts)
        if role == "results":
            self._schemas["result"].validate(orjson.loads(record.value))

    def _at(self, reference: str) -> Any:
        found: Any = self._document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        return found

    def _validate(self, reference: str, instance: Any) -> None:
        # the components go along: what is referred to refers to others
        schema = {"$ref": reference, "components": self._document["components"]}
        Draft7Validator(schema).validate(instance)
