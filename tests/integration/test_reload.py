"""Thresholds and limits of a running worker change: by SIGHUP, by a change of a file, and never by a faulty one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bisupervised.agents.supervision.thresholds import Line, Target, Thresholds, signed, write_thresholds
from support.pipeline import Outcome, Pipeline, Sent, Setup, Worker, check_exactly_once, request

#: threshold of the local supervisor, by the version that names it
LOCAL = {"one": 0.8, "two": 0.6}
#: doubted by the first version, trusted by the second
SCORE = 0.7
#: seconds in which a change of a file is noticed, at most
NOTICED_S = 15.0


def judged(version: str, **more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What of the configuration says so."""
    return {
        "local": {"threshold": LOCAL[version], **more.pop("local", {})},
        "thresholds": {"version": version},
        **more,
    }


def version_of(outcome: Outcome) -> str:
    told = outcome.result or outcome.facts
    assert told is not None
    return told.thresholds


def check_judged_as_named(outcomes: list[Outcome]) -> None:
    """Who answered, and the threshold in the record, are those of the version that the record names."""
    for outcome in outcomes:
        result = outcome.result
        assert result is not None
        if result.answered_by == "local":
            assert result.threshold == LOCAL[version_of(outcome)] == 0.6
        else:
            assert result.local is not None
            assert result.local.threshold == 0.8


def stream(pipeline: Pipeline, worker: Worker, change: Callable[[], object], action: str) -> tuple[list[Sent], int]:
    """Send some, wait for them, change something while more are sent, and send some after `action` was logged.

    Returns all, and how many were sent after.
    """
    sent = pipeline.send([request(n, local=SCORE) for n in range(40)])
    pipeline.wait_for_outcomes(sent)
    sent += pipeline.send([request(n, local=SCORE) for n in range(40, 1000)])
    change()
    sent += pipeline.send([request(n, local=SCORE) for n in range(1000, 1400)])
    worker.wait_for(action, timeout_s=NOTICED_S)
    after = pipeline.send([request(n, local=SCORE) for n in range(1400, 1440)])
    return [*sent, *after], len(after)


def check_before_and_after(sent: list[Sent], outcomes: list[Outcome], after: int) -> None:
    check_exactly_once(sent, outcomes)
    check_judged_as_named(outcomes)
    by_place = {outcome.place: outcome for outcome in outcomes}
    first = [by_place[record.place] for record in sent[:40]]
    last = [by_place[record.place] for record in sent[-after:]]
    assert {(version_of(one), one.kind) for one in first} == {("one", "remote")}
    assert {(version_of(one), one.kind) for one in last} == {("two", "local")}


def test_sighup(setup: Setup) -> None:
    _, pipeline = setup(**judged("one"))
    worker = pipeline.ready_worker()
    stamp = pipeline.config.stat()

    def change() -> None:
        pipeline.configure(judged("two"))  # as long as before, in the same file, at the same time: no look can see it
        os.utime(pipeline.config, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert (pipeline.config.stat().st_mtime_ns, pipeline.config.stat().st_size) == (
            stamp.st_mtime_ns,
            stamp.st_size,
        )
        time.sleep(3.0)  # three looks
        assert not worker.actions()["reloaded"]
        worker.signal(signal.SIGHUP)

    sent, after = stream(pipeline, worker, change, "reloaded")
    check_before_and_after(sent, pipeline.settle(sent), after)


def test_a_change_of_the_configuration(setup: Setup) -> None:
    """Beside a threshold and a limit it changes a time-out, which waits for a restart."""
    _, pipeline = setup(**judged("one"))
    worker = pipeline.ready_worker()

    def change() -> None:
        staged = pipeline.config.with_suffix(".new")
        here, pipeline.config = pipeline.config, staged
        pipeline.configure(judged("two", remote={"in_flight": 4, "timeout_s": 20.0}))
        pipeline.config = here
        staged.replace(here)

    sent, after = stream(pipeline, worker, change, "reloaded")
    check_before_and_after(sent, pipeline.settle(sent), after)
    (taken,) = [line for line in worker.told() if line.get("action") == "reloaded"]
    assert taken["keys"] == "[local] threshold, [remote] in_flight, [thresholds] version"
    (waits,) = [line for line in worker.told() if line.get("action") == "restart_needed"]
    assert waits["keys"] == ["[remote] timeout_s"]


def thresholds_file(folder: Path, version: str) -> Path:
    made = Thresholds(
        version=version,
        local=Line(LOCAL[version], "max_softmax"),
        remote=Line(0.7, "max_softmax"),
        first="",
        method="paper",
        target=Target("false_positive_rate", 0.05),
        seed=0,
        parts={},
        made="2026-11-25T00:00:00Z",
    )
    path = folder / "thresholds.json"
    write_thresholds(path, signed(made))
    return path


def test_another_thresholds_file(setup: Setup, tmp_path: Path) -> None:
    """The file of `calibrate` is made anew; the configuration that names it stays as it is."""
    _, pipeline = setup(**judged("one"))
    path = thresholds_file(tmp_path, "one")
    lines = pipeline.config.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("threshold =", 'version = "one"'))]
    kept.insert(kept.index("[thresholds]") + 1, f'file = "{path}"')
    pipeline.config.write_text("\n".join(kept))
    worker = pipeline.ready_worker()
    sent, after = stream(pipeline, worker, lambda: thresholds_file(tmp_path, "two"), "reloaded")
    check_before_and_after(sent, pipeline.settle(sent), after)


@pytest.mark.parametrize("by", ["file", "signal"])
def test_a_faulty_configuration_changes_nothing(setup: Setup, by: str) -> None:
    _, pipeline = setup(**judged("one"))
    worker = pipeline.ready_worker()
    good = pipeline.config.read_text()

    def change() -> None:
        pipeline.config.write_text(good.replace("0.8", "8").replace('"big"', '""').replace("[log]", "[lok]"))
        if by == "signal":
            worker.signal(signal.SIGHUP)

    sent, after = stream(pipeline, worker, change, "reload_refused")
    pipeline.wait_for_outcomes(sent)
    refused = next(line for line in worker.told() if line.get("action") == "reload_refused")
    assert [fault.split(":")[0] for fault in refused["faults"]] == ["[local] threshold", "[remote] model", "lok"]
    assert worker.running
    pipeline.configure(judged("two"))
    worker.wait_for("reloaded", timeout_s=NOTICED_S)
    last = pipeline.send([request(n, local=SCORE) for n in range(2000, 2040)])
    outcomes = pipeline.settle([*sent, *last])
    check_exactly_once([*sent, *last], outcomes)
    check_judged_as_named(outcomes)
    by_place = {outcome.place: outcome for outcome in outcomes}
    assert {version_of(by_place[record.place]) for record in sent[-after:]} == {"one"}, "judged after the refusal"
    assert {version_of(by_place[record.place]) for record in last} == {"two"}
