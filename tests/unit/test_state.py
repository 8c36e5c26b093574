"""Which state of a partition may follow which."""

from __future__ import annotations

import pytest
from bisupervised.streams.plane.state import IllegalTransition, State

pytestmark = pytest.mark.unit

LEGAL = {
    State.ACQUIRING: {State.RUNNING, State.PAUSED, State.STOPPED, State.RELEASING, State.ENDED},
    State.RUNNING: {State.PAUSED, State.ACQUIRING, State.STOPPED, State.RELEASING, State.ENDED},
    State.PAUSED: {State.RUNNING, State.ACQUIRING, State.STOPPED, State.RELEASING, State.ENDED},
    State.STOPPED: {State.RELEASING, State.ENDED},
    State.RELEASING: {State.ENDED},
    State.ENDED: set(),
}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("following", list(State))
def test_only_legal_transitions_are_made(state: State, following: State) -> None:
    if following in LEGAL[state]:
        assert state.to(following) is following
        return
    with pytest.raises(IllegalTransition, match=f"{state.value} cannot become {following.value}"):
        state.to(following)


def test_records_are_handed_out_while_it_is_running_or_paused_only() -> None:
    assert {state for state in State if state.taking} == {State.RUNNING, State.PAUSED}
