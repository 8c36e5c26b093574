from __future__ import annotations

import msgspec
import pytest
from aiokafka import TopicPartition
from bisupervised.schemas.codec import decode_facts, fall_back, header, publish, without_value
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.schemas.records import REPLAY_HEADER, Facts, Replayed, Result, Source, Verdict
from bisupervised.streams.console.output import counted
from bisupervised.streams.tools.commands import replay_lines
from bisupervised.streams.tools.record_lines import fallback_details, fallback_line, printable
from bisupervised.streams.tools.replay import (
    Counts,
    Mark,
    ReplayError,
    ReplayOptions,
    again,
    choose,
    decode_mark,
    encode_mark,
    is_its_request,
)
from bisupervised.streams.tools.replay_run import Replay, checked
from bisupervised.streams.tools.since_option import since_ms
from support.records import Record

HEADERS = [("a", b"\xff"), ("a", b"2"), ("b", b"")]
WISH = ReplayOptions("requests", loops=2)


def fallen(reason: str = "timeout", headers: object = HEADERS, value: bytes | None = b"\x00not json") -> Record:
    original = Record(value, 17, "requests", 1, headers=headers)  # type: ignore[arg-type]  # a list of pairs
    facts = Facts(Source("requests", 1, 17))
    outcome = fall_back(original, facts, reason, "late", "remote")  # type: ignore[arg-type]  # one of the reasons
    return Record(outcome.value, 5, "fallback", 1, outcome.timestamp, outcome.key, outcome.headers)


def test_a_replay_is_the_request_and_one_header_more() -> None:
    record = fallen()
    send = again(record, record, WISH, "monday", 2)
    assert (send.key, send.value, send.timestamp, send.partition) == (record.key, record.value, record.timestamp, 1)
    assert list(send.headers[:-1]) == HEADERS
    told = msgspec.json.decode(send.headers[-1][1], type=Replayed)
    assert told == Replayed(
        "monday", 1, Source("requests", 1, 17), Source("fallback", 1, 5), "timeout", record.timestamp
    )


@pytest.mark.parametrize(
    ("to", "targets", "partition"), [("requests", 2, 1), ("requests", 1, None), ("other", 2, None)]
)
def test_the_partition_is_kept_only_where_it_is_the_same_one(to: str, targets: int, partition: int | None) -> None:
    record = fallen()
    assert again(record, record, ReplayOptions(to), "x", targets).partition == partition


def test_loops_are_counted_up_to_the_limit() -> None:
    record = fallen()
    for loop in (1, 2):
        assert choose(record, WISH) == "replayed"
        send = again(record, record, WISH, "x", 2)
        assert [name for name, _ in send.headers].count(REPLAY_HEADER) == 1
        assert msgspec.json.decode(send.headers[-1][1])["loop"] == loop
        record = fallen(headers=send.headers)
    assert choose(record, WISH) == "over_loops"


@pytest.mark.parametrize("damaged", [b"", b"\xff", b"[]", b'{"loop":-5}', b'{"loop":"9"}'])
def test_a_replay_header_of_somebody_else_counts_for_nothing(damaged: bytes) -> None:
    record = fallen(headers=[(REPLAY_HEADER, damaged)])
    assert choose(record, WISH) == "replayed"
    [header_] = again(record, record, WISH, "x", 2).headers
    assert msgspec.json.decode(header_[1])["loop"] == 1


def test_reason_and_time_choose() -> None:
    record = fallen("budget")
    assert choose(record, ReplayOptions("r", ("timeout",))) == "not_chosen"
    assert choose(record, ReplayOptions("r", ("budget", "timeout"))) == "replayed"
    assert choose(record, ReplayOptions("r", since_ms=record.timestamp)) == "replayed"
    assert choose(record, ReplayOptions("r", since_ms=record.timestamp + 1)) == "not_chosen"


REQUEST = Record(b"x" * 9, 17, "requests", 1, timestamp=5)


def too_large(facts: Facts) -> Record:
    outcome = without_value(REQUEST, facts, "refused", "local")
    return Record(outcome.value, 5, "fallback", 1, 77, outcome.key, outcome.headers)


def test_a_request_at_the_source_of_a_large_record_is_known_by_the_id_of_its_topic() -> None:
    record = too_large(Facts(Source("requests", 1, 17), topic_id="Zm9v"))
    assert is_its_request(REQUEST, record, "Zm9v")
    assert not is_its_request(REQUEST, record, "made anew")


def test_where_no_id_is_known_it_is_known_by_its_time_and_its_length() -> None:
    record = too_large(Facts(Source("requests", 1, 17)))
    assert is_its_request(REQUEST, record, "Zm9v")
    assert not is_its_request(Record(b"x" * 9, 17, "requests", 1, timestamp=6), record, "Zm9v")
    assert not is_its_request(Record(b"x" * 8, 17, "requests", 1, timestamp=5), record, "Zm9v")


