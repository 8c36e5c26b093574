"""Whatever order calls end in: at most one probe, and calls only while it is closed or for the probe."""

from __future__ import annotations

from typing import Literal

from bisupervised.agents.remote.limiting.breaker import Breaker, BreakerPolicy
from hypothesis import given
from hypothesis import strategies as st

Event = Literal["call", "succeeded", "failed", "limited", "refused", "abandoned", "wait"]
EVENTS: st.SearchStrategy[list[tuple[Event, int, float]]] = st.lists(
    st.tuples(
        st.sampled_from(
            (*["call"] * 3, "succeeded", *["failed"] * 2, "limited", *["refused"] * 3, "abandoned", *["wait"] * 2)
        ),
        st.integers(0, 5),  # which of the calls that are out
        st.sampled_from((5.0, 10.0, 20.0)),  # seconds of a wait
    ),
    min_size=20,
    max_size=120,
)


@given(events=EVENTS, failures=st.integers(1, 4), known=st.booleans())
def test_at_most_one_probe_is_out(events: list[tuple[Event, int, float]], failures: int, known: bool) -> None:
    breaker, now = Breaker(BreakerPolicy(failures, 10.0, 20.0)), 0.0
    out: list[int] = []
    probes: set[int] = set()
    for event, which, seconds in events:
        if event == "call":
            if breaker.admits(now):
                is_probe = not breaker.closed
                ticket = breaker.begin(now)
                out.append(ticket)
                if is_probe:
                    assert not probes, "two probes are out"
                    probes.add(ticket)
        elif event == "wait":
            now += seconds
        elif out:
            ticket = out.pop(which % len(out))
            probes.discard(ticket)
            _end(breaker, event, ticket, now)
            if breaker.doubted and not out:
                breaker.decide(now, known=known)
        if probes:
            assert not breaker.admits(now)
            assert breaker.state == "probing"


def _end(breaker: Breaker, how: Event, ticket: int, now: float) -> None:
    if how == "succeeded":
        breaker.succeeded(ticket)
    elif how == "failed":
        breaker.failed(ticket, now)
    elif how == "limited":
        breaker.limited(ticket, now)
    elif how == "refused":
        breaker.refused(ticket, now, frozenset((str(ticket + now),)), every=False)
    else:
        breaker.abandoned(ticket)


@given(events=EVENTS)
def test_it_always_closes_again_once_the_remote_is_back(events: list[tuple[Event, int, float]]) -> None:
    breaker, now = Breaker(BreakerPolicy(2, 10.0, 20.0)), 0.0
    out: list[int] = []
    for event, which, seconds in events:
        now += seconds if event == "wait" else 0.0
        if event == "call" and breaker.admits(now):
            out.append(breaker.begin(now))
        elif event != "call" and out:
            _end(breaker, event, out.pop(which % len(out)), now)
    for ticket in out:
        breaker.abandoned(ticket)
    if breaker.doubted:
        breaker.decide(now, known=False)
    assert breaker.admits(now + 20.0)
    breaker.succeeded(breaker.begin(now + 20.0))
    assert breaker.closed
