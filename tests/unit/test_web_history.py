from __future__ import annotations

from bisupervised.streams.web.history import History, sample
from support.outcomes import answered, doubted, fallen, paid
from support.views import step, worker


def told(local: int, remote: int = 0, rejected: int = 0) -> object:
    return worker(
        step("local", *[answered()] * local, *[doubted()] * (remote + rejected)),
        step("remote", *[paid()] * (remote + rejected)),
        step("remote_supervisor", *[answered("remote")] * remote, *[fallen()] * rejected),
    )


def history(*moments: tuple[float, int, int, int]) -> History:
    made = History()
    for now, *counts in moments:
        made.add(sample(told(*counts), now))  # type: ignore[arg-type]  # a WorkerView, made from integers
    return made


def test_rates_are_over_the_last_five_seconds() -> None:
    made = history((0.0, 0, 0, 0), (100.0, 1000, 0, 0), (105.0, 1050, 20, 5))
    assert made.rates()["requests"] == 15.0
    assert made.rates()["local_results"] == 10.0
    assert made.rates()["local_doubtful"] == 5.0
    assert made.rates()["remote_supervisor_results"] == 4.0
    assert made.rates()["remote_supervisor_fallback"] == 1.0


def test_a_worker_that_has_just_started_shows_what_it_has() -> None:
    assert History().rates() == {}
    assert History().percentiles() == {}
    assert history((0.0, 3, 0, 0)).rates() == {}
    assert history((0.0, 0, 0, 0), (2.0, 3, 0, 0)).rates()["local_results"] == 1.5


def test_the_chart_has_a_row_for_each_step_by_who_ended_the_request() -> None:
    made = history((0.0, 0, 0, 0), (1.0, 10, 2, 0), (3.0, 10, 6, 2))
    assert made.chart() == [[10.0, 2.0, 0.0], [0.0, 2.0, 1.0]]


def test_percentiles_forget_what_is_older_than_a_minute() -> None:
    made = history((0.0, 100, 0, 0), (60.0, 104, 0, 0))
    found = made.percentiles()
    assert found["local"]["count"] == 4
    assert found["local"]["p50"] is not None
    assert found["remote"] == {"count": 0, "p50": None, "p95": None, "p99": None}
