"""What a running worker can be told anew, without a restart: both thresholds, and the limits of the remote."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .remote.limiting.limits import LimitsPolicy
from .supervision.joint import JointModel
from .supervision.learned.deferral import DeferralModel
from .supervision.supervisor import Supervisor
from .supervision.thresholds import Rung


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of one thresholds file, which versions are chosen from, and all that they were made for."""

    digest: str  #: of the file
    version: str  #: the file's own, which is in force before any other
    start: int  #: rung of that version, counted from 1, the laxest
    rungs: tuple[Rung, ...]  #: from lax to strict
    model: str  #: local model that the file was made for; '' for any
    score: str  #: digest of all that makes the scores


@dataclass(frozen=True, slots=True)
class Terms:
    """All of it, taken over by all agents of a worker in one step, between two batches."""

    version: str  #: of the thresholds, as records name it
    local: Supervisor
    remote: Supervisor
    joint: JointModel | None  #: estimates how likely each answer is right, where that is used
    arbitration: bool  #: the likelier of the two answers is taken
    local_model: str  #: name of the model that the first threshold was made for; '' for any
    limits: LimitsPolicy
    learned: DeferralModel | None = None  #: makes the local score, where that is the learned one
    ladder: Ladder | None = None  #: which versions are chosen from, where the thresholds file has rungs
    pinned: int = 0  #: rung that the settings pin, whatever else is chosen; 0 for none

    def judging_by(self, version: str, local: float, remote: float) -> Terms:
        """The same with another version of both thresholds."""
        first, second = replace(self.local, threshold=local), replace(self.remote, threshold=remote)
        return replace(self, version=version, local=first, remote=second)
