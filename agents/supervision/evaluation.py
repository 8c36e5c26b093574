"""What two supervisors decide about recorded answers, and how good that is. The stream decides the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .recording import Recording
from .supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Decisions:
    """What becomes of n inputs: each is in exactly one of the three."""

    by_local: NDArray[np.bool_]  #: (n,), the local answer is trusted
    by_remote: NDArray[np.bool_]  #: (n,), deferred, and the remote answer is trusted
    rejected: NDArray[np.bool_]  #: (n,), deferred, and not even the remote answer is trusted


def decide(recording: Recording, local: Supervisor, remote: Supervisor) -> Decisions:
    """Every input's way through both supervisors."""
    by_local = local.trusted(recording.local.scores)
    accepted = remote.trusted(recording.remote.scores)
    return Decisions(by_local, ~by_local & accepted, ~by_local & ~accepted)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Counts over n inputs, and the rates they make. A rate over nothing is None."""

    n: int  #: inputs
    by_local: int  #: answered by the local model
    by_remote: int  #: answered by the remote model
    rejected: int  #: left to the fallback
    right: int  #: answered, and right
    right_rejected: int  #: rejected although the remote was right

    @property
    def deferred(self) -> int:
        """Inputs that the remote is asked about."""
        return self.by_remote + self.rejected

    @property
    def answered(self) -> int:
        """Inputs with a trusted answer."""
        return self.by_local + self.by_remote

    @property
    def remote_fraction(self) -> float | None:
        """Share of the inputs that is paid for, 0..1."""
        return _share(self.deferred, self.n)

    @property
    def acceptance(self) -> float | None:
        """Share of the inputs with a trusted answer, 0..1."""
        return _share(self.answered, self.n)

    @property
    def remote_acceptance(self) -> float | None:
        """Share of the deferred inputs whose remote answer is trusted, 0..1."""
        return _share(self.by_remote, self.deferred)

    @property
    def accuracy(self) -> float | None:
        """Share of right ones among the trusted answers, 0..1."""
        return _share(self.right, self.answered)

    @property
    def error(self) -> float | None:
        """Share of wrong ones among the trusted answers, 0..1: the selective risk."""
        return _share(self.answered - self.right, self.answered)

    @property
    def false_positive_rate(self) -> float | None:
        """Share of rejected ones among the right answers of the system, FP / (FP + TN), 0..1."""
        return _share(self.right_rejected, self.right_rejected + self.right)

    def s_beta(self, beta: float) -> float | None:
        """Accuracy and acceptance in one number, their weighted harmonic mean, 0..1.

        S_β = (1 + β²) · accuracy · acceptance / (β² · accuracy + acceptance), from Weiss and Tonella,
        Uncertainty Quantification for Deep Neural Networks: An Empirical Comparison and Usage Guidelines, 2023.
        """
        accuracy, acceptance = self.accuracy, self.acceptance
        if accuracy is None or acceptance is None or not accuracy + acceptance:
            return None
        return (1 + beta**2) * accuracy * acceptance / (beta**2 * accuracy + acceptance)

    def rates(self) -> dict[str, float | None]:
        """The rates by name, as reports write them."""
        return {
            "remote_fraction": self.remote_fraction,
            "acceptance": self.acceptance,
            "accuracy": self.accuracy,
            "error": self.error,
            "false_positive_rate": self.false_positive_rate,
        }


def evaluate(recording: Recording, local: Supervisor, remote: Supervisor) -> Evaluation:
    """What two supervisors make of a recording."""
    made = decide(recording, local, remote)
    right = recording.local.correct & made.by_local | recording.remote.correct & made.by_remote
    return Evaluation(
        n=len(recording),
        by_local=int(made.by_local.sum()),
        by_remote=int(made.by_remote.sum()),
        rejected=int(made.rejected.sum()),
        right=int(right.sum()),
        right_rejected=int((recording.remote.correct & made.rejected).sum()),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
