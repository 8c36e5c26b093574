from __future__ import annotations

from typing import Any

import orjson
import pytest
from bisupervised.schemas.records import Verdict
from bisupervised.streams.web.history import History, sample
from bisupervised.streams.web.status import FALLBACKS, About, last_fallbacks, status, whole_values
from support.outcomes import answered, doubted, fallen, paid
from support.views import standing, step, whole_worker, worker

ABOUT = About("shop", "1.2.3", ("local", "remote", "remote_supervisor"))


def document(view: Any = None, reasons: tuple[str, ...] = (), pictures: Any = None) -> dict[str, Any]:
    """As the page reads it."""
    shown = whole_worker() if view is None else view
    history = History()
    history.add(sample(shown, 0.0))
    read: dict[str, Any] = orjson.loads(orjson.dumps(status(ABOUT, shown, reasons, history, pictures or {})))
    return read


def test_it_says_who_the_worker_is_and_why_it_is_not_ready() -> None:
    told = document(reasons=("the broker has not answered local for 21 s",))
    assert told["worker"]["name"] == "shop"
    assert told["worker"]["uptime_s"] == 1.5
    assert told["ready"] is False
    assert told["reasons"] == ["the broker has not answered local for 21 s"]
    assert document()["ready"] is True


def test_it_counts_outcomes_by_edge_by_who_answered_and_by_reason() -> None:
    counts = document()["counts"]
    assert counts["requests"] == 3
    assert counts["edges"]["local_doubtful"] == 1
    assert counts["answered_by"] == {"local": 2, "remote": 2}
    assert counts["untrusted"] == 1
    assert counts["reasons"] == {"low_confidence": 1}
    assert counts["fallback"] == 1


def test_what_the_local_model_answered_is_saved_at_what_an_input_has_cost() -> None:
    money = document()["money"]
    assert (money["asked"], money["spent"]) == (2, 6.0)
    assert money["saved"] == 2 * 3.0
    assert money["remote_only"] == 3 * 3.0
    assert money["calls_avoided"] == 2


def test_before_the_first_call_the_price_of_the_settings_counts() -> None:
    money = document(worker(step("local", answered(), doubted()), step("remote"), price=0.5))["money"]
    assert (money["saved"], money["remote_only"], money["spent"]) == (0.5, 1.0, 0.0)


def test_money_has_no_noise_of_binary_fractions() -> None:
    """0.30000000000000004 was told."""
    view = worker(step("local", *[answered()] * 3, doubted()), step("remote"), price=0.1)
    money = document(view)["money"]
    assert (money["saved"], money["remote_only"]) == (0.3, 0.4)


def test_a_worker_with_some_agents_does_not_make_up_the_rest() -> None:
    told = document(worker(step("remote_supervisor", answered("remote"))))
    assert told["money"]["saved"] is told["money"]["spent"] is None
    assert told["remote"] is None
    assert told["counts"]["requests"] is None


def test_the_remote_shows_its_limits_its_breaker_and_its_budget() -> None:
    remote = document()["remote"]
    assert remote["breaker"]["state"] == "closed"
    assert (remote["held"], remote["said"], remote["next_probe_s"]) == (0, "", None)
    assert remote["limits"]["requests_per_minute"] == 600.0
    assert remote["budget"]["money"] == {"budget": 10.0, "leased": 4.0, "charged": 3.0}


def test_each_partition_has_its_lag_and_age() -> None:
    stopped = standing(1, "stopped", position=None, unfinished=0, oldest_ms=None)
    partitions = document(worker(step("local", standings=[standing(), stopped])))["partitions"]
    assert partitions[0]["lag"] == 5 + 2
    assert partitions[0]["age_s"] == pytest.approx(0.5)
    assert (partitions[1]["lag"], partitions[1]["age_s"], partitions[1]["stopped"]) == (None, None, "a reason")


def test_the_last_fallback_records_are_told_with_reason_and_picture() -> None:
    verdict = Verdict({"label": "cat" * 200}, 0.25)
    view = worker(step("remote", *[fallen(offset=n, remote=verdict) for n in range(FALLBACKS + 5)]))
    told = document(view, pictures={f"requests-0-{FALLBACKS + 4}": "abc"})["fallbacks"]
    assert len(told) == FALLBACKS
    assert told[0]["source"] == f"requests-0-{FALLBACKS + 4}"
    assert (told[0]["reason"], told[0]["agent"]) == ("low_confidence", "remote")
    assert told[0]["picture"] == "/pictures/abc"
    assert told[1]["picture"] is None
    assert told[0]["remote"]["score"] == 0.25
    assert len(told[0]["remote"]["prediction"]) == 200
    assert told[0]["input"] == "v"


def test_a_value_that_was_cut_is_no_picture() -> None:
    view = worker(step("remote", fallen(offset=1, value=b"x" * 100_000), fallen(offset=2), paid()))
    assert whole_values(last_fallbacks(view)) == {"requests-0-2": b"v"}


def test_it_says_which_version_judges_and_whether_it_is_pinned() -> None:
    told = document()["thresholds"]
    assert (told["version"], told["rung"], told["pinned"], told["by"]) == ("1-rung-4-0123456789", 4, "topic", "ann")
    assert document(worker(step("local")))["thresholds"] is None
