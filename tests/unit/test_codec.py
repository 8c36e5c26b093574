from __future__ import annotations

import gc
import gzip
import zlib
from typing import Any

import msgspec
import orjson
import pytest
from bisupervised.schemas.codec import (
    DETAIL_CHARS,
    RequestFormat,
    decode_facts,
    decode_request,
    decode_requests,
    decode_result,
    encode_facts,
    encode_result,
    encode_results,
    facts_of,
    fall_back,
    foreign_version,
    forward,
    forward_all,
    header,
    publish,
    publish_all,
    request_ms,
    source_of,
    without_value,
)
from bisupervised.schemas.errors import REASONS, InvalidRequest, Reason
from bisupervised.schemas.records import (
    FACTS_HEADER,
    REASON_HEADER,
    REPLAY_HEADER,
    VERSION,
    Facts,
    Headers,
    Outgoing,
    Replayed,
    Result,
    Source,
    Verdict,
)
from support.records import Record, request

SHAPE = RequestFormat()
SOURCE = Source("requests", 3, 2**40)
LOCAL = Verdict({"label": "é", "boxes": [1, 2.5, None]}, 0.25, 0.5, model="small@1", latency_ms=1.5)
REMOTE = Verdict(None, None, calls=3, cost=0.125)
FULL = Facts(
    SOURCE,
    id="mine",
    deadline_ms=1,
    local=LOCAL,
    remote=REMOTE,
    thresholds="t1",
    reason="timeout",
    detail="no answer",
    agent="remote",
    value_omitted=7,
    requested_ms=3,
    topic_id="Zm9v",
)


# requests


def test_a_request_is_read() -> None:
    found = decode_request(request([1, 2], id="mine", deadline_ms=5, more=True), SHAPE)
    assert (found.input, found.id, found.deadline_ms) == ([1, 2], "mine", 5)
    assert found.document == {"input": [1, 2], "id": "mine", "deadline_ms": 5, "more": True}


def test_names_of_fields_are_settings() -> None:
    shape = RequestFormat(input="x", id="n", deadline_ms="until", deadline_header="by")
    record = Record(b'{"x": 1, "n": 2, "until": 3}', headers=[("by", b"4")])
    found = decode_request(record, shape)
    assert (found.input, found.id, found.deadline_ms) == (1, 2, 4)


@pytest.mark.parametrize("value", [b"[1, 2]", b'"text"', b"3", b"null", b'{"input": 1}'])
def test_the_whole_value_can_be_the_input(value: bytes) -> None:
    assert decode_request(Record(value), RequestFormat(input="")).input == orjson.loads(value)


def test_an_input_of_null_is_an_input() -> None:
    assert decode_request(request(None), SHAPE).input is None


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (None, "tombstone"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"input": NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "no field 'input'"),
        (b'{"Input": 1}', "no field 'input'"),
    ],
)
def test_what_cannot_be_parsed_is_an_invalid_request(value: bytes | None, match: str) -> None:
    with pytest.raises(InvalidRequest, match=match):
        decode_request(Record(value), SHAPE)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("null", None),
        ("17", 17),
        ("18446744073709551615", 18446744073709551615),
        ("18446744073709551616", "18446744073709551616"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("17.0", "17.0"),
        ("1e3", "1e3"),
        ("0.1000000000000000055", "0.1000000000000000055"),
        ("true", "true"),
        ("[1, 2]", "[1, 2]"),
        ('{"$oid": "5f"}', '{"$oid": "5f"}'),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_an_id_that_cannot_be_kept_as_it_is_is_kept_as_it_is_written(
    written: str, kept: str | int | None, mark: bytes
) -> None:
    record = Record(mark + f'{{"input": 1, "id":  {written} }}'.encode())
    found = decode_request(record, SHAPE).id
    assert (type(found), found) == (type(kept), kept)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('{"input": 1}'.encode("utf-16"), "UTF-16"),
        ('{"input": 1}'.encode("utf-16-le"), "UTF-16"),
        ('{"input": 1}'.encode("utf-16-be"), "UTF-16"),
        ('{"input": 1}'.encode("utf-32"), "UTF-32"),
        ('{"input": 1}'.encode("utf-32-be"), "UTF-32"),
        ('{"input": 1}'.encode("utf-32-le"), "UTF-32"),
        (gzip.compress(b'{"input": 1}', mtime=0), "gzip"),
        (zlib.compress(b'{"input": 1}'), "zlib"),
        (b"PK\x03\x04\x14\x00", "zip"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "zstd"),
        (b'\x00\x00\x00\x01\x02{"input": 1}', "schema registry (magic byte 0, schema 258)"),
        (b"\x00\x00\x00\x00\x01\x02\x06abc", "schema registry (magic byte 0, schema 1)"),
        (b"Obj\x01\x04\x14avro", "Avro"),
    ],
)
def test_a_value_in_another_form_is_named(value: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match="the value is not JSON, it is ") as refused:
        decode_request(Record(value), SHAPE)
    assert said in str(refused.value)


