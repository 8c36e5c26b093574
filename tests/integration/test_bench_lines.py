"""The benchmarks of one worker, in seconds: that they run, and count right. A busy machine's speed proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from bisupervised.streams.sandbox.broker import Broker
from rich.console import Console
from support.benchmarks import smoke

from benchmarks import latency, memory, whole
from benchmarks.latency import Arrived
from benchmarks.memory import Sample
from benchmarks.spread import Spread
from benchmarks.traffic import Outcomes

SAY = Console(quiet=True)
OUTCOMES = Outcomes(1, 1, 1)


@pytest.mark.long(25)
def test_idleness_as_a_command(tmp_path: Path) -> None:
    report, said = smoke("idle", tmp_path)
    assert report["cpu_share"]["median"] > 0
    assert 0 < report["loaded_s"]["median"] < report["first_result_s"]["median"]
    assert 0 < report["own_loaded_s"]["median"] < report["own_first_result_s"]["median"]
    assert "start to first result" in said


def test_latency_of_every_event_is_told_with_both_promises(broker: Broker, tmp_path: Path) -> None:
    report = latency.measure(broker.bootstrap_servers, latency.SMOKE, tmp_path, SAY)
    assert report.events == 1000
    assert 0 < report.floor_p50_ms.median <= report.floor_p99_ms.median
    for added in report.latency_ms.values():
        assert added.lost == 0
        assert 0 < added.p50_ms.median <= added.p99_ms.median
        assert added.transactions_per_s.median > 0
    assert report.latency_ms["exactly_once"].repeated == 0


def test_all_three_agents_answer_each_event_once(broker: Broker, tmp_path: Path) -> None:
    report = whole.measure(broker.bootstrap_servers, whole.SMOKE, tmp_path, SAY)
    [run] = report.runs
    assert run.outcomes.exact
    assert run.outcomes.inputs > 500
    assert run.reached_per_s > 0
    assert run.busy.worker > 0
    assert run.busy.loop > 0


def test_nothing_is_lost_while_the_remote_is_down(broker: Broker, tmp_path: Path) -> None:
    report = memory.measure(broker.bootstrap_servers, memory.SMOKE, tmp_path, SAY)
    [life] = report.lives
    assert life.outcomes == Outcomes(2000, 2000, 2000)
    assert life.waited == 400
    assert 0 < life.warm_mb <= life.most_mb


def test_growth_compares_the_end_with_the_time_after_the_warm_up() -> None:
    warming = [Sample(done, 50 + done) for done in range(20)]
    flat = [Sample(done, 100.0) for done in range(20, 101)]
    assert memory.growth(warming + flat) == 0.0
    rising = [Sample(done, 100.0 + done) for done in range(101)]
    assert memory.growth(rising) == pytest.approx(195.5 / 124.5 - 1)
    assert memory.growth([Sample(0, 1.0), Sample(100, 1.1)]) == pytest.approx(0.0)  # one look after the warm-up


def test_what_is_lost_or_repeated_is_counted_and_the_beginning_left_out() -> None:
    arrived = Arrived()
    for number, at in ((0, 9.0), (1, 1.01), (3, 3.03), (3, 3.5)):
        arrived.add(number, at)
    run = latency.weigh([0.0, 1.0, 2.0, 3.0], arrived, skipped=1)
    assert run.p50 == pytest.approx(20.0)
    assert (run.lost, run.repeated) == (1, 1)


def test_where_the_cpu_is_full_in_the_middle_of_the_runs_efficiency_is_not_judged() -> None:
    free, full = (
        whole.level_of([whole.Run(8, 50.0, 800.0, 400.0, 0.5, whole.Busy(0.9, loop, 0.5), OUTCOMES) for loop in loops])
        for loops in ((0.94, 0.94, 0.96), (0.94, 0.96, 0.96))
    )
    assert not free.cpu_full
    assert full.cpu_full
    assert whole.faults(whole.Report(0.96, [])) == []
    assert whole.faults(whole.Report(None, [])) == ["remote_efficiency"]
    assert whole.faults(whole.Report(0.5, [])) == ["remote_efficiency"]


def test_a_machine_without_a_free_core_is_full_too() -> None:
    assert whole.level_of([whole.Run(8, 50.0, 800.0, 400.0, 0.5, whole.Busy(0.1, 0.1, 0.96), OUTCOMES)]).cpu_full


def test_outcomes_are_exact_where_each_input_has_one() -> None:
    assert Outcomes(3, 3, 3).exact
    assert not Outcomes(3, 3, 2).exact  # one lost, one twice
    assert not Outcomes(3, 4, 3).exact


def test_shares_are_written_as_percentages() -> None:
    assert Spread(0.954, 0.9, 1.0, 3).percent == "95.4% (90.0% to 100.0%)"
