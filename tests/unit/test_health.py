from __future__ import annotations

from typing import Literal

from bisupervised.streams.plane.standing import Standing
from bisupervised.streams.telemetry.health import Health, HealthPolicy

POLICY = HealthPolicy(stalled_s=30.0, silent_s=20.0)


def standing(
    *,
    unfinished: int = 0,
    sent: int = 0,
    state: Literal["acquiring", "running", "paused", "stopped"] = "running",
    stopped: str | None = None,
) -> Standing:
    return Standing("requests", 1, state, stopped, None if state == "acquiring" else 5, unfinished, None, sent)


def health(now: float = 0.0) -> Health:
    """Of a worker whose model is loaded and whom the broker has answered."""
    made = Health(POLICY, ["local"])
    made.loaded("local")
    made.answered("local", now)
    return made


def test_a_worker_is_ready_when_nothing_speaks_against_it() -> None:
    assert health().reasons(1.0) == []


def test_it_is_not_ready_before_its_model_is_loaded() -> None:
    made = Health(POLICY, ["local", "remote"])
    made.loaded("remote")
    assert made.reasons(0.0) == ["the model of local is not loaded yet"]
    made.loaded("local")
    assert made.reasons(0.0) == [f"the broker has not answered {agent} yet" for agent in ("local", "remote")]


def test_it_is_not_ready_while_the_broker_is_gone() -> None:
    made = health()
    assert made.reasons(20.0) == []
    assert made.reasons(21.0) == ["the broker has not answered local for 21 s"]
    made.answered("local", 22.0)
    assert made.reasons(30.0) == []


def test_a_topic_that_is_not_there_is_no_silence_of_the_broker() -> None:
    made = health()
    made.missing({"local": "requests"})
    assert made.reasons(1.0) == [
        "the broker has no topic requests, which local reads, or does not show it: was it deleted?"
    ]
    made.missing({})
    assert made.reasons(1.0) == []


def test_it_is_not_ready_while_a_partition_with_unfinished_records_stands_still() -> None:
    made = health()
    for now in range(0, 60, 10):
        made.answered("local", now)
        made.seen([standing(unfinished=3, sent=7)], now)
    assert made.reasons(50.0) == ["requests-1 has 3 unfinished records and has finished none for 50 s"]


def test_a_partition_that_finishes_one_in_time_is_well() -> None:
    made = health(100.0)
    for now in range(0, 110, 10):
        made.seen([standing(unfinished=3, sent=now // 20)], now)
    assert made.reasons(110.0) == []


def test_time_without_records_does_not_count() -> None:
    made = health(100.0)
    made.seen([standing()], 0.0)
    made.seen([standing()], 99.0)
    made.seen([standing(unfinished=1)], 100.0)
    assert made.reasons(101.0) == []
    assert made.reasons(120.0) == []


def test_a_partition_that_was_taken_away_holds_nobody_back() -> None:
    made = health(100.0)
    made.seen([standing(unfinished=1)], 0.0)
    made.seen([], 100.0)
    assert made.reasons(100.0) == []


def test_a_stopped_partition_says_why_at_once() -> None:
    made = health()
    made.seen([standing(state="stopped", stopped="the topic was made anew")], 0.0)
    assert made.reasons(0.0) == ["requests-1 is stopped: the topic was made anew"]


def test_a_partition_that_cannot_be_acquired_counts_after_a_while() -> None:
    made = health(40.0)
    made.seen([standing(state="acquiring")], 0.0)
    made.seen([standing(state="acquiring")], 29.0)
    assert made.reasons(29.0) == []
    assert made.reasons(40.0) == ["requests-1 could not be acquired for 40 s"]
    made.seen([standing(unfinished=9)], 41.0)
    assert made.reasons(45.0) == []


def test_a_plane_that_failed_is_neither_ready_nor_alive() -> None:
    made = health()
    assert made.alive
    made.failed("a data plane has failed: KafkaError")
    assert not made.alive
    assert made.reasons(0.0) == ["a data plane has failed: KafkaError"]


def test_it_is_not_ready_while_no_version_of_the_thresholds_is_known() -> None:
    """Nothing is read yet, so that a broker is silent is no news."""
    made = Health(POLICY, ["local"])
    made.loaded("local")
    made.undecided("the topic of thresholds is not read yet")
    assert made.reasons(0.0) == ["the topic of thresholds is not read yet"]
    assert made.alive
    made.undecided("")
    assert made.reasons(0.0) == ["the broker has not answered local yet"]
