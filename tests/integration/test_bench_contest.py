"""The contest, in seconds: that it runs and what it writes. How fast a busy machine is proves nothing."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import orjson
import pytest
from support.benchmarks import smoke

from benchmarks import job
from benchmarks.contest import (
    BARE,
    CANDIDATES,
    DIRECT,
    FAUST,
    OURS,
    QUIX,
    TARGETS,
    TWO_WORKERS,
    Costs,
    Run,
    faults,
    summed_up,
    weigh,
)
from benchmarks.job import Outcome

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "candidates"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "shared.py")
ARGUMENTS = ("servers", "group", "requests", "results", "doubtful", "transactional_id")


@pytest.mark.long(30)
@pytest.mark.timeout(300)
def test_it_measures_everyone_who_is_there_and_counts_each_outcome(tmp_path: Path) -> None:
    report, _ = smoke("contest", tmp_path, timeout_s=300.0)
    runs = {run["candidate"]: run for run in report["contest_runs"]}
    assert runs.keys() >= {OURS, DIRECT, BARE, FAUST, TWO_WORKERS.name}
    assert {OURS: 4000, DIRECT: 4000, BARE: 8000, FAUST: 200, TWO_WORKERS.name: 4000}.items() <= {
        name: run["records"] for name, run in runs.items()
    }.items()
    assert all(run["per_s"] > 0 and run["cpu_us"] >= 0 and run["broker_share"] >= 0 for run in runs.values())
    for ratio in ("local_path_vs_bare", "local_path_vs_faust", "channel_cost", "two_workers_vs_one"):
        assert report[ratio]["median"] >= 0, ratio
    assert report["two_workers_per_s"]["median"] == runs[TWO_WORKERS.name]["per_s"]


@pytest.fixture(scope="module")
def shared() -> ModuleType:
    """What candidates import from beside them."""
    spec = importlib.util.spec_from_file_location("shared", FOLDER / "shared.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_candidate_takes_the_common_arguments_and_no_others(script: Path) -> None:
    """Its library may not be here, so it is read and not run."""
    tree = ast.parse(script.read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "asked"
    }
    imported = {
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "shared"
        for name in node.names
    }
    assert {"servers", "group", "requests", "results"} <= used <= set(ARGUMENTS)
    assert "arguments" in imported
    (candidate,) = [each for each in CANDIDATES if each.script == script.name]
    assert candidate.decides == ("decide" in imported) == ("doubtful" in used)
    assert (candidate.promise == "exactly once") == ("transactional_id" in used or candidate.name == QUIX)


def test_all_arguments_are_understood(shared: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [part for name in ARGUMENTS for part in (f"--{name.replace('_', '-')}", name.upper())]
    monkeypatch.setattr(sys, "argv", ["script", *told])
    assert vars(shared.arguments()) == {name: name.upper() for name in ARGUMENTS}


@pytest.mark.parametrize("peer", sorted({each.peer for each in CANDIDATES if each.peer}))
def test_every_version_of_a_peer_is_exact(peer: str) -> None:
    lines = (FOLDER / f"{peer}.txt").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_everybody_decides_the_same(shared: ModuleType) -> None:
    values = [value for _, value in job.requests(500)]
    assert {len(value) for value in values} == {job.VALUE_BYTES}
    answers = job.FreeModel()([orjson.loads(value)["input"] for value in values])
    assert answers.sum(axis=1) == pytest.approx(1.0)
    theirs = [shared.decide(orjson.loads(value)) for value in values]
    assert [answer["prediction"] for answer, _ in theirs] == answers.argmax(axis=1).tolist()
    assert [trusted for _, trusted in theirs] == (answers.max(axis=1) >= job.THRESHOLD).tolist()
    assert sum(not trusted for _, trusted in theirs) == pytest.approx(500 * job.DOUBTFUL, rel=0.3)


def outcomes(records: int) -> list[Outcome]:
    """Right ones."""
    return [
        Outcome(score < job.THRESHOLD, orjson.dumps({"id": number, "prediction": number % job.CLASSES}), number)
        for number, score in enumerate(job.scores(records))
    ]


def test_a_wrong_outcome_is_found() -> None:
    right = outcomes(50)
    first = right[0]
    assert job.faults(50, right) == []
    assert job.faults(50, right[1:]) == ["1 lost"]
    assert job.faults(50, [*right, first]) == ["1 more than once"]
    assert job.faults(50, [Outcome(not first.doubtful, first.value, 0), *right[1:]]) == ["1 wrong"]
    trusted = next(number for number, outcome in enumerate(right) if not outcome.doubtful)
    other = orjson.dumps({"id": trusted, "prediction": (trusted + 1) % job.CLASSES})
    assert job.faults(50, [*right[:trusted], Outcome(False, other, 0), *right[trusted + 1 :]]) == ["1 wrong"]


def test_who_does_not_decide_sends_everything_to_results() -> None:
    assert job.faults(50, outcomes(50), decides=False) != []
    passed_on = [Outcome(False, value, 0) for _, value in job.requests(50)]
    assert job.faults(50, passed_on, decides=False) == []
    assert job.faults(50, passed_on[1:], decides=False) == ["1 lost"]


def test_the_first_batch_is_not_timed_and_cost_is_that_of_the_span() -> None:
    """Ten outcomes at 10 s, and one each second after, while the candidate takes half a core and the broker a tenth."""
    stamps = [10_000] * 10 + [11_000, 12_000, 13_000, 14_000]
    costs = Costs([0.0, 100.0], [0.0, 50.0], [0.0, 10.0])
    run = weigh(CANDIDATES[0], 0, [Outcome(False, b"", stamp) for stamp in stamps], costs, cores=2)
    assert (run.records, run.seconds, run.per_s) == (14, 4.0, 1.0)
    assert run.cpu_us == pytest.approx(500_000)
    assert run.broker_share == pytest.approx(0.05)


def told(candidate: str, number: int, per_s: float, cpu_us: float = 1.0) -> Run:
    return Run(candidate, number, 1, 1.0, per_s, cpu_us, 0.5)


def test_ratios_are_those_within_a_round() -> None:
    """The second round is ten times slower for both, which a ratio of medians would not show."""
    runs = [told(OURS, 0, 50.0), told(BARE, 0, 100.0), told(OURS, 1, 8.0), told(BARE, 1, 10.0), told(QUIX, 0, 1.0)]
    runs += [told(QUIX, 1, 1.0), told(TWO_WORKERS.name, 0, 75.0), told(TWO_WORKERS.name, 1, 8.0)]
    here = [each for each in CANDIDATES if each.name in {OURS, BARE, QUIX}]
    report = summed_up(here, runs)
    assert report.local_path_vs_bare is not None
    assert (report.local_path_vs_bare.low, report.local_path_vs_bare.high) == (0.5, 0.8)
    assert report.local_path_vs_faststream is None
    assert report.two_workers_vs_one is not None
    assert report.two_workers_vs_one.median == pytest.approx(1.25)
    assert faults(report) == ["local_path_vs_faststream"], "not measured is not met"
    slower = [run if run.candidate != OURS else told(OURS, run.round, 1.0) for run in runs]
    assert "local_path_vs_bare" in faults(summed_up(here, slower))


def test_targets_are_of_candidates_that_there_are() -> None:
    assert TARGETS.keys() <= {each.name for each in CANDIDATES}
