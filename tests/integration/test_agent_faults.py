"""A model that raises: the record alone is to blame, and everybody else is answered."""

from __future__ import annotations

from typing import Any

from support.models import RAISES
from support.pipeline import Outcome, Sent, Setup, Worker, check_exactly_once, check_kinds, mixed, request


def test_one_input_that_raises_ends_alone_as_model_error(setup: Setup) -> None:
    _, pipeline = setup(local={"batch_size": 64})
    records = mixed(200)
    records[77] = request(77, mark=RAISES)
    sent = pipeline.send(records)
    worker = pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    kinds = {outcome.place: outcome.kind for outcome in outcomes}
    failed = [place for place, kind in kinds.items() if kind == "model_error"]
    assert failed == [sent[77].place]
    (fallen,) = [outcome for outcome in outcomes if outcome.kind == "model_error"]
    assert fallen.record.value == sent[77].value
    assert worker.actions()["model_failed"] == 1, "its neighbours are answered in the same breath"
    assert statistics(worker, "local")["faults"] == 0


def test_an_agent_that_crashes_is_restarted_and_its_records_are_delivered_again(setup: Setup) -> None:
    # the fault hits every third batch, whoever is in it: nobody may be given up for bad luck
    _, pipeline = setup(local={"batch_size": 8}, stream={"max_tries": 50})
    sent = pipeline.send(mixed(200))
    worker = pipeline.start(["support.crashing_agent", "worker", "--config", str(pipeline.config)])
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)
    assert statistics(worker, "local")["faults"] >= 3, "each try is counted"
    assert worker.actions()["agent_failed"] >= 3, "each fault is logged under a stable name"


def test_inputs_that_all_raise_do_not_end_the_worker(setup: Setup) -> None:
    """Each is split off, tried and given up."""
    _, pipeline = setup(local={"batch_size": 32})
    sent = pipeline.send([request(n, mark=RAISES) for n in range(20)])
    pipeline.worker()
    check_model_errors(sent, pipeline.settle(sent))


def check_model_errors(sent: list[Sent], outcomes: list[Outcome]) -> None:
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"model_error"}


def statistics(worker: Worker, agent: str) -> dict[str, Any]:
    """What a plane told when it stopped."""
    told_by: list[dict[str, Any]] = [line["counts"] for line in worker.told() if line.get("action") == "plane_stopped"]
    (found,) = [counts for counts in told_by if counts["agent"] == agent]
    return found
