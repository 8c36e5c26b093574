"""The AsyncAPI 3 document: topics, records, headers and who reads and writes what, for one configuration.

Made of what the worker itself runs on: the structs of `schemas`, the headers it names, and the steps of `flow.py`.
`python -m bisupervised.streams.commands.asyncapi [--check]` writes the one for the default settings to
`schemas/asyncapi.json`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import orjson

from ...schemas import jsonschema
from ...schemas.audits import AUDIT_HEADER, Audit, Label
from ...schemas.avro import result_schema
from ...schemas.bulk import BulkEntry
from ...schemas.closings import Closing
from ...schemas.errors import REASONS
from ...schemas.field_paths import Steps, steps_of
from ...schemas.records import FACTS_HEADER, REASON_HEADER, REASON_PATTERN, VERSION, Facts, Result
from ...schemas.versions import ThresholdsEntry
from ..flow import batch_step, group_of, single_partition, steps, topic_configs
from ..settings.keys.local import LocalSettings
from ..settings.keys.remote import RemoteSettings
from ..settings.tables import Settings

if TYPE_CHECKING:
    from ..flow import Step

FILE = Path(jsonschema.__file__).parent / "asyncapi.json"
#: the version of AsyncAPI, and of its Kafka bindings
ASYNCAPI, BINDINGS = "3.0.0", "0.5.0"

_JSON = "application/json"
_REF = "#/components/schemas/{name}"
#: role of a topic -> the name of its message, and what it is
_MESSAGES = {
    "requests": ("request", "An event to be answered. Its value is the user's own JSON."),
    "doubtful": (
        "doubtful",
        "A request that the local supervisor does not trust: key, value and headers of the request, and what is known "
        "so far in a header, the time of the request included. The timestamp is when it was written here.",
    ),
    "answers": (
        "answer",
        "The same with the remote's answer in that header: paid for, not yet judged. It can be judged again.",
    ),
    "results": ("result", "One answer that its supervisor trusted."),
    "fallback": (
        "fallback",
        "A request that was not answered, byte for byte, with the reason. The value is JSON unless the request's was "
        "not; it is empty where it was too large to carry (`value_omitted` in the header says so).",
    ),
}
#: the same of the topics of an audit
_AUDITED = {
    "audits": (
        "audit",
        "A request that was drawn, byte for byte, when it has ended: what is known about it in one header, how it "
        "ended in another. Written in the transaction of its outcome. Empty where it was too large (`missing`).",
    ),
    "labels": (
        "label",
        "What somebody says is the right answer of a drawn request. The last one of each person counts.",
    ),
    "trust": (
        "closing",
        "Whether the promise is still true, as the auditor of the fleet says: estimates, alarms, and which records of "
        "`audits` and `labels` are taken in. Each follows from these and from the closings before it.",
    ),
}
#: what a result in Avro is, besides
_AVRO = "application/vnd.apache.avro"
_FRAMED = " Before the data stand a zero byte and the id of the schema in the schema registry, four bytes."
#: what the auditor reads and writes, by the role of the topic
_AUDITOR: dict[str, Literal["receive", "send"]] = {"audits": "receive", "labels": "receive", "trust": "send"}
#: the struct of a value that is not the request's
_PAYLOADS = {
    "results": "Result",
    "fallback": "AnyBytes",
    "audits": "AnyBytes",
    "shadows": "AnyBytes",
    "labels": "Label",
    "trust": "Closing",
    "batches": "BulkEntry",
    "thresholds": "ThresholdsEntry",
}
#: the same of the topic of versions, where they are followed
_VERSIONS = {
    "thresholds": (
        "version",
        "A version of both thresholds, and who chose it. It is void unless `previous` is the version in force.",
    ),
}
#: the same of the topic of shadows
_SHADOWED = {
    "shadows": (
        "shadow",
        "A request that was drawn and whose local answer is trusted, as in `audits`, written in the transaction of its "
        "outcome. The remote is still to be asked about it; then it is written to `audits`.",
    ),
}
#: the same of the topics of batches
_BATCHED = {
    "batched": (
        "waiting",
        "A request that waits for a batch of the provider, or for the answers of one, as it came. What batches it was "
        "in before without an answer is in the facts.",
    ),
    "batches": (
        "batch",
        "What a batch is now: which offsets of the same partition of `batched` it holds, its name at the provider, and "
        "what became of it. The last word about each counts; an entry that is `whole` tells all that are not over.",
    ),
}
_DOES = {
    "local": "answers with the local model",
    "remote": "asks the remote model",
    "remote_supervisor": "judges remote answers",
    "shadow": "asks the remote model about trusted answers when it has nothing else to do",
    "bulk": "asks the remote model in batches",
}


def defaults() -> Settings:
    """The settings as they are where nobody set anything; the models, which somebody must name, stand for any."""
    local = LocalSettings(model="module:callable", threshold=0.5)
    return Settings(local=local, remote=RemoteSettings(url="http://127.0.0.1:8080", model="model", threshold=0.5))


def document(settings: Settings) -> dict[str, Any]:
    """The document for these settings."""
    batching = batch_step(settings)
    flow = [*steps(settings).values(), *([batching] if batching else [])]
    return {
        "asyncapi": ASYNCAPI,
        "info": _info(settings),
        "defaultContentType": _JSON,
        "servers": _servers(settings),
        "channels": {role: _channel(settings, role) for role in _messages(settings)},
        "operations": {
            **{name: operation for step in flow for name, operation in _operations(settings, step)},
            **_auditor_operations(settings),
            **_log_operations(settings),
        },
        "components": {
            "messages": {name: _message(settings, role) for role, (name, _) in _messages(settings).items()},
            "schemas": _schemas(settings),
        },
    }


def _messages(settings: Settings) -> dict[str, tuple[str, str]]:
    audit = settings.audit
    return {
        **_MESSAGES,
        **(_AUDITED if audit.on else {}),
        **(_SHADOWED if audit.shadow_share else {}),
        **(_BATCHED if settings.remote.batches else {}),
        **(_VERSIONS if settings.follows else {}),
    }


def _info(settings: Settings) -> dict[str, Any]:
    once = "exactly" if settings.stream.delivery == "exactly_once" else "at least"
    return {
        "title": "BiSupervised on Kafka",
        "version": str(VERSION),
        "description": f"Every record of `requests` ends as {once} one record in `results` or `fallback`. The version "
        "is the one of the records, `v` in `Facts` and `Result`; docs/interfaces.md says what it promises.",
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
    }


def _servers(settings: Settings) -> dict[str, Any]:
    hosts = [server.strip() for server in settings.kafka.bootstrap_servers.split(",")]
    protocol = "kafka" if settings.kafka.security_protocol == "PLAINTEXT" else "kafka-secure"
    return {f"kafka{number}": {"host": host, "protocol": protocol} for number, host in enumerate(hosts, start=1)}


def _channel(settings: Settings, role: str) -> dict[str, Any]:
    (name, what), topics = _messages(settings)[role], settings.topics
    address = getattr(topics, role)
    binding = {
        "topic": address,
        "partitions": 1 if address in single_partition(settings) else topics.partitions,
        "replicas": topics.replication_factor,
        "topicConfiguration": _configuration(settings, role),
        "bindingVersion": BINDINGS,
    }
    return {
        "address": address,
        "description": what,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {"kafka": binding},
    }


def _configuration(settings: Settings, role: str) -> dict[str, Any]:
    """As `topics create` sets it. The bindings want numbers, and a list of policies."""
    configs = topic_configs(settings)[getattr(settings.topics, role)]
    return {
        key: value.split(",") if key == "cleanup.policy" else int(value)
        for key, value in configs.items()
        if key in ("cleanup.policy", "retention.ms", "max.message.bytes")
    }


def _operations(settings: Settings, step: Step) -> list[tuple[str, dict[str, Any]]]:
    """What one agent reads and writes."""
    roles = {getattr(settings.topics, role): role for role in _messages(settings)}
    read = _operation(settings, step, "receive", roles[step.topic])
    read["bindings"] = {
        "kafka": {
            "groupId": {"type": "string", "const": group_of(settings, step.agent)},
            "bindingVersion": BINDINGS,
        }
    }
    writes = [(f"{step.agent}_writes_{role}", _operation(settings, step, "send", role)) for role in step.routes]
    return [(f"{step.agent}_reads_{roles[step.topic]}", read), *writes]


def _auditor_operations(settings: Settings) -> dict[str, Any]:
    """What the auditor reads and writes. It is no consumer of the group's offsets: the closings tell them."""
    if not settings.audit.on:
        return {}
    verbs = {"receive": "reads", "send": "writes"}
    return {
        f"auditor_{verbs[action]}_{role}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{role}"},
            "summary": "The auditor, one in the fleet, which says whether the promise is still true.",
            "messages": [{"$ref": f"#/channels/{role}/messages/{_messages(settings)[role][0]}"}],
        }
        for role, action in _AUDITOR.items()
    }


