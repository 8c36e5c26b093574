"""Whatever order calls end in: at most one probe, and calls only while it is closed or for the probe."""

from __future__ import annotations

from typing import Literal

from bisupervised.agents.remote.limiting.breaker import Breaker, BreakerPolicy
from hypothesis import given
from hypothesis import strategies as st

Event = Literal["call", "succeeded", "failed", "abandoned", "stop", "wait"]
EVENTS: st.SearchStrategy[list[tuple[Event, int, float]]] = st.lists(
    st.tuples(
        st.sampled_from(("call", "call", "call", "succeeded", "failed", "failed", "abandoned", "stop", "wait", "wait")),
        st.integers(0, 5),  # which of the calls that are out
        st.sampled_from((5.0, 10.0, 20.0)),  # seconds of a wait
    ),
    min_size=20,
    max_size=120,
)


@given(events=EVENTS, failures=st.integers(1, 4))
def test_at_most_one_probe_is_out(events: list[tuple[Event, int, float]], failures: int) -> None:
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
        elif event == "stop":
            breaker.stop(now)
            probes.clear()  # what is under way is old now, the probe, too
        elif event == "wait":
            now += seconds
        elif out:
            ticket = out.pop(which % len(out))
            probes.discard(ticket)
            _end(breaker, event, ticket, now)
        if probes:
            assert not breaker.admits(now)
            assert breaker.state == "probing"


def _end(breaker: Breaker, how: Event, ticket: int, now: float) -> None:
    if how == "succeeded":
        breaker.succeeded(ticket)
    elif how == "failed":
        breaker.failed(ticket, now)
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
        elif event == "stop":
            breaker.stop(now)
        elif event != "call" and out:
            _end(breaker, event, out.pop(which % len(out)), now)
    for ticket in out:
        breaker.abandoned(ticket)
    assert breaker.admits(now + 20.0)
    breaker.succeeded(breaker.begin(now + 20.0))
    assert breaker.closed
