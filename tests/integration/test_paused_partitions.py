"""A full window pauses its partition: the backlog stays in Kafka, and nothing is lost when it goes on."""

from __future__ import annotations

import time

import psutil
from aiokafka.structs import OffsetAndMetadata
from support.pipeline import Setup, check_exactly_once, request, wait_until

MIB = 2**20


def test_a_small_window_and_a_slow_remote(setup: Setup) -> None:
    remote, pipeline = setup(
        delay_s=0.02,
        local={"batch_size": 8},
        stream={"window_records": 20, "fetch_records": 10},
        remote={"batch_size": 4, "in_flight": 3},
    )
    sent = pipeline.send([request(n) for n in range(500)])
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {outcome.kind for outcome in outcomes} == {"remote"}
    assert remote.most_under_way <= 3


def test_memory_is_bounded_while_the_remote_hangs(setup: Setup) -> None:
    """92 MiB wait for a remote that does not answer; the worker holds what its windows allow."""
    remote, pipeline = setup(stream={"window_bytes": 2 * MIB, "drain_s": 1.0}, remote={"in_flight": 2})
    worker = pipeline.ready_worker()
    process = psutil.Process(worker.process.pid)
    before = _own_memory(process)
    remote.close_gate()
    sent = pipeline.send([request(n, padding="x" * 60_000) for n in range(1600)])

    def all_doubted() -> bool:
        return sum(_offset(pipeline.committed("local", "requests", p)) for p in (0, 1)) == 1600

    wait_until(all_doubted, "the local agent", explain=worker.tail)
    wait_until(lambda: remote.under_way == 2, "calls in flight", explain=worker.tail)
    time.sleep(1.0)  # time in which an unbounded worker would go on reading
    grown = _own_memory(process) - before
    assert grown < 35 * MIB, f"grown by {grown / MIB:.0f} MiB"
    remote.open_gate()
    check_exactly_once(sent, pipeline.settle(sent))


def _own_memory(process: psutil.Process) -> int:
    """Bytes that belong to the process alone, or that it shares with the one it was forked from: no pages of files."""
    memory = process.memory_info()
    return int(memory.rss - memory.shared)


def _offset(stored: OffsetAndMetadata | None) -> int:
    return 0 if stored is None else int(stored.offset)
