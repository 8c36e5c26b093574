"""How often a client asks who leads what."""

from __future__ import annotations

from itertools import pairwise

import pytest
from bisupervised.streams.kafka.metadata import Pace


def times(pace: Pace, clients: int, until: float, every: float = 0.001) -> list[float]:
    """When one asks that wants to know again as soon as it is answered."""
    found, now = [], 0.0
    while now < until:
        now += pace.rest_s(now, clients)
        pace.asks(now)
        found.append(now)
        now += every
    return found


def test_the_first_go_out_at_once_and_the_others_after_longer_and_longer_rests() -> None:
    found = times(Pace(), 1, 6.0)
    rests = [round(after - before, 2) for before, after in pairwise(found)]
    assert rests[:9] == [0.0, 0.0, 0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize("clients", [1, 10, 30, 100, 500])
def test_all_clients_of_a_process_ask_less_than_fifty_times_a_second(clients: int) -> None:
    found = times(Pace(), clients, 300.0)
    lasting = [now for now in found if now >= 100.0]
    assert len(lasting) * clients / 200.0 <= 30.0
    assert len(lasting) >= 2, "and each of them goes on asking"


def test_after_a_calm_they_go_out_at_once() -> None:
    pace = Pace()
    last = times(pace, 1, 20.0)[-1]
    assert pace.rest_s(last + 0.5, 1) > 0.0
    assert pace.rest_s(last + 5.1, 1) == 0.0
    assert times(pace, 1, 0.1)[:1] == [0.0]


def test_a_client_that_asks_now_and_then_never_waits() -> None:
    pace = Pace()
    for minute in range(10):
        assert pace.rest_s(300.0 * minute, 1000) == 0.0
        pace.asks(300.0 * minute)
