"""The AsyncAPI document against AsyncAPI's own schema, and against what the worker does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from bisupervised.schemas import jsonschema
from bisupervised.schemas.audits import AUDIT_HEADER
from bisupervised.schemas.avro import result_schema
from bisupervised.schemas.errors import REASONS
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER, Facts, Result
from bisupervised.streams import cli
from bisupervised.streams.commands import asyncapi
from bisupervised.streams.flow import group_of, steps
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.keys.audit import AuditSettings
from bisupervised.streams.settings.keys.events import ResultsSettings
from bisupervised.streams.settings.tables import Settings
from jsonschema import Draft7Validator, ValidationError
from pydantic import SecretStr

#: see README.md beside it
pytestmark = pytest.mark.wheel
SPECIFICATION = Path(__file__).parents[1] / "vendored" / "asyncapi-3.0.0.json"
TOML = """
name = "shop"
[kafka]
bootstrap_servers = "one:9092, two:9093"
[topics]
requests = "shop.in"
fallback = "shop.left"
partitions = 7
[request]
input = ""
deadline_header = ""
[local]
model = "my_model:load"
threshold = 0.5
[remote]
url = "http://127.0.0.1"
model = "large"
threshold = 0.5
while_open = "accept_local"
"""


@pytest.fixture(scope="module")
def specification() -> Draft7Validator:
    return Draft7Validator(orjson.loads(SPECIFICATION.read_bytes()))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def shop(config: Path) -> Settings:
    return load_settings(config, {})


def followed(document: Any, ref: str) -> Any:
    """What a reference points at. Raises `KeyError` where there is nothing."""
    found = document
    for step in ref.removeprefix("#/").split("/"):
        found = found[step]
    return found


def refs(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [ref for value in part.values() for ref in refs(value)]
    return [ref for value in part for ref in refs(value)] if isinstance(part, list) else []


def test_the_committed_file_is_current() -> None:
    assert asyncapi.main(["--check"]) is None


@pytest.mark.parametrize("of", ["defaults", "shop"])
def test_it_is_valid_asyncapi_and_refers_to_what_is_there(of: str, shop: Settings, specification: Any) -> None:
    document = asyncapi.document(asyncapi.defaults() if of == "defaults" else shop)
    specification.validate(document)
    found = refs(document)
    assert len(found) > 30
    for ref in found:
        followed(document, ref)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("info"),
        lambda document: document["operations"]["local_reads_requests"].update(action="reads"),
        lambda document: document["channels"]["requests"]["bindings"]["kafka"].update(partitions=0),
        lambda document: document["components"]["messages"]["result"].update(header={}),
        lambda document: document["components"]["schemas"]["Facts"].update(type="record"),
    ],
)
def test_what_is_not_asyncapi_is_found(spoil: Any, specification: Draft7Validator) -> None:
    """The specification does look at what we write."""
    document = orjson.loads(asyncapi.rendered(asyncapi.defaults()))
    spoil(document)
    with pytest.raises(ValidationError):
        specification.validate(document)


def test_names_and_numbers_are_those_of_the_settings(shop: Settings) -> None:
    document = asyncapi.document(shop)
    assert [server["host"] for server in document["servers"].values()] == ["one:9092", "two:9093"]
    addresses = {role: channel["address"] for role, channel in document["channels"].items()}
    assert addresses == {
        "requests": "shop.in",
        "doubtful": "doubtful",
        "answers": "answers",
        "results": "results",
        "fallback": "shop.left",
    }
    assert {channel["bindings"]["kafka"]["partitions"] for channel in document["channels"].values()} == {7}


@pytest.mark.parametrize(
    ("protocol", "told"), [("PLAINTEXT", "kafka"), ("SSL", "kafka-secure"), ("SASL_PLAINTEXT", "kafka-secure")]
)
def test_servers_that_ask_who_comes_or_encrypt_are_secure(shop: Settings, protocol: str, told: str) -> None:
    kafka = shop.kafka.model_copy(update={"security_protocol": protocol})
    servers = asyncapi.document(shop.model_copy(update={"kafka": kafka}))["servers"]
    assert [server["protocol"] for server in servers.values()] == [told, told]


def test_operations_are_the_flow(shop: Settings) -> None:
    document = asyncapi.document(shop)
    told = set()
    for name, operation in document["operations"].items():
        channel = followed(document, operation["channel"]["$ref"])
        agent = name.split("_reads_" if operation["action"] == "receive" else "_writes_")[0]
        told.add((agent, operation["action"], channel["address"]))
    flow = steps(shop).values()
    reads = {(step.agent, "receive", step.topic) for step in flow}
    writes = {(step.agent, "send", shop.topics.name_of(route)) for step in flow for route in step.routes}
    assert told == reads | writes
    assert ("remote", "send", "results") in told, "in the degraded mode that was switched on"
    group = document["operations"]["remote_supervisor_reads_answers"]["bindings"]["kafka"]["groupId"]["const"]
    assert group == group_of(shop, "remote_supervisor") == "shop-remote-supervisor"


@pytest.mark.parametrize("kind", [Facts, Result])
def test_records_are_described_as_in_their_own_schemas(kind: Any) -> None:
    """Generated: a field, a reason or a header that is new is there without a hand stirred."""
    name = kind.__name__
    schemas = asyncapi.document(asyncapi.defaults())["components"]["schemas"]
    own = jsonschema.schema(name.lower())
    assert list(schemas[name]["properties"]) == list(own["properties"])
    assert list(schemas["Verdict"]["properties"]) == list(own["$defs"]["Verdict"]["properties"])


def headers_of(message: str) -> dict[str, Any]:
    found: dict[str, Any] = asyncapi.document(asyncapi.defaults())["components"]["messages"][message]["headers"]
    return found


def test_an_audit_adds_its_topics(shop: Settings, specification: Draft7Validator) -> None:
    audited = shop.model_copy(update={"audit": AuditSettings(share=0.01, secret=SecretStr("x"))})
    document = asyncapi.document(audited)
    assert set(document["channels"]) - set(asyncapi.document(shop)["channels"]) == {"audits", "labels", "trust"}
    writers = [name for name in document["operations"] if name.endswith("_writes_audits")]
    assert len(writers) == 3
    # people write it
    assert [name for name in document["operations"] if "labels" in name] == ["auditor_reads_labels"]
    assert [name for name in document["operations"] if "trust" in name] == ["auditor_writes_trust"]
    for single in ("labels", "trust"):
        assert document["channels"][single]["bindings"]["kafka"]["partitions"] == 1
    payload = document["components"]["messages"]["closing"]["payload"]
    assert payload == {"$ref": "#/components/schemas/Closing"}
    headers = document["components"]["messages"]["audit"]["headers"]["properties"]
    assert set(headers) == {FACTS_HEADER, AUDIT_HEADER}
    assert not list(specification.iter_errors(document))


def test_shadows_add_theirs(shop: Settings, specification: Draft7Validator) -> None:
    audited = shop.model_copy(update={"audit": AuditSettings(share=0.01, shadow_share=0.05, secret=SecretStr("x"))})
    document = asyncapi.document(audited)
    assert [name for name in document["operations"] if "shadows" in name] == [
        "local_writes_shadows",
        "shadow_reads_shadows",
    ]
    assert "shadow_writes_audits" in document["operations"]
    assert set(document["components"]["messages"]["shadow"]["headers"]["properties"]) == {FACTS_HEADER, AUDIT_HEADER}
    assert not list(specification.iter_errors(document))


def test_results_in_avro_have_the_schema_that_is_registered(shop: Settings, specification: Draft7Validator) -> None:
    found = asyncapi.document(shop.model_copy(update={"results": ResultsSettings(format="avro")}))
    specification.validate(found)
    result = found["components"]["messages"]["result"]
    assert result["contentType"] == "application/vnd.apache.avro"
    assert result["payload"]["schema"] == orjson.loads(result_schema())


def test_which_headers_travel_where() -> None:
    results = headers_of("result")
    assert {"traceparent", "tracestate"} <= set(results["properties"])
    assert not {FACTS_HEADER, REASON_HEADER} & set(results["properties"])
    assert results["additionalProperties"] is False
    assert FACTS_HEADER not in headers_of("request")["properties"]
    for message in ("doubtful", "answer", "fallback"):
        assert FACTS_HEADER in headers_of(message)["required"]
        assert {"traceparent", "bisupervised-deadline-ms"} <= set(headers_of(message)["properties"])
    assert headers_of("fallback")["properties"][REASON_HEADER]["examples"] == list(REASONS)


def test_every_header_that_the_records_name_is_described() -> None:
    described = jsonschema.headers()
    assert {FACTS_HEADER, REASON_HEADER, "traceparent", "tracestate"} <= set(described)
    told = [set(headers_of(message)["properties"]) for message in ("request", "doubtful", "answer", "fallback")]
    assert set(described) <= set().union(*told)


def test_a_new_header_is_there_by_itself_and_so_is_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    new = {"bisupervised-new": "how new it is", "bisupervised-place": "where it was (`Source`)"}
    known = jsonschema.headers()
    monkeypatch.setattr(jsonschema, "headers", lambda: known | new)
    for message in ("request", "doubtful", "answer", "result", "fallback"):
        found = headers_of(message)["properties"]
        assert found["bisupervised-new"] == {"type": "string", "description": "how new it is"}
        assert found["bisupervised-place"]["contentSchema"] == {"$ref": "#/components/schemas/Source"}


def test_without_a_field_for_the_input_any_json_is_a_request(shop: Settings) -> None:
    schemas = asyncapi.document(shop)["components"]["schemas"]
    Draft7Validator(schemas["Request"]).validate([1, 2])
    usual = Draft7Validator(asyncapi.document(asyncapi.defaults())["components"]["schemas"]["Request"])
    usual.validate({"input": None, "id": 3})
    with pytest.raises(ValidationError):
        usual.validate({"id": 3})


def test_what_stands_further_in_is_described(shop: Settings) -> None:
    ways = {"input": "messages.0.text", "id": "meta.id", "deadline_ms": "meta.until", "id_header": "ce_id"}
    inside = shop.model_copy(update={"request": shop.request.model_copy(update=ways)})
    found = asyncapi.document(inside)["components"]["schemas"]["Request"]
    assert list(found["properties"]) == ["meta", "messages"]
    assert list(found["properties"]["meta"]["properties"]) == ["id", "until"]
    valid = Draft7Validator(found)
    valid.validate({"messages": [{"text": "a"}], "meta": {"id": 3, "until": None}})
    for wrong in ({"meta": {"id": 3}}, {"messages": [], "meta": {"until": 1.5}}):
        with pytest.raises(ValidationError):
            valid.validate(wrong)


def test_the_command_prints_it(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema", "asyncapi", "--config", str(config)]) == 0
    assert orjson.loads(capsys.readouterr().out)["channels"]["requests"]["address"] == "shop.in"
    assert cli.run(["schema", "asyncapi"]) == 0
    assert capsys.readouterr().out.encode() == asyncapi.FILE.read_bytes()


@pytest.mark.parametrize("name", jsonschema.DOCUMENTS)
def test_the_command_prints_the_schema_of_a_record(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema", name]) == 0
    assert orjson.loads(capsys.readouterr().out) == jsonschema.schema(name)


def test_the_command_tells_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["schema", "asyncapi", "--config", str(tmp_path / "nowhere.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert cli.run(["schema", "nothing"]) == 2


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(asyncapi, "FILE", tmp_path / "asyncapi.json")
    return tmp_path / "asyncapi.json"


def test_a_missing_or_stale_file_is_told_and_written_anew(elsewhere: Path) -> None:
    assert "not current" in (asyncapi.main(["--check"]) or "")
    assert asyncapi.main([]) is None
    assert asyncapi.main(["--check"]) is None
    elsewhere.write_bytes(b"{}")
    assert "python -m bisupervised.streams.commands.asyncapi" in (asyncapi.main(["--check"]) or "")
    assert "usage" in (asyncapi.main(["--chekc"]) or "")
