from __future__ import annotations

import pytest
from support.watched_worker import BEAT_S, Spent, blocked_s

LOOP, OTHER = 1, 2


@pytest.mark.parametrize(
    ("ran", "ready", "others_ready", "expected"),
    [
        (0.3, 0.0, 0.0, 0.3),  # it computed
        (0.3, 0.0, 0.3, 0.3),  # whoever else had no processor: it had one
        (0.0, 0.3, 0.0, 0.0),  # it had no processor
        (0.0, 0.0, 0.0, 0.3),  # it slept in a call that blocks
        (0.0, 0.0, 0.3, 0.0),  # it waited for the GIL of a thread that had no processor
        (0.1, 0.1, 0.05, 0.15),
    ],
)
def test_what_counts_as_blocked(ran: float, ready: float, others_ready: float, expected: float) -> None:
    before = {LOOP: Spent(5.0, 7.0), OTHER: Spent(1.0, 2.0)}
    after = {LOOP: Spent(5.0 + ran, 7.0 + ready), OTHER: Spent(1.0, 2.0 + others_ready), 3: Spent(0.0, 9.0)}
    assert blocked_s(0.3 + BEAT_S, before, after, LOOP) == pytest.approx(expected)