def test_a_byte_order_mark_is_no_fault() -> None:
    assert decode_request(Record(b'\xef\xbb\xbf{"input": 1, "id": 7}'), SHAPE).id == 7


@pytest.mark.parametrize(
    ("envelope", "way"),
    [
        ({"payload": {"before": None, "after": {"input": 1}, "op": "c"}}, "payload.after.input"),
        ({"before": None, "after": {"input": 1}}, "after.input"),
        ({"specversion": "1.0", "data": {"input": 1}}, "data.input"),
    ],
)
def test_a_request_in_an_envelope_is_told(envelope: dict[str, Any], way: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"no field 'input'; there is '{way}'"):
        decode_request(Record(orjson.dumps(envelope)), SHAPE)
    assert decode_request(Record(orjson.dumps(envelope)), RequestFormat(input=way)).input == 1


def test_a_request_needs_neither_id_nor_deadline() -> None:
    found = decode_request(request(1), SHAPE)
    assert (found.id, found.deadline_ms) == (None, None)


def test_the_deadline_in_the_header_wins() -> None:
    record = request(1, deadline_ms=5, headers=[(SHAPE.deadline_header, b"7")])
    assert decode_request(record, SHAPE).deadline_ms == 7


@pytest.mark.parametrize("deadline", [b"soon", b"", b"1.5", b"9" * 30])
def test_a_deadline_that_is_none_is_an_invalid_request(deadline: bytes) -> None:
    with pytest.raises(InvalidRequest, match="deadline"):
        decode_request(request(1, headers=[(SHAPE.deadline_header, deadline)]), SHAPE)


@pytest.mark.parametrize("deadline", ["soon", [], {}])
def test_a_deadline_field_that_is_none_is_an_invalid_request(deadline: Any) -> None:
    with pytest.raises(InvalidRequest, match="deadline"):
        decode_request(request(1, deadline_ms=deadline), SHAPE)


def test_of_several_headers_of_one_name_the_last_counts() -> None:
    headers = [("a", b"1"), ("b", b"2"), ("a", b"3")]
    assert (header(headers, "a"), header(headers, "c")) == (b"3", None)


# facts


@pytest.mark.parametrize("facts", [FULL, Facts(SOURCE, requested_ms=0), Facts(SOURCE, id=3, requested_ms=5)])
def test_facts_come_back_as_they_went(facts: Facts) -> None:
    assert decode_facts(Record(None, headers=[(FACTS_HEADER, encode_facts(facts))])) == facts


def test_what_is_not_known_takes_no_room_and_the_version_is_always_told() -> None:
    assert orjson.loads(encode_facts(Facts(Source("r", 0, 1)))) == {
        "source": {"topic": "r", "partition": 0, "offset": 1},
        "v": VERSION,
    }
    assert orjson.loads(encode_result(Result(SOURCE, "a", "local", 0.9, 0.5)))["v"] == VERSION


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_what_a_neighbour_wrote_goes_on_in_our_version(version: int) -> None:
    read = decode_facts(Record(None, headers=[(FACTS_HEADER, of_version(version, FULL))]))
    assert read.v == version
    assert orjson.loads(encode_facts(read))["v"] == VERSION


def of_version(version: int, facts: Facts) -> bytes:
    """As a worker of that version writes them, with a field of its own."""
    return orjson.dumps(orjson.loads(encode_facts(facts)) | {"v": version, "of the future": 1})


@pytest.mark.parametrize("version", [VERSION - 1, VERSION, VERSION + 1])
def test_neighbouring_versions_are_read(version: int) -> None:
    document = {"source": {"topic": "r", "partition": 0, "offset": 1}, "v": version, "of the future": 1}
    found = decode_facts(Record(None, headers=[(FACTS_HEADER, orjson.dumps(document))]))
    assert (found.v, found.source) == (version, Source("r", 0, 1))


