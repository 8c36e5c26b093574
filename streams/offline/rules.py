"""Who answers what, decided offline: what a rehearsal holds the pipeline to. Pure functions over arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...agents.supervision.recording import Recording
from ...agents.supervision.supervisor import Supervisor

#: what answers stand for where only their correctness is recorded
RIGHT, WRONG = "right", "wrong"
#: name of the score in settings and records
SCORE = "recorded"


@dataclass(frozen=True, slots=True)
class Decisions:
    """One decision an input, (n,) each."""

    by_local: NDArray[np.bool_]  #: the local answer is trusted
    by_remote: NDArray[np.bool_]  #: the remote was asked, and its answer is trusted; neither: rejected
    predictions: NDArray[Any]  #: the answer that was judged last
    scores: NDArray[np.float64]  #: its score
    correct: NDArray[np.bool_]  #: whether it is trusted and right

    def __len__(self) -> int:
        return len(self.by_local)

    @property
    def deferred(self) -> NDArray[np.bool_]:
        """The inputs that the remote is asked about."""
        return ~self.by_local

    @property
    def rejected(self) -> NDArray[np.bool_]:
        return ~self.by_local & ~self.by_remote


class Rule(Protocol):
    """A way to decide, offline and in the stream."""

    def decide(self, recording: Recording) -> Decisions: ...

    def settings(self) -> dict[str, dict[str, object]]:
        """The keys of the settings, by table, that make a worker decide the same."""
        ...


@dataclass(frozen=True, slots=True)
class TwoThresholds:
    """Each model's answer is judged by its own score alone, as in the paper."""

    local: float  #: a local score below this is doubtful
    remote: float  #: a remote score below this is rejected

    def decide(self, recording: Recording) -> Decisions:
        local, remote = recording.local, recording.remote
        by_local = Supervisor(SCORE, self.local).trusted(local.scores)
        by_remote = ~by_local & Supervisor(SCORE, self.remote).trusted(remote.scores)
        return Decisions(
            by_local,
            by_remote,
            np.where(by_local, *answers(recording)),
            np.where(by_local, local.scores, remote.scores),
            (by_local & local.correct) | (by_remote & remote.correct),
        )

    def settings(self) -> dict[str, dict[str, object]]:
        return {"local": {"threshold": self.local}, "remote": {"threshold": self.remote}}


def answers(recording: Recording) -> tuple[NDArray[Any], NDArray[Any]]:
    """What each model answers, (n,) of one kind; where only correctness is recorded, RIGHT or WRONG."""
    local, remote = recording.local, recording.remote
    if local.predictions is None or remote.predictions is None:
        return np.where(local.correct, RIGHT, WRONG), np.where(remote.correct, RIGHT, WRONG)
    return local.predictions, remote.predictions
