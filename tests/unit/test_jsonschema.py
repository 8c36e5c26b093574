from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from bisupervised.schemas import jsonschema
from bisupervised.schemas.bulk import BatchCounts, BatchTold
from bisupervised.schemas.closings import (
    AlarmShareTold,
    AlarmTold,
    Closing,
    LadderTerms,
    LadderTold,
    PromiseTold,
    Share,
    Taken,
    TermsTold,
    VersionTold,
    decode_closing,
    encode_closing,
)
from bisupervised.schemas.codec import encode_facts, encode_result, fall_back, header
from bisupervised.schemas.errors import REASONS, Reason
from bisupervised.schemas.records import FACTS_HEADER, VERSION, Facts, Judged, Result, Source, Verdict
from jsonschema import Draft202012Validator, ValidationError
from support.records import Record

pytestmark = pytest.mark.wheel
SOURCE = Source("requests", 0, 7)
LOCAL = Verdict(3, 0.25, 0.5, supervisor="max_softmax", model="small@1", latency_ms=1.5)
REMOTE = Verdict({"label": ["é", None]}, None, cost=0.5, calls=2)


def validate(name: str, document: bytes) -> None:
    committed = orjson.loads((jsonschema.FOLDER / jsonschema.file_name(name)).read_bytes())
    Draft202012Validator.check_schema(committed)
    Draft202012Validator(committed).validate(orjson.loads(document))


def test_the_committed_files_are_current() -> None:
    assert jsonschema.stale() == []
    assert jsonschema.main(["--check"]) is None


def test_no_other_file_lies_beside_them() -> None:
    names = sorted(path.name for path in jsonschema.FOLDER.iterdir())
    documents = [jsonschema.file_name(name) for name in jsonschema.DOCUMENTS]
    assert names == sorted([*documents, f"result.v{VERSION}.avsc"])


@pytest.mark.parametrize(
    "facts",
    [
        Facts(SOURCE),
        Facts(SOURCE, id=3, deadline_ms=1, local=LOCAL, thresholds="t1", agent="local"),
        Facts(SOURCE, id="mine", local=LOCAL, remote=REMOTE, value_omitted=7),
    ],
)
def test_facts_are_valid(facts: Facts) -> None:
    validate("facts", encode_facts(facts))


def test_closings_are_valid() -> None:
    alarm = AlarmTold(PromiseTold("error", 0.1), log_r=(None, -0.5))
    told = VersionTold("t1", 3, error=Share(1, 2, 0.1, 0.9), alarms=(alarm,), open_from={"0": 7})
    terms = TermsTold(1000, 10_000.0, 0.05, "exact", ("cat", 3), ("t1",), (alarm.promise,))
    taken = Taken({"0": 9, "1": 3}, 5)
    for closing in (
        Closing(1, "shop", 17, taken, taken, "0f"),
        Closing(2, "shop", 18, taken, taken, "0f", (told, VersionTold("t2")), whole=True, terms=terms, why="begun"),
    ):
        validate("closing", encode_closing(closing))
        assert decode_closing(encode_closing(closing)) == closing
    with pytest.raises(msgspec.ValidationError, match="of version 2"):
        decode_closing(encode_closing(msgspec.structs.replace(closing, v=2)))


@pytest.mark.parametrize("reason", REASONS)
def test_the_facts_of_every_fallback_are_valid(reason: Reason) -> None:
    outcome = fall_back(Record(b"1"), Facts(SOURCE, local=LOCAL), reason, "x", "remote")
    validate("facts", header(outcome.headers, FACTS_HEADER) or b"")


@pytest.mark.parametrize("prediction", [None, 3, "cat", [1.5, {"a": []}], {"label": True}])
def test_results_are_valid_whatever_the_prediction(prediction: Any) -> None:
    validate("result", encode_result(Result(SOURCE, prediction, "local", 0.9, 0.5)))
    validate("result", encode_result(Result(SOURCE, prediction, "remote", 0.9, 0.5, id=3, local=LOCAL)))
    taken = Result(SOURCE, prediction, "local", 0.9, 0.5, local=LOCAL, remote=REMOTE, arbitrated=True)
    validate("result", encode_result(taken))


def test_what_the_next_version_adds_is_valid() -> None:
    document = orjson.loads(encode_facts(Facts(SOURCE))) | {"v": VERSION + 1, "added": 1, "reason": "added_later"}
    validate("facts", orjson.dumps(document))


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("facts", {}),
        ("facts", {"source": {"topic": "r", "partition": 0}}),
        ("facts", {"source": {"topic": "r", "partition": 0, "offset": 1}, "reason": "bad luck"}),
        ("facts", {"source": {"topic": "r", "partition": 0, "offset": "1"}}),
        ("result", {"source": {"topic": "r", "partition": 0, "offset": 1}}),
    ],
)
def test_what_we_would_not_write_is_invalid(name: str, document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate(name, orjson.dumps(document))


@pytest.mark.parametrize("score", [None, "0.9"])
def test_a_result_without_a_score_is_invalid(score: Any) -> None:
    document = orjson.loads(encode_result(Result(SOURCE, 1, "local", 0.9, 0.5))) | {"score": score}
    with pytest.raises(ValidationError):
        validate("result", orjson.dumps(document))


@pytest.mark.parametrize("name", jsonschema.DOCUMENTS)
def test_a_schema_names_itself_and_describes_every_field(name: str) -> None:
    schema, version = jsonschema.schema(name), VERSION if name in ("facts", "result") else 1
    assert (schema["$id"], schema["version"]) == (f"urn:bisupervised:{name}:v{version}", version)
    inner: list[type[msgspec.Struct]] = [Source, Verdict] if name in ("facts", "result") else []
    if name == "audit":
        inner = [Judged]
    if name == "closing":
        inner = [Taken, Share, VersionTold, TermsTold, AlarmTold, AlarmShareTold, PromiseTold, LadderTerms, LadderTold]
    if name == "batch":
        inner = [BatchTold, BatchCounts]
    assert schema["$defs"].keys() == {kind.__name__ for kind in inner}
    described_by = [(jsonschema.DOCUMENTS[name], schema), *((kind, schema["$defs"][kind.__name__]) for kind in inner)]
    for kind, described in described_by:
        assert described["description"]
        assert list(described["properties"]) == [field.encode_name for field in msgspec.structs.fields(kind)]
        assert all(field["description"] for field in described["properties"].values())


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(jsonschema, "FOLDER", tmp_path / "json")
    return tmp_path / "json"


def test_missing_and_stale_files_are_told_and_written_anew(elsewhere: Path) -> None:
    assert f"facts.v{VERSION}.json, result.v{VERSION}.json" in (jsonschema.main(["--check"]) or "")
    assert jsonschema.main([]) is None
    assert jsonschema.main(["--check"]) is None
    (elsewhere / f"facts.v{VERSION}.json").write_bytes(b"{}")
    assert f"not current: facts.v{VERSION}.json;" in (jsonschema.main(["--check"]) or "")


def test_another_argument_is_told(elsewhere: Path) -> None:
    assert "usage" in (jsonschema.main(["--chekc"]) or "")
    assert not elsewhere.exists()
