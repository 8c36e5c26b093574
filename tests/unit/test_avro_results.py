"""Results in Avro: what is written is what JSON would say, and readers of other versions read it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from bisupervised.agents.events.registry import Registry, RegistryUnavailable
from bisupervised.agents.events.results import ResultReader, ResultWriter
from bisupervised.agents.remote.transport import Response
from bisupervised.schemas import avroschema
from bisupervised.schemas.avro import FILE, ResultEncoder, decode_avro, head_of, is_avro, prepare, result_schema
from bisupervised.schemas.codec import decode_result, encode_result
from bisupervised.schemas.errors import BiSupervisedError
from bisupervised.schemas.records import Result, Source, Verdict
from fastavro import parse_schema, schemaless_reader, schemaless_writer

RELEASED = Path(__file__).parents[1] / "released" / FILE.name
SOURCE = Source("requests", 3, 2**40)
DOUBTED = Verdict("b", 0.2, 0.8, supervisor="max_softmax", model="small@1", latency_ms=1.5)
ANSWERS = [
    "a", "", "ä\x00", 1, -(2**63), 2**63 - 1, 2**63, 2**70, 0.25, True, False, None, float("nan"), float("inf"),
    [1, "x", None], [], {}, {"json": "x"}, {"a": {"b": [1.5]}}, (1, 2),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def prepared() -> None:
    """A worker reads the schema of results before its event loop runs."""
    prepare()


def ours() -> Any:
    return parse_schema(orjson.loads(result_schema()))


def data(value: bytes) -> bytes:
    assert is_avro(value)
    assert value[:5] == b"\0\0\0\0\7"
    return value[5:]


def written(result: Result) -> bytes:
    return ResultEncoder(7)(result)


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_a_result_says_the_same_in_avro_as_in_json(answer: Any) -> None:
    for result in (
        Result(SOURCE, answer, "local", 0.9, 0.8, id=-3, requested_ms=1_700_000_000_000, latency_ms=2.5),
        Result(SOURCE, 1, "remote", 0.9, 0.8, id="x", local=msgspec.structs.replace(DOUBTED, prediction=answer)),
        Result(SOURCE, 1, "local", 0.9, 0.8, remote=Verdict(answer, None, calls=2), arbitrated=True, trusted=False),
    ):
        assert decode_avro(data(written(result)), ours()) == decode_result(encode_result(result))


def test_plain_answers_are_plain_for_others() -> None:
    """Who reads without us meets no wrapping but that of lists and objects."""
    for answer, read in (("a", "a"), (3, 3), (True, True), (0.5, 0.5), (None, None), ([1], {"json": "[1]"})):
        value = written(Result(SOURCE, answer, "local", 0.9, 0.8))
        document: Any = schemaless_reader(BytesIO(data(value)), ours(), None)
        assert document["prediction"] == read
        assert document["source"] == {"topic": "requests", "partition": 3, "offset": 2**40}


def test_an_id_beyond_64_bits_is_text() -> None:
    value = written(Result(SOURCE, 1, "local", 0.9, 0.8, id=2**63))
    assert decode_avro(data(value), ours()).id == str(2**63)


@pytest.mark.parametrize("answer", [object(), {1: object()}, "\ud800"])
def test_what_json_cannot_say_avro_does_not_say_either(answer: Any) -> None:
    for encode in (encode_result, written):
        with pytest.raises((TypeError, ValueError)):
            encode(Result(SOURCE, answer, "local", 0.9, 0.8))


def test_the_schema_is_that_of_the_struct() -> None:
    assert avroschema.main(["--check"]) is None


# versions


def later() -> dict[str, Any]:
    """A version of ours with a field more at the end of a verdict, and at the end of the result."""
    schema: dict[str, Any] = orjson.loads(result_schema())
    verdict = next(field for field in schema["fields"] if field["name"] == "local")["type"][1]
    verdict["fields"].append({"name": "more", "type": ["null", "string"], "default": None})
    schema["fields"].append({"name": "region", "type": "string", "default": "nowhere"})
    return schema


def written_later(result: Result) -> bytes:
    document = orjson.loads(encode_result(result)) | {"region": "here"}
    for name in ("local", "remote"):
        if document[name] is not None:
            document[name] = msgspec.to_builtins(getattr(result, name)) | {"more": "x"}
            for field in msgspec.structs.fields(Verdict):
                document[name].setdefault(field.name, field.default)
    stream = BytesIO(b"\0\0\0\0\7")
    stream.seek(5)
    schemaless_writer(stream, parse_schema(later()), document)
    return stream.getvalue()


RESULTS = [
    (Result(SOURCE, "a", "local", 0.9, 0.8), False),
    (Result(SOURCE, "a", "remote", 0.9, 0.8, local=DOUBTED), True),
    (Result(SOURCE, "a", "local", 0.9, 0.8, remote=DOUBTED, arbitrated=True), True),
]


@pytest.mark.parametrize(("result", "asked"), RESULTS)
def test_results_of_a_later_version_are_read(result: Result, asked: bool) -> None:
    value = written_later(result)
    assert decode_avro(data(value), parse_schema(later())) == result
    assert head_of(value) == head_of(written(result)) == (SOURCE, asked)


@pytest.mark.parametrize("result", [result for result, _ in RESULTS])
def test_ours_are_read_by_a_later_version(result: Result) -> None:
    document: Any = schemaless_reader(BytesIO(data(written(result))), ours(), parse_schema(later()))
    assert (document["region"], document["prediction"]) == ("nowhere", "a")


def test_released_fields_stay_where_they_are() -> None:
    """`head_of` reads them by their place, and old records are read with new schemas."""
    released, current = orjson.loads(RELEASED.read_bytes()), orjson.loads(result_schema())
    names = [field["name"] for field in released["fields"]]
    assert [field["name"] for field in current["fields"]][: len(names)] == names
    for result, _ in RESULTS:
        former: Any = schemaless_reader(BytesIO(data(written(result))), ours(), parse_schema(released))
        stream = BytesIO()
        schemaless_writer(stream, parse_schema(released), former)
        assert decode_avro(stream.getvalue(), parse_schema(released)) == result


@pytest.mark.parametrize("rest", [b"", b"\2", b"\xff" * 40, b"\2a\0\0\2"])
def test_what_is_no_result(rest: bytes) -> None:
    value = b"\0\0\0\0\7" + rest
    with pytest.raises(msgspec.DecodeError):
        head_of(value)
    with pytest.raises(msgspec.DecodeError):
        decode_avro(value[5:], ours())


# the registry


class Asked:
    """A registry that answers what it was told to."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Any]] = []

    async def post(self, url: str, body: bytes, headers: Any, timeout_s: float, *, method: str = "POST") -> Response:
        self.asked.append((f"{method} {url}", orjson.loads(body) if body else None))
        status, document = self.answers.pop(0)
        return Response(status, {}, orjson.dumps(document))

    async def close(self) -> None:
        return

    @asynccontextmanager
    async def connected(self) -> Any:
        yield self

    @property
    def registry(self) -> Registry:
        return Registry("http://registry", self.connected, 1.0)


