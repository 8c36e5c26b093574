"""The state of one partition, and which may follow which."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """How far the owner of one partition has come. `to` is the only way from one state to the next.

        ACQUIRING ◀── another owner went on from here ──┐
            │                                           │
            ├──▶ RUNNING ◀── half empty, or wanted ─────┤
            │       │                                   │
            │       └─── full, or not wanted ───▶ PAUSED
            │                                           │
            └──▶ from each of the three: ◀──────────────┘
                 STOPPED     it cannot go on without a person; what is in flight still ends
                 RELEASING   it is being given up: what is in flight ends, nothing new is taken

        STOPPED ──▶ RELEASING ──▶ ENDED     ENDED also follows each of the others where its task ends by an error;
                                            one that stopped stays so until it is released

    ACQUIRING   the former owner is fenced, and what is committed is read; the partition has no window
    RUNNING     records are fetched, handed out, answered, committed
    PAUSED      as RUNNING, but nothing is fetched
    """

    ACQUIRING = "acquiring"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    RELEASING = "releasing"
    ENDED = "ended"

    def to(self, following: State) -> State:
        """The following state. Raises `IllegalTransition` where it cannot follow this one."""
        if following not in _FOLLOWING[self]:
            raise IllegalTransition(self, following)
        return following

    @property
    def taking(self) -> bool:
        """Records may be handed to an agent."""
        return self is State.RUNNING or self is State.PAUSED


_LEAVING = {State.STOPPED, State.RELEASING, State.ENDED}
_FOLLOWING = {
    State.ACQUIRING: {State.RUNNING, State.PAUSED, *_LEAVING},
    State.RUNNING: {State.PAUSED, State.ACQUIRING, *_LEAVING},
    State.PAUSED: {State.RUNNING, State.ACQUIRING, *_LEAVING},
    State.STOPPED: {State.RELEASING, State.ENDED},
    State.RELEASING: {State.ENDED},
    State.ENDED: set[State](),
}


class IllegalTransition(RuntimeError):
    """A fault of the data plane itself: this state cannot follow that one."""

    def __init__(self, state: State, following: State) -> None:
        super().__init__(f"a partition that is {state.value} cannot become {following.value}")
