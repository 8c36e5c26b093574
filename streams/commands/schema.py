"""`bisupervised schema`: the interface documents on stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ...schemas import jsonschema
from ...schemas.avro import result_schema
from ..console.options import DONE
from ..settings.file import load_settings
from .asyncapi import defaults, rendered


def schema(
    document: Literal[
        "asyncapi", "facts", "result", "result-avro", "audit", "label", "closing", "thresholds_entry", "batch"
    ],
    *,
    config: Annotated[
        Path | None,
        Parameter(
            name=("--config", "-c"),
            help="TOML file that names the topics, for asyncapi; the defaults where none is given.",
        ),
    ] = None,
) -> int:
    """Print an interface document as JSON.

    Parameters
    ----------
    document
        asyncapi: topics, records, headers, and who reads and writes what (AsyncAPI 3); facts, audit: the JSON Schema of
        the header `bisupervised`, of `bisupervised-audit`; result, label, closing, thresholds_entry, batch: that of the
        value of a record in `results`, `labels`, `trust`, `thresholds`, `batches`; result-avro: the Avro schema of a
        result, as a worker registers it.
    """
    if document == "asyncapi":
        text = rendered(defaults() if config is None else load_settings(config))
    elif document == "result-avro":
        text = result_schema().encode()
    else:
        text = jsonschema.rendered(document)
    sys.stdout.write(text.decode())
    return DONE
