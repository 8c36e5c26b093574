"""The remote supervisor: judges answers that are already paid for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from ..schemas.codec import EncodeResult, decode_facts, encode_result, facts_of, fall_back, publish, requested_ms
from ..schemas.errors import InvalidRequest
from ..schemas.records import Facts, Incoming, Judged, Outgoing, Result, Verdict
from .supervision.arbitration import JOINT, arbitrate, estimate
from .supervision.joint import JointModel
from .supervision.supervisor import Supervisor


class _Taken(NamedTuple):
    """The answer that is judged."""

    local: bool  #: it is the local one, for it is likelier right
    score: float | None  #: what is compared with the threshold; None where there is nothing to compare


def _judged(taken: _Taken) -> Judged:
    return Judged(taken.score, taken.local)


class RemoteSupervisor:
    """Turns records of `answers` into trusted results and complete fallbacks. No I/O, no state: an answer can
    be judged again, with another threshold, without paying again.

    With the supervisor `joint` the score is the probability, by the joint model, that the answer taken is right. With
    `arbitration` the likelier of the two answers is taken. Either needs a joint model.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        thresholds_version: str,
        joint: JointModel | None = None,
        arbitration: bool = False,
        encode: EncodeResult = encode_result,
    ) -> None:
        """`encode` makes the value of a result."""
        self._encode = encode
        self.judge_by(supervisor, thresholds_version, joint=joint, arbitration=arbitration)

    def judge_by(
        self, supervisor: Supervisor, thresholds_version: str, *, joint: JointModel | None, arbitration: bool
    ) -> None:
        """Another threshold, from the next batch on. Raises `ValueError` where a joint model is needed and missing."""
        if joint is None and (arbitration or supervisor.name == JOINT):
            raise ValueError("the joint supervisor and arbitration need a joint model: calibrate fits one")
        self._supervisor = supervisor
        self._thresholds = thresholds_version
        self._joint = joint
        self._arbitration = arbitration

    def judge(self, records: Sequence[Incoming]) -> list[Outgoing]:
        """One outcome per record, in order."""
        return [self._judge(record) for record in records]

    def _judge(self, record: Incoming) -> Outgoing:
        try:
            facts, verdict = self._read(record)
        except InvalidRequest as error:
            return fall_back(record, facts_of(record), error.reason, str(error), "remote_supervisor")
        taken = self._take(facts.local, verdict)
        outcome = self._outcome(record, facts, verdict, taken)
        return outcome if self._joint is None else msgspec.structs.replace(outcome, judged=_judged(taken))

    def _outcome(self, record: Incoming, facts: Facts, verdict: Verdict, taken: _Taken) -> Outgoing:
        if not self._supervisor.trusts(taken.score):
            return self._reject(record, facts, verdict, taken)
        if taken.local and facts.local is not None:
            result = self._local_result(record, facts, facts.local, verdict, taken.score)
            return publish(record, result, self._encode)
        return publish(record, self._result(record, facts, verdict, taken.score), self._encode)

    def judged(self, local: Verdict | None, remote: Verdict) -> tuple[Verdict, Judged | None]:
        """A remote verdict with what this supervisor thinks of it, where the local one was to be doubted; and what it
        compared, with a joint model.
        """
        supervisor, taken = self._supervisor, self._take(local, remote)
        verdict = msgspec.structs.replace(
            remote,
            threshold=supervisor.threshold,
            supervisor=supervisor.name,
            trusted=supervisor.trusts(taken.score),
        )
        return verdict, None if self._joint is None else _judged(taken)

    def _read(self, record: Incoming) -> tuple[Facts, Verdict]:
        facts = decode_facts(record)
        verdict = facts.remote
        if verdict is None:
            raise InvalidRequest("the record holds no remote answer to judge")
        if facts.local is not None and facts.thresholds not in ("", self._thresholds) and not facts.local.thresholds:
            # the version has changed on the way: the record names both
            doubted = msgspec.structs.replace(facts.local, thresholds=facts.thresholds)
            facts = msgspec.structs.replace(facts, local=doubted)
        return facts, verdict

    def _take(self, local: Verdict | None, remote: Verdict) -> _Taken:
        """Which answer is judged, and by what. The same functions as offline, over one input."""
        if self._joint is None or remote.score is None:
            return _Taken(False, remote.score)
        joint = self._supervisor.name == JOINT
        if local is None or local.score is None:
            return _Taken(False, None if joint else remote.score)
        agreement = np.array([bool(local.prediction == remote.prediction)])
        estimates = estimate(self._joint, [local.score], [remote.score], agreement)
        if not self._arbitration:
            return _Taken(False, float(estimates.remote[0]))
        taken = arbitrate(estimates)
        return _Taken(bool(taken.local[0]), float(taken.score[0]) if joint else remote.score)

    def _result(self, record: Incoming, facts: Facts, verdict: Verdict, score: float) -> Result:
        return Result(
            facts.source,
            verdict.prediction,
            "remote",
            score,
            self._supervisor.threshold,
            id=facts.id,
            local=facts.local,
            supervisor=self._supervisor.name,
            model=verdict.model,
            thresholds=self._thresholds,
            requested_ms=requested_ms(record, facts),
            latency_ms=verdict.latency_ms,
            cost=verdict.cost,
            repeated=verdict.repeated,
            cached=verdict.cached,
        )

    def _local_result(self, record: Incoming, facts: Facts, local: Verdict, remote: Verdict, score: float) -> Result:
        """The local answer after all. What the remote was paid stays on the bill."""
        return Result(
            facts.source,
            local.prediction,
            "local",
            score,
            self._supervisor.threshold,
            id=facts.id,
            local=local,
            remote=remote,
            arbitrated=True,
            supervisor=self._supervisor.name,
            model=local.model,
            thresholds=self._thresholds,
            requested_ms=requested_ms(record, facts),
            latency_ms=local.latency_ms,
            cost=remote.cost,
            repeated=remote.repeated,
            cached=remote.cached,
        )

    def _reject(self, record: Incoming, facts: Facts, verdict: Verdict, taken: _Taken) -> Outgoing:
        supervisor = self._supervisor
        # the score stays the remote's own, also where the joint one was judged: the answer can be judged again
        judged = msgspec.structs.replace(verdict, threshold=supervisor.threshold, supervisor=supervisor.name)
        known = msgspec.structs.replace(facts, remote=judged, thresholds=self._thresholds)
        if taken.score is None:  # a missing score is a reason of its own: no threshold would have helped
            side = "remote" if verdict.score is None else "local model"
            why = f": {facts.detail}" if verdict.score is None and facts.detail else ""
            detail = f"the {side} gave no score for {supervisor.name}{why}"
            return fall_back(record, known, "no_confidence", detail, "remote_supervisor")
        of = " for the local answer, the likelier one," if taken.local else ""
        detail = f"{supervisor.name} {taken.score:.6g}{of} is below {supervisor.threshold:.6g}"
        return fall_back(record, known, "low_confidence", detail, "remote_supervisor")
