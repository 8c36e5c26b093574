"""`/live` and `/ready` of a worker that loads, works, stands still, and loses its broker."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from aiokafka import AIOKafkaProducer
from bisupervised.streams.kafka.producer import put_away
from bisupervised.streams.sandbox.broker import Broker
from support.pipeline import PATIENCE_S, Pipeline, Setup, Worker, check_exactly_once, request, wait_until

pytestmark = pytest.mark.fresh


def asked(worker: Worker, path: str) -> tuple[int, list[str]]:
    """Status and reasons."""
    try:
        with urlopen(worker.page + path, timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
            return answer.status, told["reasons"]
    except HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)["reasons"]


def reasons(worker: Worker) -> list[str]:
    """Why it is not ready; the status says the same."""
    status, found = asked(worker, "ready")
    assert status == (503 if found else 200)
    return found


def wait_for_reason(worker: Worker, text: str) -> None:
    wait_until(
        lambda: any(text in reason for reason in reasons(worker)),
        text,
        PATIENCE_S,
        explain=lambda: str(reasons(worker)),
    )
    assert asked(worker, "live") == (200, []), "it is not ready, but alive"


def wait_until_ready(worker: Worker) -> None:
    wait_until(lambda: not reasons(worker), "readiness", PATIENCE_S, explain=lambda: str(reasons(worker)))


def test_a_worker_is_not_ready_before_its_model_is_loaded(setup: Setup) -> None:
    _, pipeline = setup(local={"model": "support.models:unhurried", "warm_up": [[0, 0.5, 0.5, 0]]})
    worker = pipeline.worker()
    wait_for_reason(worker, "the model of local is not loaded yet")
    wait_until_ready(worker)


def test_a_worker_that_makes_no_progress_is_not_ready_and_says_where(setup: Setup) -> None:
    remote, pipeline = setup(partitions=1, web={"stalled_s": 2.0})
    worker = pipeline.ready_worker()
    wait_until_ready(worker)
    remote.close_gate()
    sent = pipeline.send([request(number) for number in range(3)])
    wait_for_reason(worker, f"{pipeline.topic('doubtful')}-0 has 3 unfinished records and has finished none for")
    remote.open_gate()
    pipeline.wait_for_outcomes(sent)
    wait_until_ready(worker)


async def _leave_open(pipeline: Pipeline, transactional_id: str) -> None:
    """A transaction with one record, of a producer that is not heard of again."""
    producer = AIOKafkaProducer(
        bootstrap_servers=pipeline.servers, transactional_id=transactional_id, transaction_timeout_ms=600_000
    )
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(pipeline.topic("requests"), b"{}", partition=0)
    await put_away(producer)


async def _end(pipeline: Pipeline, transactional_id: str) -> None:
    """Whoever takes its id has it aborted."""
    async with AIOKafkaProducer(bootstrap_servers=pipeline.servers, transactional_id=transactional_id):
        pass


def test_records_behind_a_foreign_transaction_are_counted_and_told_apart(setup: Setup) -> None:
    """Nobody can read them yet: not even the one that may be gone."""
    _, pipeline = setup(partitions=1)
    worker = pipeline.ready_worker()
    asyncio.run(_leave_open(pipeline, f"foreign-{pipeline.name}"))
    sent = pipeline.send([request(number, local=0.95) for number in range(50)])

    def partition() -> dict[str, Any]:
        with urlopen(worker.page + "api/status", timeout=10) as answer:
            rows: list[dict[str, Any]] = json.load(answer)["partitions"]
        return next((row for row in rows if row["agent"] == "local"), {"held_back": None})

    wait_until(lambda: partition()["held_back"] == 51, "what is held back", explain=lambda: str(partition()))
    assert partition()["lag"] == 51
    with urlopen(worker.page + "metrics", timeout=10) as answer:
        assert 'bisupervised_partition_held_back_records{agent="local"' in answer.read().decode()
    asyncio.run(_end(pipeline, f"foreign-{pipeline.name}"))
    check_exactly_once(sent, pipeline.settle(sent))


@pytest.mark.long(25)
def test_a_worker_whose_broker_is_gone_is_not_ready_until_it_is_back(setup: Setup, tmp_path: Path) -> None:
    with Broker(tmp_path / "kafka") as broker:
        _, pipeline = setup(broker.bootstrap_servers)
        worker = pipeline.ready_worker()
        wait_until_ready(worker)
        broker.kill()
        before, since = len(worker.told()), time.monotonic()
        wait_for_reason(worker, "the broker has not answered local for")
        lines, seconds = len(worker.told()) - before, time.monotonic() - since
        assert lines / seconds < 5.0, f"{lines} lines in {seconds:.0f} s: each thing is said once, then counted"
        broker.restart()
        wait_until_ready(worker)