def _log_operations(settings: Settings) -> dict[str, Any]:
    """The log of the batches, which is read where a partition is taken over."""
    if not settings.remote.batches:
        return {}
    return {
        f"bulk_{verb}_batches": {
            "action": action,
            "channel": {"$ref": "#/channels/batches"},
            "summary": "The owner of the batches of a partition, one in the fleet.",
            "messages": [{"$ref": "#/channels/batches/messages/batch"}],
        }
        for action, verb in (("receive", "reads"), ("send", "writes"))
    }


def _operation(settings: Settings, step: Step, action: str, role: str) -> dict[str, Any]:
    name, _ = _messages(settings)[role]
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{role}"},
        "summary": f"The agent `{step.agent}`, which {_DOES[step.agent]}.",
        "messages": [{"$ref": f"#/channels/{role}/messages/{name}"}],
    }


def _message(settings: Settings, role: str) -> dict[str, Any]:
    name, what = _messages(settings)[role]
    payload = _PAYLOADS.get(role, "Request")
    raw = role in ("fallback", "audits", "shadows")  # what could not be parsed ends there as well
    raw |= payload == "Request" and settings.request.format != "json"
    avro = role == "results" and settings.results.format == "avro"
    return {
        "name": name,
        "title": name.capitalize(),
        "description": what + _FRAMED * avro,
        "contentType": _AVRO if avro else "application/octet-stream" if raw else _JSON,
        "headers": _headers(settings, role),
        "payload": _avro() if avro else {"$ref": _REF.format(name=payload)},
        "bindings": {"kafka": {"key": _key(role), "bindingVersion": BINDINGS}},
    }