def test_outcomes_of_a_replay_say_that_they_are() -> None:
    replayed = again(fallen(), fallen(), WISH, "x", 2)
    request = Record(replayed.value, headers=replayed.headers)
    result = Result(Source("requests", 0, 0), 1, "local", 0.9, 0.5)
    assert header(publish(request, result).headers, REPLAY_HEADER) == replayed.headers[-1][1]
    assert header(without_value(request, Facts(result.source), "x", "local").headers, REPLAY_HEADER)
    large = Record(b"1", headers=[(REPLAY_HEADER, b"x" * 3000)])
    assert header(without_value(large, Facts(result.source), "x", "local").headers, REPLAY_HEADER) is None


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = Mark(9, "id", ReplayOptions("requests", ("budget",), "2h", 5, 3), Counts(1, 2, 3, 4, 5))
    assert decode_mark(encode_mark(mark), "x") == mark
    assert '"wish":{"to":"requests"' in encode_mark(mark), "as replays that are under way have it"


@pytest.mark.parametrize("metadata", ["", "1;;c;", "{}"])
def test_offsets_of_somebody_else_are_refused(metadata: str) -> None:
    with pytest.raises(ReplayError, match="take another name"):
        decode_mark(metadata, "x")


def test_a_name_stands_for_one_replay() -> None:
    options = ReplayOptions("requests", ("budget",), "2h", since_ms=5)
    marks = {TopicPartition("fallback", 0): (0, Mark(9, "id", options))}
    assert checked("x", marks, "id", msgspec.structs.replace(options, since_ms=99)) == options
    with pytest.raises(ReplayError, match="--reason budget --since 2h --to requests --loops 3: finish"):
        checked("x", marks, "id", ReplayOptions("requests"))
    with pytest.raises(ReplayError, match="no more"):
        checked("x", marks, "another", options)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("", 0),
        ("10s", 990_000),
        ("1m", 940_000),
        ("7d", 0),
        ("1970-01-01T00:00:02", 2000),
        ("1970-01-01T01:00+01:00", 0),
    ],
)
def test_since(text: str, milliseconds: int) -> None:
    assert since_ms(text, 1000.0) == milliseconds


def test_a_point_in_time_that_is_none() -> None:
    with pytest.raises(ConfigurationError, match="--since: must be like 30m"):
        since_ms("yesterday", 0)


def test_control_characters_of_a_record_do_not_reach_the_terminal() -> None:
    record = fallen(value=b"\x1b]0;owned\x07\xff", headers=[("\x1b[2J", b"\x1b[31m\n")])
    for line in (*fallback_details(record), fallback_line(record).plain):
        assert line.isprintable()
    assert printable("\x1b[0m\u202e") == r"\x1b[0m\u202e"
    assert decode_facts(record).source == Source("requests", 1, 17)


def test_one_is_no_plural_and_no_call_is_not_told() -> None:
    facts = Facts(Source("requests", 1, 17), local=Verdict("a", 0.5), remote=Verdict("b", 0.25, calls=1))
    outcome = fall_back(Record(b"{}"), facts, "low_confidence", "doubtful", "remote_supervisor")
    told = fallback_details(Record(outcome.value, 5, "fallback", 1, outcome.timestamp, outcome.key, outcome.headers))
    assert 'local     "a", score 0.5, by ?' in told
    assert 'remote    "b", score 0.25, by ?, 1 call' in told
    assert [counted(n, "record") for n in (0, 1, 2000)] == ["0 records", "1 record", "2,000 records"]


def test_every_record_that_was_left_is_told() -> None:
    counts = Counts(replayed=1000, not_chosen=2, over_loops=3, gone=4, another=8, refused=5, deleted=6, aged=7)
    options = ReplayOptions("requests", ("budget",), loops=2)
    replay = Replay("x", {TopicPartition("f", 0): (9, Mark(9, "", options, counts))}, options, 1, resumed=True)
    told = replay_lines(replay, dry_run=False)
    assert told[0] == "replay x: goes on from a former run; in all 1,000 replayed to requests"
    replay.finished = True
    assert replay_lines(replay, dry_run=False)[0] == "replay x: was finished before; in all 1,000 replayed to requests"
    assert [int(line.split()[0]) for line in told[1:]] == [3, 4, 8, 5, 2, 6, 7]
    nothing = Replay("x", {}, options, 1, resumed=False)
    assert replay_lines(nothing, dry_run=True) == ["replay x: 0 would be replayed to requests"]