@pytest.mark.parametrize("version", [VERSION, VERSION + 1])
def test_a_reason_that_is_not_known_here_is_read(version: int) -> None:
    document = {"source": {"topic": "r", "partition": 0, "offset": 1}, "v": version, "reason": "added_later"}
    found = decode_facts(Record(None, headers=[(FACTS_HEADER, orjson.dumps(document))]))
    assert (found.source, found.reason) == (Source("r", 0, 1), "added_later")


#: as a worker of version 1 wrote them
OF_VERSION_1 = (
    b'{"source":{"topic":"requests","partition":3,"offset":7},"v":1,"id":"mine","local":{"prediction":"a","score":0.25},'
    b'"reason":"timeout","detail":"no answer","agent":"remote"}'
)


def test_facts_of_version_1_are_read_and_the_record_tells_the_time() -> None:
    found = decode_facts(Record(None, headers=[(FACTS_HEADER, OF_VERSION_1)]))
    assert (found.v, found.source, found.reason) == (1, Source("requests", 3, 7), "timeout")
    assert (found.requested_ms, found.topic_id) == (1_700_000_000_123, ""), (
        "the record has the timestamp of its request"
    )


@pytest.mark.parametrize("version", [VERSION - 2, VERSION + 2])
def test_a_version_farther_away_is_refused(version: int) -> None:
    record = Record(None, headers=[(FACTS_HEADER, of_version(version, FULL))])
    with pytest.raises(InvalidRequest, match=f"of version {version}"):
        decode_facts(record)
    assert foreign_version(record) == version


@pytest.mark.parametrize("version", [VERSION - 1, VERSION, VERSION + 1])
def test_a_neighbour_is_not_foreign(version: int) -> None:
    assert foreign_version(Record(None, headers=[(FACTS_HEADER, of_version(version, FULL))])) is None


def test_what_says_no_version_is_not_foreign() -> None:
    assert foreign_version(Record(None)) is None
    assert foreign_version(Record(None, headers=[(FACTS_HEADER, b"{}")])) is None


@pytest.mark.parametrize("document", [b"", b"[]", b'{"v": "9"}', b'{"v": 1e400}', b"\xff"])
def test_a_damaged_header_is_not_a_foreign_one(document: bytes) -> None:
    assert foreign_version(Record(None, headers=[(FACTS_HEADER, document)])) is None


DAMAGED = [b"", b"{", b"[]", b"{}", b'{"source": 1}', b"\xff", encode_facts(FULL)[:-1]]


@pytest.mark.parametrize("document", DAMAGED)
def test_a_damaged_header_is_an_invalid_request(document: bytes) -> None:
    with pytest.raises(InvalidRequest, match="damaged"):
        decode_facts(Record(None, headers=[(FACTS_HEADER, document)]))


def test_a_missing_header_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequest, match="no header"):
        decode_facts(Record(None))


def test_the_facts_of_a_record_without_are_its_own_place() -> None:
    record = Record(b"1", 7, headers=[(FACTS_HEADER, b"{")])
    assert facts_of(record) == Facts(source_of(record), requested_ms=record.timestamp)
    assert source_of(record) == Source("requests", 0, 7)


# what leaves


VALUES = [b'{ "input" :\t1.0 }', b"\x00\xff no json", b"", None]
HEADERS = [("a", b"1"), ("a", b"2"), ("empty", b"")]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("key", [b"k", b"", None])
def test_key_value_and_headers_travel_verbatim_with_the_time_of_the_request(
    value: bytes | None, key: bytes | None
) -> None:
    record = Record(value, key=key, headers=HEADERS, timestamp=123)
    for outcome in (forward(record, "doubtful", FULL), fall_back(record, FULL, "timeout", "x", "remote")):
        assert (outcome.key, outcome.value, outcome.timestamp) == (key, value, FULL.requested_ms)
        assert list(outcome.headers)[:3] == HEADERS


def back(outcome: Outgoing) -> Record:
    return Record(outcome.value, key=outcome.key, headers=outcome.headers, timestamp=outcome.timestamp)


def test_several_are_forwarded_as_each_alone_would_be() -> None:
    ours = forward(Record(b"1", headers=HEADERS), "doubtful", FULL)
    records = [Record(b"1"), Record(None, 2, key=None, headers=HEADERS), Record(b"3", 3, headers=ours.headers)]
    facts = [FULL, Facts(SOURCE, local=LOCAL), Facts(SOURCE, id="\n")]
    alone = [forward(record, "doubtful", known) for record, known in zip(records, facts, strict=True)]
    assert forward_all(records, "doubtful", facts) == alone
    assert forward_all([], "doubtful", []) == []


