"""The decision about every input, made offline: a rehearsal compares the pipeline with it. Pure functions on arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...agents.supervision.arbitration import JOINT, arbitrate, estimate_recording, judged
from ...agents.supervision.choosing.evidence import candidates
from ...agents.supervision.choosing.heads import apply_deferral
from ...agents.supervision.evaluation import decide
from ...agents.supervision.recording import Recording, Side
from ...agents.supervision.supervisor import Supervisor
from ...agents.supervision.thresholds import Thresholds, read_thresholds, signed, write_thresholds
from ...schemas.errors import ConfigurationError
from .recordings.pairs import Recorded

#: the answers that are used where only their correctness is recorded
RIGHT, WRONG = "right", "wrong"
#: name of the score in settings and records
SCORE = "recorded"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the outcome of every input must be, (n,) each."""

    by_local: NDArray[np.bool_]  #: the local answer is trusted
    by_remote: NDArray[np.bool_]  #: the remote was asked, and the answer is trusted; rejected where neither holds
    predictions: NDArray[Any]  #: the answer that was judged last
    scores: NDArray[np.float64]  #: its score
    correct: NDArray[np.bool_]  #: whether it is trusted and right
    local_after_all: NDArray[np.bool_]  #: the remote was asked, and the local answer is taken as the likelier one

    def __len__(self) -> int:
        return len(self.by_local)

    @property
    def rejected(self) -> NDArray[np.bool_]:
        return ~self.by_local & ~self.by_remote

    @property
    def answered_by_local(self) -> NDArray[np.bool_]:
        """The trusted answer is the local one, whether the remote was asked or not."""
        return self.by_local | (self.by_remote & self.local_after_all)


class Rule(Protocol):
    """A way to decide, offline and in the stream."""

    def decide(self, recording: Recording) -> Expected: ...

    def settings(self) -> dict[str, dict[str, object]]:
        """The settings, by table and key, with which a worker decides the same."""
        ...


@dataclass(frozen=True, slots=True)
class TwoThresholds:
    """Each model's answer is judged by its own score alone, as in the paper."""

    local: float  #: a local score below this is doubtful
    remote: float  #: a remote score below this is rejected

    def decide(self, recording: Recording) -> Expected:
        lines = Supervisor(SCORE, self.local), Supervisor(SCORE, self.remote)
        return _expected(recording, recording, *lines, np.zeros(len(recording), dtype=bool))

    def settings(self) -> dict[str, dict[str, object]]:
        return {
            "local": {"supervisor": SCORE, "threshold": self.local},
            "remote": {"supervisor": SCORE, "threshold": self.remote},
            "thresholds": {"version": "rehearsal"},
        }


@dataclass(frozen=True, slots=True)
class FromFile:
    """A thresholds file of `calibrate`: both thresholds, and the joint supervisor and arbitration where it has them."""

    path: Path
    made: Thresholds

    @classmethod
    def read(cls, path: Path) -> FromFile:
        """Raises `ConfigurationError`."""
        return cls(path, read_thresholds(path))

    def decide(self, recording: Recording) -> Expected:
        """Raises `ConfigurationError` where the joint model needs the answers and they are not recorded.

        The local scores are taken as they stand: where the file has a learned score, see `scored`.
        """
        if self.made.learned is not None:
            raise ConfigurationError([f"{self.path}: its learned score has to be computed before anything is decided"])
        lines = Supervisor("", self.made.local.threshold), Supervisor("", self.made.remote.threshold)
        model, plain = self.made.joint, np.zeros(len(recording), dtype=bool)
        if model is None:
            return _expected(recording, recording, *lines, plain)
        if model.agreement and recording.agreement is None:
            raise ConfigurationError(
                [f"{self.path}: its joint model looks at the answers, and this recording holds none"]
            )
        estimates = estimate_recording(model, recording)
        joint = self.made.remote.score == JOINT
        seen = judged(recording, estimates, joint=joint, arbitration=self.made.arbitration)
        return _expected(recording, seen, *lines, arbitrate(estimates).local if self.made.arbitration else plain)

    def settings(self) -> dict[str, dict[str, object]]:
        return {"thresholds": {"file": str(self.path.resolve())}}

    def scored(self, given: Recorded) -> tuple[FromFile, Recorded]:
        """The recording with the local score that this file judges by, and the rule for what is scored already.

        Raises `ConfigurationError` where the learned score needs what is not recorded.
        """
        try:
            scores = self._scores(given)
        except ValueError as error:
            raise ConfigurationError([f"{self.path}: {error}"]) from error
        known = given.recording
        local = Side(scores, known.local.correct, known.local.predictions)
        rule = FromFile(self.path, signed(msgspec.structs.replace(self.made, learned=None)))
        return rule, replace(given, recording=Recording(local, known.remote))

    def _scores(self, given: Recorded) -> NDArray[np.float64]:
        """The local scores: the learned ones, those of the name in the file, or those that are recorded."""
        if self.made.learned is not None:
            return apply_deferral(self.made.learned, given.evidence)
        recorded = given.recording.local.scores
        known = candidates(given.evidence, "", recorded)
        return known.get(self.made.local.score, recorded)

    def kept_in(self, folder: Path) -> FromFile:
        """The same with a file of its own in this folder, for a worker that is given scores as they stand."""
        path = folder / "thresholds.json"
        write_thresholds(path, self.made)
        return FromFile(path, self.made)


def _expected(
    recording: Recording, seen: Recording, local: Supervisor, remote: Supervisor, local_taken: NDArray[np.bool_]
) -> Expected:
    """The decisions. `seen` is the recording as the second supervisor sees it.

    A rejected record keeps the remote's own score.
    """
    made = decide(seen, local, remote)
    by_local, by_remote = made.by_local, made.by_remote
    of_local, of_remote = recorded_answers(recording)
    judged_last = np.where(by_remote, seen.remote.scores, recording.remote.scores)
    return Expected(
        by_local,
        by_remote,
        np.where(by_local | (by_remote & local_taken), of_local, of_remote),
        np.where(by_local, recording.local.scores, judged_last),
        (by_local & recording.local.correct) | (by_remote & seen.remote.correct),
        local_taken,
    )


def recorded_answers(recording: Recording) -> tuple[NDArray[Any], NDArray[Any]]:
    """The answers of each model, (n,); RIGHT or WRONG where only correctness is recorded."""
    local, remote = recording.local, recording.remote
    if local.predictions is None or remote.predictions is None:
        return np.where(local.correct, RIGHT, WRONG), np.where(remote.correct, RIGHT, WRONG)
    return local.predictions, remote.predictions
