"""`make trust` in small: what it counts, and that a broken promise would be found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from bisupervised.agents.supervision.procedure import Second
from support.recorded import of_classes
from support.samples import drawn

SCRIPT = Path(__file__).parents[2] / "scripts" / "trust.py"


@pytest.fixture(scope="module")
def trust() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trust", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["trust"] = module  # where its dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("method", "target"), [("clopper-pearson", 0.05), ("ltt", 0.17)])
def test_a_certified_threshold_keeps_its_promise(trust: ModuleType, method: str, target: float) -> None:
    made = trust.trial("drawn", drawn(20_000, 1), Second(method, target, 0.1), 1000, 200, 0)  # type: ignore[arg-type]  # parametrize knows no Literal
    assert made.kept, made
    assert made.infeasible < 0.9, "nothing is shown by thresholds that are not there"
    assert made.exceeded > 0, "on the very inputs that certified it, no threshold ever breaks its target"


def test_the_papers_rule_promises_nothing_and_breaks_it(trust: ModuleType) -> None:
    made = trust.trial("drawn", drawn(20_000, 1), Second("paper", 0.05, 0.1), 1000, 200, 0)
    assert made.exceeded > 0.3
    assert made.kept


@pytest.mark.parametrize(("exceeded", "kept"), [(0.10, True), (0.12, True), (0.13, False)])
def test_a_promise_that_is_broken_more_often_than_chance_allows_is_broken(
    trust: ModuleType, exceeded: float, kept: bool
) -> None:
    made = trust.Trial("case", "ltt", 0.05, 0.1, 1000, 1000, exceeded, 0.0)
    assert made.kept == kept


def test_the_table_goes_between_its_marks(trust: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- trust -->\nold\n<!-- end of trust -->\nafter\n")
    trust.fill(page, "| new |")
    assert page.read_text() == "before\n<!-- trust -->\n| new |\n<!-- end of trust -->\nafter\n"
    page.write_text("no place")
    with pytest.raises(SystemExit, match="no place"):
        trust.fill(page, "| new |")


def test_two_promises_are_broken_where_either_is(trust: ModuleType) -> None:
    population = drawn(20_000, 1)
    both = Second("ltt", 0.2, 0.1, 0.1)
    assert trust.outcome(drawn(4000, 2), drawn(4000, 3), population, Second("ltt", 0.2, 0.1)) == "kept"
    made = trust.trial("drawn", population, both, 4000, 100, 0)
    assert (made.targets, made.also) == ("0.2 and 0.1", 0.1)
    assert made.kept, made
    assert made.infeasible < 0.9, "nothing is shown by thresholds that are not there"


def test_a_learned_score_keeps_the_promise_though_nobody_asks_whether_it_is_any_good(trust: ModuleType) -> None:
    recording, evidence = of_classes(5000, 0)
    case = trust.Recorded("drawn", recording, evidence, "max_softmax")
    [made] = trust.learned_trials(case, [Second("clopper-pearson", 0.05, 0.1)], 900, 60, 0)
    assert made.how == "clopper-pearson, learned score"
    assert made.kept, made
    assert made.infeasible == 0.0
