from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from bisupervised.streams.demo.report import Baselines, DemoReport, as_table, make_report
from bisupervised.streams.sandbox.outcomes import EndToEndRun, MeterReading, Outcome
from rich.console import Console

TRUTH = {"a": "1", "b": "2", "c": "3", "d": "4"}
GOOD = [
    Outcome("a", "local", "1"),
    Outcome("b", "local", "7"),
    Outcome("c", "remote", "3", cost=0.5),
    Outcome("d", None, reason="low_confidence", cost=0.5),
]


def report(outcomes: list[Outcome] = GOOD, *, truth: dict[str, str] = TRUTH, calls: int = 2, **bill: Any) -> DemoReport:
    price = bill.get("price", 0.5)
    run = EndToEndRun(outcomes, 2.0, MeterReading(calls=calls, refused=3, cost=calls * price))
    return make_report(truth, run, Baselines(local=0.75, remote=1.0), price)


def shown(made: DemoReport) -> str:
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(as_table(made))
    return captured.get()


def test_what_went_right() -> None:
    made = report()
    assert (made.inputs, made.results, made.fallback) == (4, 3, 1)
    assert (made.answered_by_local, made.answered_by_remote) == (2, 1)
    assert (made.lost, made.duplicated, made.unknown) == (0, 0, 0)
    assert made.accuracy_trusted == pytest.approx(2 / 3)
    assert made.share_rejected == 0.25
    assert made.fallback_reasons == {"low_confidence": 1}
    assert made.throughput == 2.0
    assert made.sound


def test_the_bill_is_the_meters() -> None:
    made = report(calls=3)
    assert (made.remote_calls, made.cost, made.remote_calls_refused) == (3, 1.5, 3)
    assert made.cost_in_records == 1.0
    assert made.cost_remote_only == 2.0
    assert made.saved == 0.5
    assert made.share_saved == 0.25
    assert "the records say 1.00" in shown(made)
    assert "the records say the same" in shown(report())


def test_the_bill_of_batches_stands_beside_that_of_direct_calls() -> None:
    meter = MeterReading(calls=0, refused=0, cost=0.5, batches=1, batched=2)
    cheaper = [outcome if not outcome.cost else replace(outcome, cost=0.25) for outcome in GOOD]
    made = make_report(TRUTH, EndToEndRun(cheaper, 2.0, meter), Baselines(0.75, 1.0), 0.5)
    assert (made.remote_batches, made.remote_batched, made.cost, made.cost_direct) == (1, 2, 0.5, 1.0)
    assert (made.cost_in_records, made.saved) == (0.5, 1.5)
    text = shown(made)
    for words in ("Inputs paid in batches", "in 1 batch", "asked at once", "1.00", "50.0% of it", "say the same"):
        assert words in text
    assert "batches" not in shown(report())


def test_a_lost_event() -> None:
    made = report(GOOD[:-1])
    assert (made.lost, made.duplicated, made.fallback) == (1, 0, 0)
    assert not made.sound


def test_a_duplicated_event_counts_once_among_the_results() -> None:
    made = report([*GOOD, Outcome("a", None, reason="timeout"), GOOD[0]])
    assert (made.lost, made.duplicated) == (0, 2)
    assert (made.results, made.fallback) == (3, 1)
    assert not made.sound


def test_one_lost_and_one_duplicated_do_not_cancel_out() -> None:
    made = report([*GOOD[:-1], GOOD[0]])
    assert (made.lost, made.duplicated) == (1, 1)
    assert not made.sound


def test_an_outcome_of_nothing_that_was_sent() -> None:
    made = report([*GOOD, Outcome("z", "local", "1")])
    assert (made.lost, made.duplicated, made.unknown, made.results) == (0, 0, 1, 3)
    assert not made.sound
    assert "1 of unknown origin" in shown(made)


def test_nothing_trusted_and_nothing_to_pay() -> None:
    made = report([Outcome("a", None, reason="timeout")], truth={"a": "1"}, calls=0, price=0.0)
    assert made.accuracy_trusted is None
    assert made.share_saved is None
    assert made.sound
    assert "none" in shown(made)


def test_no_events_at_all() -> None:
    made = report([], truth={}, calls=0)
    assert (made.inputs, made.lost, made.share_rejected) == (0, 0, 0.0)
    assert made.sound


def test_the_table_answers_the_managers_questions() -> None:
    text = shown(report())
    for words in ("75.0%", "100.0%", "66.7%", "Money saved", "Rejected", "Throughput", "0 lost, 0 duplicated"):
        assert words in text
    assert "yes" in text
    assert "NO" in shown(report(GOOD[:-1]))


def test_the_json_has_what_others_read() -> None:
    document = json.loads(json.dumps(asdict(report())))
    assert document.keys() >= {
        "inputs", "results", "fallback", "answered_by_local", "answered_by_remote", "lost", "duplicated",
        "accuracy_local_only", "accuracy_remote_only", "accuracy_trusted", "remote_calls", "cost",
        "cost_remote_only", "seconds",
    }  # fmt: skip