def _avro() -> dict[str, Any]:
    return {"schemaFormat": "application/vnd.apache.avro+json;version=1.9.0", "schema": orjson.loads(result_schema())}


def _key(role: str) -> dict[str, Any]:
    if role == "batches":
        return {"type": "string", "description": "The pipeline's name."}
    if role == "thresholds":
        return {"type": "string", "description": "The version, as in the value."}
    return {
        "type": ["string", "null"],
        "description": "The request's key, byte for byte; any bytes, or none. Records of one key keep their order.",
    }


def _headers(settings: Settings, role: str) -> dict[str, Any]:
    """Headers of a message. Those of the user travel with the request, to everywhere but `results`."""
    if role in ("labels", "trust", "thresholds", "batches"):
        return {"type": "object", "properties": {}, "additionalProperties": True}
    described = {name: _header(text) for name, text in jsonschema.headers().items()}
    facts, reason = described.pop(FACTS_HEADER), described.pop(REASON_HEADER)
    if role == "results":
        return {"type": "object", "properties": described, "additionalProperties": False}
    if role in ("audits", "shadows"):
        audit = _header("how its request ended (`Audit`)", Audit)
        return {"type": "object", "properties": {FACTS_HEADER: facts, AUDIT_HEADER: audit}}
    found = {**_of_request(settings, role), **described}
    required = []
    if role != "requests":
        found[FACTS_HEADER] = facts
        required.append(FACTS_HEADER)
    if role == "fallback":
        # no enumeration: a reader of this version takes a reason that a later worker has added
        found[REASON_HEADER] = reason | {"pattern": REASON_PATTERN, "examples": list(REASONS)}
        required.append(REASON_HEADER)
    return {"type": "object", "properties": found, "required": required, "additionalProperties": True}