def writer_of(*answers: Any, register: bool = True) -> tuple[ResultWriter, Asked, list[str]]:
    asked, seen = Asked(*answers), list[str]()

    async def sleep(_: float) -> None:
        seen.append(writer.waits_for)
        await asyncio.sleep(0)

    writer = ResultWriter(asked.registry, "results-value", register=register, sleep=sleep)
    return writer, asked, seen


async def test_the_schema_is_registered_once_the_registry_is_there(caplog: pytest.LogCaptureFixture) -> None:
    incompatible = {"error_code": 409, "message": "incompatible"}
    writer, asked, seen = writer_of((503, {}), (503, {}), (401, {}), (409, incompatible), (200, {"id": 7}))
    result = Result(SOURCE, "a", "local", 0.9, 0.8)
    with pytest.raises(BiSupervisedError, match="not known yet"):
        writer(result)
    await writer.settle()
    assert writer.waits_for == ""
    assert writer(result) == written(result)
    assert asked.asked == [("POST http://registry/subjects/results-value/versions", {"schema": result_schema()})] * 5
    assert [why.partition("the registry ")[2] for why in seen] == [
        "answers 503 about the subject results-value",
        "answers 503 about the subject results-value",
        "answers 401 about the subject results-value: see [registry] username and password",
        "does not take the schema under the subject results-value: incompatible",
    ]
    told = [record.__dict__["action"] for record in caplog.records]
    assert told == ["result_schema_unavailable"] * 3, "each reason once"


async def test_who_may_not_register_waits_for_somebody_who_does() -> None:
    nobody = (404, {"error_code": 40401, "message": "Subject 'results-value' not found."})
    writer, asked, seen = writer_of(nobody, (200, {"id": 7, "version": 1}), register=False)
    await writer.settle()
    assert asked.asked[0][0] == "POST http://registry/subjects/results-value"
    assert seen == [
        "the schema of results is not known yet: the registry has no such schema under the subject results-value; "
        "register what `bisupervised schema result-avro` prints, or set [results] register_schema = true"
    ]


async def test_a_reader_makes_json_of_them() -> None:
    asked = Asked((200, {"schema": result_schema()}), (404, {"error_code": 40403}))
    reader, result = ResultReader(asked.registry), Result(SOURCE, {"a": 1}, "remote", 0.9, 0.8, local=DOUBTED)
    other = b"\0\0\0\0\x09" + written(result)[5:]
    values = [written(result), encode_result(result), None, b"\0\0\0\0\7\1", other]
    await reader.ready(values)
    await reader.ready(values)
    in_json, *others = map(reader.as_json, values)
    assert decode_result(in_json or b"") == result
    assert others == values[1:], "what is none of these stays as it is"
    assert len(asked.asked) == 2, "each schema once"


async def test_a_reader_says_when_the_registry_is_away() -> None:
    reader = ResultReader(Asked((503, {})).registry)
    with pytest.raises(RegistryUnavailable, match="503"):
        await reader.ready([written(Result(SOURCE, 1, "local", 0.9, 0.8))])
