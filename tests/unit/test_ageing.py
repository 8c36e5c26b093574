from __future__ import annotations

import logging
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from bisupervised.streams.commands.asyncapi import defaults
from bisupervised.streams.commands.check_kafka import _Topic, _waiting
from bisupervised.streams.commands.check_waits import look_at_retention
from bisupervised.streams.plane.standing import End
from bisupervised.streams.settings.fit import contradictions
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.telemetry.ageing import Ageing, Nearing
from bisupervised.streams.telemetry.monitor import _warn
from bisupervised.streams.telemetry.running_step import RunningStep
from support.views import standing

HOUR_MS = 3_600_000
WEEK_MS = 168 * HOUR_MS
NOW_MS = 1_900_000_000_000


def waiting(age_ms: int, **fields: Any) -> Any:
    return standing(stored_ms=NOW_MS - age_ms, **fields)


@pytest.mark.parametrize(
    ("kept_ms", "age_ms", "near"),
    [
        (WEEK_MS, WEEK_MS - 24 * HOUR_MS - 1, False),
        (WEEK_MS, WEEK_MS - 24 * HOUR_MS, True),
        (WEEK_MS, WEEK_MS + HOUR_MS, True),
        (HOUR_MS, HOUR_MS // 2 - 1, False),
        (HOUR_MS, HOUR_MS // 2, True),
        (None, 10 * WEEK_MS, False),
    ],
)
def test_a_day_before_the_end_of_the_retention_it_is_near(kept_ms: int | None, age_ms: int, near: bool) -> None:
    assert bool(Ageing(kept_ms).nearing([waiting(age_ms)], NOW_MS)) == near


def test_it_is_said_how_long_the_oldest_record_is_kept() -> None:
    assert Ageing(WEEK_MS).left_s(waiting(HOUR_MS), NOW_MS) == 167 * 3600
    assert Ageing(WEEK_MS).left_s(waiting(2 * WEEK_MS), NOW_MS) == 0
    assert Ageing(WEEK_MS).left_s(standing(stored_ms=None), NOW_MS) is None
    assert Ageing(None).left_s(waiting(HOUR_MS), NOW_MS) is None


@pytest.mark.parametrize("kept_ms", [None, 2 * NOW_MS, 10 * NOW_MS])
def test_no_broker_is_asked_about_a_time_before_1970(kept_ms: int | None) -> None:
    """A retention of centuries, as some set instead of none: the broker refuses a negative time."""
    assert Ageing(kept_ms).near_ms(NOW_MS) is None


class Plane:
    """Owns one partition."""

    def __init__(self, shown: Any) -> None:
        self.shown = shown
        self.asked: list[tuple[Any, int]] = []

    def standings(self) -> list[Any]:
        return [self.shown]

    async def unread_before(self, places: Any, moment_ms: int) -> set[TopicPartition]:
        self.asked.append((dict(places), moment_ms))
        return set(places)


def step_of(plane: Plane) -> RunningStep:
    made = RunningStep(cast("Any", plane), cast("Any", None), cast("Any", None), kept_ms=lambda: WEEK_MS)
    made.ends = {("requests", 0): End(30, 30)}
    return made


async def test_a_partition_that_comes_near_is_told_once_until_it_was_not_near() -> None:
    plane = Plane(waiting(WEEK_MS - HOUR_MS))
    step = step_of(plane)
    assert await step.look_ahead(NOW_MS) == [Nearing("requests", 0, 3600.0)]
    assert await step.look_ahead(NOW_MS) == []
    plane.shown = waiting(HOUR_MS)
    assert await step.look_ahead(NOW_MS) == []
    plane.shown = waiting(WEEK_MS - HOUR_MS)
    assert len(await step.look_ahead(NOW_MS)) == 1


async def test_where_nothing_is_fetched_the_broker_is_asked_how_old_the_next_record_is() -> None:
    """As after a start while the budget is spent: the agent takes nothing, and the window is empty."""
    plane = Plane(standing(state="paused", unfinished=0, stored_ms=None))
    assert await step_of(plane).look_ahead(NOW_MS) == [Nearing("requests", 0, 86_400.0)]
    assert plane.asked == [({TopicPartition("requests", 0): 10}, NOW_MS - WEEK_MS + 24 * HOUR_MS)]


async def test_where_nothing_waits_nobody_is_asked() -> None:
    plane = Plane(standing(unfinished=0, stored_ms=None, position=30))
    assert await step_of(plane).look_ahead(NOW_MS) == []
    assert plane.asked == []


def test_the_warning_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    _warn(Nearing("doubtful", 3, 7200.0))
    [line] = caplog.records
    assert line.getMessage().startswith("doubtful-3: in 2.0 hours")
    assert "--entity-name doubtful --add-config retention.ms=" in line.getMessage()


def budgeted(**topics: Any) -> Settings:
    settings = defaults()
    budget = settings.budget.model_copy(update={"calls": 10, "per": "month", "when_spent": "wait"})
    update = {"budget": budget, "topics": settings.topics.model_copy(update=topics)}
    return settings.model_copy(update=update)


def test_a_budget_that_makes_records_wait_longer_than_they_are_kept_is_a_fault() -> None:
    [told] = contradictions(budgeted(), frozenset())
    assert 'per = "month" a record waits for up to 744 hours' in told
    assert "retention_hours = 168" in told
    assert contradictions(budgeted(retention_hours=745.0), frozenset()) == []
    falls_back = budgeted()
    budget = falls_back.budget.model_copy(update={"when_spent": "fallback"})
    assert contradictions(falls_back.model_copy(update={"budget": budget}), frozenset()) == []


def test_without_a_broker_it_is_said_what_is_assumed() -> None:
    assert "doubtful keeps records for 168 hours while the remote is down" in look_at_retention(defaults()).text


def kept(hours: float) -> _Topic:
    return _Topic("doubtful", "doubtful", 6, 1, {"retention.ms": str(round(hours * HOUR_MS))})


@pytest.mark.parametrize(("hours", "faults"), [(0.01, 2), (700, 1), (745, 0)])
def test_the_real_retention_is_compared_with_what_makes_records_wait(hours: float, faults: int) -> None:
    found = list(_waiting(kept(hours), budgeted(retention_hours=1000.0)))
    assert [one.level for one in found] == ["fault"] * faults
    assert all("kafka-configs.sh --alter --entity-type topics --entity-name doubtful" in one.text for one in found)


def test_a_topic_that_keeps_for_ever_is_no_fault() -> None:
    for_ever = _Topic("doubtful", "doubtful", 6, 1, {"retention.ms": "-1"})
    assert list(_waiting(for_ever, budgeted())) == []