def test_the_header_grows_on_the_way_and_stays_one() -> None:
    doubt = forward(Record(b"1", headers=HEADERS), "doubtful", Facts(SOURCE, local=LOCAL))
    answer = forward(back(doubt), "answers", msgspec.structs.replace(decode_facts(back(doubt)), remote=REMOTE))
    fallen = fall_back(back(answer), decode_facts(back(answer)), "no_confidence", "none", "remote_supervisor")
    assert [name for name, _ in fallen.headers] == ["a", "a", "empty", FACTS_HEADER, REASON_HEADER]
    facts = decode_facts(back(fallen))
    assert (facts.source, facts.local, facts.remote) == (SOURCE, LOCAL, REMOTE)
    assert (facts.reason, facts.detail, facts.agent) == ("no_confidence", "none", "remote_supervisor")


@pytest.mark.parametrize("reason", REASONS)
def test_a_fallback_repeats_its_reason_in_a_header(reason: Reason) -> None:
    outcome = fall_back(Record(b"1"), Facts(SOURCE), reason, "x", "local")
    assert outcome.to == "fallback"
    assert header(outcome.headers, REASON_HEADER) == reason.encode()
    assert decode_facts(back(outcome)).reason == reason


def test_a_fallback_of_a_fallback_has_each_header_once() -> None:
    first = fall_back(Record(b"1", headers=HEADERS), Facts(SOURCE), "timeout", "x", "remote")
    again = fall_back(back(first), Facts(SOURCE), "budget", "y", "remote")
    assert [name for name, _ in again.headers] == [name for name, _ in first.headers]
    assert header(again.headers, REASON_HEADER) == b"budget"
    assert decode_facts(back(again)).reason == "budget"


def test_a_detail_has_a_bound() -> None:
    outcome = fall_back(Record(b"1"), Facts(SOURCE), "timeout", "x" * 10_000, "remote")
    assert decode_facts(back(outcome)).detail == "x" * DETAIL_CHARS


def test_what_is_too_large_leaves_its_value_behind_and_says_how_much() -> None:
    large = Record(b"x" * 1000, headers=HEADERS)
    outcome = without_value(large, FULL, "refused", "local")
    assert (outcome.to, outcome.key, outcome.value) == ("fallback", b"key", b"")
    facts = decode_facts(back(outcome))
    assert (facts.reason, facts.value_omitted, facts.source) == ("too_large", 1000, SOURCE)
    assert header(outcome.headers, REASON_HEADER) == b"too_large"


def test_a_replayed_request_was_requested_when_the_first_one_was() -> None:
    header_ = Replayed("job", 1, SOURCE, SOURCE, "timeout", requested_ms=5)
    assert request_ms(request(1, headers=[(REPLAY_HEADER, msgspec.json.encode(header_))])) == 5


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"requested_ms": 5}'])
def test_a_replay_header_of_somebody_elses_tells_no_time(document: bytes) -> None:
    record = request(1, headers=[(REPLAY_HEADER, document)])
    assert request_ms(record) == record.timestamp


@pytest.mark.parametrize("requested_ms", [None, -1, 2**60])
def test_a_replay_header_without_a_time_of_this_world_leaves_it_to_the_record(requested_ms: int | None) -> None:
    header_ = Replayed("job", 1, SOURCE, SOURCE, "timeout", requested_ms)
    record = request(1, headers=[(REPLAY_HEADER, msgspec.json.encode(header_))])
    assert request_ms(record) == record.timestamp


# results


@pytest.mark.parametrize(
    "result",
    [
        Result(SOURCE, "a", "local", 0.9, 0.5),
        Result(SOURCE, LOCAL.prediction, "remote", 0.9, 0.5, id=3, local=LOCAL, model="big@7", cost=0.5),
    ],
)
def test_results_come_back_as_they_went(result: Result) -> None:
    assert decode_result(encode_result(result)) == result


def test_a_result_carries_the_key_the_time_and_the_trace_and_nothing_else() -> None:
    trace = [("traceparent", b"00-1-2-01"), ("tracestate", b"a=b")]
    record = Record(b"1", timestamp=123, headers=[trace[0], ("other", b"x"), trace[1], (FACTS_HEADER, b"{}")])
    outcome = publish(record, Result(SOURCE, "a", "local", 0.9, 0.5))
    assert (outcome.to, outcome.key, outcome.timestamp) == ("results", b"key", 123)
    assert list(outcome.headers) == trace
    assert decode_result(outcome.value or b"").prediction == "a"


