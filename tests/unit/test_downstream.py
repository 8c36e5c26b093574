from __future__ import annotations

from bisupervised.streams.demo.report import Outcome
from bisupervised.streams.sandbox.end_to_end import Downstream


def test_the_first_outcome_of_an_event_moves_the_clock_and_all_are_kept() -> None:
    downstream = Downstream[Outcome](at=0.0)
    downstream.take(Outcome("a", "results"))
    first = downstream.at
    assert first > 0
    downstream.take(Outcome("a", "fallback"))
    assert downstream.at == first
    assert len(downstream.outcomes) == 2