def _header(text: str, struct: type[msgspec.Struct] | None = None) -> dict[str, Any]:
    described = {"type": "string", "description": text}
    struct = struct or jsonschema.struct_in(text)
    if struct is None:
        return described
    return described | {"contentMediaType": _JSON, "contentSchema": {"$ref": _REF.format(name=struct.__name__)}}


def _of_request(settings: Settings, role: str) -> dict[str, Any]:
    """The headers of a request that say what its value does not."""
    return _identity(settings) | _deadline(settings, role)


def _identity(settings: Settings) -> dict[str, Any]:
    name = settings.request.id_header
    text = "the user's own id, for correlation only; wins over the field of the value"
    return {name: {"type": "string", "description": text}} if name else {}


def _deadline(settings: Settings, role: str) -> dict[str, Any]:
    name = settings.request.deadline_header
    if not name:
        return {}
    text = "milliseconds since epoch after which no call is paid; wins over the field of the value"
    form = {"pattern": "^[0-9]+$"} if role == "requests" else {}  # further on it is what the user sent
    return {name: {"type": "string", **form, "description": text}}


def _schemas(settings: Settings) -> dict[str, Any]:
    held = [struct for text in jsonschema.headers().values() if (struct := jsonschema.struct_in(text)) is not None]
    audit: list[type[msgspec.Struct]] = [Audit, Label, Closing] if settings.audit.on else []
    audit += [ThresholdsEntry] if settings.follows else []
    audit += [BulkEntry] if settings.remote.batches else []
    return {
        **jsonschema.components(_REF, list(dict.fromkeys([Facts, *held, Result, *audit]))),
        "Request": _request(settings),
        "AnyBytes": {"description": "The value of the request, whatever it is."},
    }


def _request(settings: Settings) -> dict[str, Any]:
    """What a request must look like: with no field for the input, any JSON."""
    request = settings.request
    if request.format != "json":
        return {"description": f"Bytes of the format {request.format!r}, from which [request] takes the model's input."}
    described: dict[str, Any] = {}
    if request.id:
        text = "the user's own id; a string or an integer is kept, for correlation only"
        _describe(described, steps_of(request.id), {"description": text})
    if request.deadline_ms:
        text = "milliseconds since epoch after which no call is paid"
        form = {"type": ["integer", "string", "null"], "description": text}
        _describe(described, steps_of(request.deadline_ms), form)
    if not request.input:
        return {"description": "Any JSON value; the whole of it is the model's input.", **described}
    _describe(described, steps_of(request.input), {"description": "the model's input, any JSON value"}, required=True)
    form = {} if steps_of(request.input)[0].isdecimal() else {"type": "object"}  # the value itself may be a list
    return {**form, **described, "additionalProperties": True}


def _describe(schema: dict[str, Any], steps: Steps, form: dict[str, Any], *, required: bool = False) -> None:
    """Say in a schema what stands on this way. A step of digits is any name: it may count the items of a list."""
    name, *further = steps
    if name.isdecimal():
        return
    inner = schema.setdefault("properties", {}).setdefault(name, {})
    if required:
        schema.setdefault("required", []).append(name)
    if further:
        _describe(inner, tuple(further), form, required=required)
    else:
        inner.update(form)


def rendered(settings: Settings) -> bytes:
    """The document as it is written and printed."""
    return orjson.dumps(document(settings), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def main(arguments: list[str]) -> str | None:
    """Write the file, or with `--check` say whether it is stale."""
    current = rendered(defaults())
    if arguments == ["--check"]:
        stale = not FILE.is_file() or FILE.read_bytes() != current
        return f"not current: {FILE.name}; run python -m bisupervised.streams.commands.asyncapi" if stale else None
    if arguments:
        return "usage: python -m bisupervised.streams.commands.asyncapi [--check]"
    FILE.write_bytes(current)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
