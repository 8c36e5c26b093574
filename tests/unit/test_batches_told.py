"""What people are told of the log of the batches."""

from __future__ import annotations

from io import StringIO
from typing import Any

from bisupervised.schemas.budget import NANO
from bisupervised.schemas.bulk import BatchCounts, BatchTold, BulkEntry
from bisupervised.streams.batches.told import BatchLog, at, document, notes, sheet, span, story, table
from rich.console import Console

HOUR_MS = 3_600_000
COUNTS = BatchCounts(answered=7, fallen=2, again=1, cost=3 * NANO, direct_cost=6 * NANO)


def batch(number: int, **more: Any) -> BatchTold:
    """Ten inputs; later ones were closed later."""
    first = number * 10
    known: dict[str, Any] = {
        "state": "closed",
        "interface": "openai_batch",
        "records": 10,
        "closed_ms": number * HOUR_MS,
    }
    return BatchTold(f"p/0/{first}-{first + 10}/x", first, first + 10, **(known | more))


def entry(*batches: BatchTold, topic_id: str = "t", **more: Any) -> BulkEntry:
    return BulkEntry("p", topic_id, 100, batches, **more)


def log_of(*entries: BulkEntry) -> BatchLog:
    log = BatchLog()
    for number, each in enumerate(entries):
        log.take(0, number * 1000, each)
    return log


def shown(*tables: Any) -> str:
    console = Console(width=200, record=True, file=StringIO())
    for each in tables:
        console.print(each)
    return console.export_text()


def test_the_last_word_about_a_batch_is_what_is_true_of_it() -> None:
    log = log_of(entry(batch(1)), entry(batch(1, state="running", provider_id="b1")), entry(batch(2)))
    assert [word.batch.state for word in log.latest(5)] == ["running", "closed"]
    found = log.find("b1")
    assert found is not None
    assert found is log.find("p/0/10-20/x")
    assert [word.batch.state for word in log.history[found.batch.id]] == ["closed", "running"]
    assert log.find("nobody") is None
    assert log.find("") is None, "a batch that is not at the provider yet has no name there"


def test_what_a_whole_entry_does_not_know_is_gone_and_what_is_over_stays() -> None:
    log = log_of(entry(batch(1), batch(2, state="ended")), entry(batch(3), whole=True))
    assert {word.batch.id for word in log.latest(5)} == {batch(2).id, batch(3).id}


def test_batches_of_a_topic_that_was_made_anew_are_not_under_way_any_more() -> None:
    log = log_of(entry(batch(1)), entry(batch(2), topic_id="another"))
    assert [word.batch.id for word in log.latest(5)] == [batch(2).id]


def test_partitions_say_nothing_of_each_other() -> None:
    log = log_of(entry(batch(1)))
    log.take(1, 0, entry(batch(2), topic_id="t", whole=True))
    assert len(log.latest(5)) == 2


def test_of_those_that_are_over_only_the_last_are_listed() -> None:
    over = [batch(number, state="ended", ended_ms=HOUR_MS) for number in range(1, 5)]
    log = log_of(entry(*over), entry(batch(0, state="running", closed_ms=1)))
    assert [word.batch.id for word in log.latest(2)] == [batch(0).id, batch(3).id, batch(4).id]
    assert [word.batch.state for word in log.latest(0)] == ["running"]


def test_what_all_of_them_come_to() -> None:
    log = log_of(entry(batch(1), batch(2, state="ended", counts=COUNTS, unsure=1), queue_tokens=90_000))
    told = notes(log, 30 * HOUR_MS, 26 * 3600.0)
    assert told == [
        "1 batch under way with 10 inputs; 1 over",
        "7 answered, 2 fell back, 1 went into another batch",
        "cost 3.0000; direct calls would have cost 6.0000",
        "1 late: closed more than 26.0 h ago",
        "1 may have been paid twice: see docs/batches.md",
        "the provider lets about 90,000 tokens wait at once, as was learned",
    ]
    assert len(notes(log_of(), 0, 1.0)) == 3


def test_a_batch_that_was_split_is_told_as_such_and_is_not_over() -> None:
    split = batch(1, state="ended", split=2, why="larger than the provider's queue")
    log = log_of(entry(split, batch(2)), entry(batch(3), batch_tokens=5_000))
    [word, *_] = log.latest(5)
    listed, whole = shown(table([word], HOUR_MS)), shown(sheet(word, HOUR_MS), story([word]))
    assert "split" in listed
    assert "ended" not in listed + whole
    assert "split into 2" in whole
    told = notes(log, 2 * HOUR_MS, 26 * 3600.0)
    assert told[0] == "2 batches under way with 20 inputs; 0 over"
    assert told[-1] == "one batch holds about 5,000 tokens at most, as was learned"


def test_a_batch_for_scripts_has_every_field_and_money_in_the_currency() -> None:
    [word] = log_of(entry(batch(1, counts=COUNTS, most=5 * NANO), by="host:1")).latest(1)
    told = document(word)
    assert set(told) >= {*BatchTold.__struct_fields__, "partition", "by", "at_ms"}
    assert (told["most"], told["counts"]["cost"], told["counts"]["direct_cost"]) == (5.0, 3.0, 6.0)
    assert (told["partition"], told["by"], told["provider_id"]) == (0, "host:1", "")


def test_the_tables_show_it() -> None:
    log = log_of(entry(batch(1)), entry(batch(1, state="running", provider_id="batch_7", why="late")))
    [word] = log.latest(1)
    listed = shown(table([word], 3 * HOUR_MS))
    for part in ("p/0/10-20/x", "running", "batch_7", "late", "2.0 h", "10"):
        assert part in listed
    whole = shown(sheet(word, 3 * HOUR_MS), story(log.history[word.batch.id]))
    for part in (
        "offsets 10 to 19 of partition 0",
        "openai_batch",
        "1970-01-01 01:00:00",
        "closed",
        "1970-01-01 00:00:01",
    ):
        assert part in whole


def test_times_as_people_say_them() -> None:
    assert [span(seconds) for seconds in (0, 42.4, 600, 7200)] == ["0 s", "42 s", "10 min", "2.0 h"]
    assert at(0) == ""
