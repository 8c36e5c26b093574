"""What a running worker can be told anew, without a restart: both thresholds, and the limits of the remote."""

from __future__ import annotations

from dataclasses import dataclass

from .remote.limiting.limits import LimitsPolicy
from .supervision.joint import JointModel
from .supervision.learned.deferral import DeferralModel
from .supervision.supervisor import Supervisor


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
