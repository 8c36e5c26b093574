"""Workers are killed while they spend: the remote's own meter never sees more than the budget."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bisupervised.streams.sandbox.broker import Broker
from support.pipeline import Worker, check_exactly_once, remote_and_pipeline, request

CALLS = 1500
SHARE = 0.02
INPUTS = 2500
KILLS = 8
WORKERS = 3


@pytest.mark.long(25)
@pytest.mark.timeout(200)
def test_killed_while_spending_never_over(broker: Broker, tmp_path: Path) -> None:
    """A kill forfeits a lease (30 calls) and what was under way; all else is spent, and every record is answered."""
    chance = random.Random(20_261_125)
    tables: dict[str, dict[str, Any]] = {
        "remote": {"batch_size": 1, "batch_wait_ms": 0, "in_flight": 24, "tries": 3},
        "budget": {"calls": CALLS, "per": "month", "lease_share": SHARE, "when_spent": "fallback"},
    }
    servers = broker.bootstrap_servers
    with remote_and_pipeline(servers, tmp_path, delay_s=0.05, partitions=6, **tables) as (remote, pipeline):
        sent = pipeline.send([request(n) for n in range(INPUTS)])
        workers: list[Worker] = [pipeline.worker() for _ in range(WORKERS)]
        killed = 0
        while killed < KILLS and remote.calls < CALLS * 0.9:
            before = remote.calls
            deadline = time.monotonic() + 20
            while remote.calls < before + 100 and time.monotonic() < deadline:
                time.sleep(0.02)
            victim = chance.randrange(WORKERS)
            workers[victim].kill()
            workers[victim] = pipeline.worker()
            killed += 1
        outcomes = pipeline.settle(sent, timeout_s=120)
        check_exactly_once(sent, outcomes)
        kinds = Counter(outcome.kind for outcome in outcomes)
        assert remote.calls <= CALLS, "never over"
        assert kinds["budget"] > 0, "it was spent"
        lost_at_most = killed * (CALLS * SHARE + 24) + WORKERS * CALLS * SHARE
        assert remote.calls >= CALLS - lost_at_most, (remote.calls, killed, kinds)
        assert killed >= 4
