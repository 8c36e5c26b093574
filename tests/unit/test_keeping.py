from __future__ import annotations

from typing import Any

import pytest
from bisupervised.streams.commands.asyncapi import defaults
from bisupervised.streams.flow import topic_configs
from bisupervised.streams.kafka.batches import Stamps
from bisupervised.streams.topics import keeping as module
from bisupervised.streams.topics.keeping import (
    FOR_EVER_MS,
    Keeping,
    keeping,
    own_times,
    untimely,
)

WEEK_MS = 7 * 86_400_000
NOW_MS = 1_900_000_000_000
SETTINGS = defaults()
WAITING = ("doubtful", "answers", "fallback")


async def asked(monkeypatch: pytest.MonkeyPatch, configs: dict[str, str], name: str = "results") -> Keeping:
    async def configured(*_: Any) -> dict[str, str]:
        return configs

    monkeypatch.setattr(module, "configured", configured)
    return (await keeping(None, SETTINGS, [name]))[name]


def test_what_waits_in_a_topic_is_made_to_bear_the_time_of_the_broker() -> None:
    configs = topic_configs(SETTINGS)
    assert {name for name, found in configs.items() if "message.timestamp.type" in found} == set(WAITING)
    assert all(configs[name]["message.timestamp.type"] == "LogAppendTime" for name in WAITING)


async def test_what_the_broker_says_goes_before_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await asked(monkeypatch, {"retention.ms": "3600000", "message.timestamp.before.max.ms": "60000"})
    assert found == Keeping(3_600_000, append_time=False, takes_ms=60_000)
    assert found.own_ms == 60_000


async def test_where_it_does_not_say_the_settings_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await asked(monkeypatch, {}) == Keeping(WEEK_MS)
    assert (await asked(monkeypatch, {}, "elsewhere")).own_ms == FOR_EVER_MS // 2


@pytest.mark.parametrize("name", ["message.timestamp.before.max.ms", "message.timestamp.difference.max.ms"])
async def test_what_a_topic_refuses_for_its_age_bears_the_time_of_now(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert (await asked(monkeypatch, {"retention.ms": "-1", name: "9"})).own_ms == 9


def test_a_result_bears_the_time_of_its_request_for_half_the_retention_and_what_waits_never() -> None:
    kept = dict.fromkeys(("requests", "results", *WAITING), Keeping(WEEK_MS))
    assert own_times(SETTINGS, kept) == {"requests": WEEK_MS // 2, "results": WEEK_MS // 2} | dict.fromkeys(WAITING, 0)


@pytest.mark.parametrize(
    ("age_ms", "own"), [(0, True), (WEEK_MS // 2, True), (WEEK_MS // 2 + 1, False), (-1, False), (NOW_MS, False)]
)
def test_a_record_too_old_or_of_the_future_is_sent_with_the_time_of_now(age_ms: int, own: bool) -> None:
    stamps = Stamps(NOW_MS, {"results": WEEK_MS // 2, "fallback": 0})
    owns_ms = [NOW_MS - 1, NOW_MS - age_ms]  # the neighbour keeps its own
    assert stamps.of("results", owns_ms) == [NOW_MS - 1, NOW_MS - age_ms if own else NOW_MS]
    assert stamps.of("fallback", owns_ms) == [NOW_MS, NOW_MS]
    assert stamps.of("a topic nobody asked about", owns_ms) == owns_ms


def test_a_topic_that_goes_by_its_producers_is_named_with_the_command_that_changes_it() -> None:
    kept = {"requests": Keeping(1), "results": Keeping(1), "answers": Keeping(1, append_time=True)}
    kept["doubtful"] = Keeping(1)
    [(name, advice)] = untimely(SETTINGS, kept).items()
    assert name == "doubtful"
    assert "--entity-name doubtful --add-config message.timestamp.type=LogAppendTime" in advice