@pytest.mark.parametrize(("version", "read"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_result_of_a_neighbouring_version_is_read_and_no_other(version: int, read: bool) -> None:
    document = orjson.loads(encode_result(Result(SOURCE, "a", "local", 0.9, 0.5))) | {"v": VERSION + version, "new": 1}
    if read:
        assert decode_result(orjson.dumps(document)).prediction == "a"
    else:
        with pytest.raises(msgspec.DecodeError, match=f"of version {VERSION + version}"):
            decode_result(orjson.dumps(document))


@pytest.mark.parametrize("value", [b"", b"{}", b"[]"])
def test_what_is_no_result_is_not_read_as_one(value: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_result(value)


def test_a_source_is_readable() -> None:
    assert str(SOURCE) == f"requests-3-{2**40}"


#: what is parsed at once, what needs a closer look, and what cannot be parsed
MIXED = (
    b'{"input": 1, "id": "a"}',
    b'{"input": null}',
    b'{"input": 1, "id": 12345678901234567890123}',
    b'{"input": 1, "id": true}',
    b'{"input": 1, "id": [1]}',
    b'{"input": 1, "deadline_ms": 17}',
    b'{"input": 1, "deadline_ms": "soon"}',
    b'\xef\xbb\xbf{"input": 1}',
    b'{"other": 1}',
    b"[1, 2]",
    b"1",
    b"no json",
    b"",
    None,
)


def alone(record: Record, shape: RequestFormat) -> Any:
    """What is read of one record, or why it cannot be."""
    try:
        return decode_request(record, shape)
    except InvalidRequest as error:
        return str(error)


SHAPES = RequestFormat(), RequestFormat(input="", id=""), RequestFormat(id_header="me"), RequestFormat(input="a.b")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("headers", [(), (("me", b"x"), ("bisupervised-deadline-ms", b"18"))])
def test_many_requests_are_read_as_each_is_alone(shape: RequestFormat, headers: Headers) -> None:
    records = [Record(value, headers=headers) for value in MIXED]
    requests, faults = decode_requests(records, shape)
    parsed = iter(requests)
    together = [str(faults[place]) if place in faults else next(parsed) for place in range(len(records))]
    assert together == [alone(record, shape) for record in records]
    assert list(parsed) == []


def test_many_results_are_published_as_each_is_alone() -> None:
    records = [request("a", 1, headers=[("traceparent", b"t"), ("x", b"y")]), request("b", 2)]
    results = [Result(SOURCE, "a", "local", 0.9, 0.5, requested_ms=7), Result(SOURCE, "b", "remote", 0.8, 0.5)]

    def encode(result: Result) -> bytes:
        return b"a form of its own: " + encode_result(result)

    for form in (encode, encode_result):
        alone = [publish(record, result, form) for record, result in zip(records, results, strict=True)]
        assert alone == publish_all(records, results, form)
        assert [outcome.value for outcome in alone] == list(map(form, results))
        assert [outcome.timestamp for outcome in alone] == [7, records[1].timestamp]
    with pytest.raises(ValueError, match="shorter"):
        publish_all(records, results[:1])


def test_many_results_are_written_as_each_is_alone() -> None:
    written = ["a line\nand another\r\n", "\u2028\u0085", "}", {"a": ["\n"]}, 0.1, None]
    results = [Result(Source("requests", 0, 1), prediction, "local", 0.9, 0.8) for prediction in written]
    assert encode_results(results) == [encode_result(result) for result in results]
    assert encode_results([]) == []
    assert encode_results(results[:2], lambda result: repr(result.prediction).encode()) == [
        repr(prediction).encode() for prediction in written[:2]
    ]


def test_what_is_encoded_leaves_nothing_behind() -> None:
    """Not for ever, that is: msgspec never frees the iterator of lines that are no list."""
    result = Result(SOURCE, "a", "remote", 0.9, 0.5)
    before = _iterators()
    for _ in range(10):
        encode_results((result,))
    assert _iterators() == before


def _iterators() -> int:
    gc.collect()
    kind = type(iter(()))  # not `isinstance`: it asks the objects, and some of torch warn
    return sum(type(found) is kind for found in gc.get_objects())
