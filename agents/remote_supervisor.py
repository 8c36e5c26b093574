"""The remote supervisor: judges answers that are already paid for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..schemas.codec import decode_facts, facts_of, fall_back, publish
from ..schemas.errors import InvalidRequest
from ..schemas.records import Facts, Incoming, Outgoing, Result, Verdict
from .supervision.supervisor import Supervisor


class RemoteSupervisor:
    """Turns records of `answers` into trusted results and complete fallbacks. No I/O, no state: an answer can
    be judged again, with another threshold, without paying again.
    """

    def __init__(self, supervisor: Supervisor, *, thresholds_version: str) -> None:
        self._supervisor = supervisor
        self._thresholds = thresholds_version

    def judge(self, records: Sequence[Incoming]) -> list[Outgoing]:
        """One outcome per record, in order."""
        return [self._judge(record) for record in records]

    def _judge(self, record: Incoming) -> Outgoing:
        try:
            facts, verdict = self._read(record)
        except InvalidRequest as error:
            return fall_back(record, facts_of(record), error.reason, str(error), "remote_supervisor")
        if self._supervisor.trusts(verdict.score):
            return publish(record, self._result(record, facts, verdict, verdict.score))
        return self._reject(record, facts, verdict)

    def _read(self, record: Incoming) -> tuple[Facts, Verdict]:
        facts = decode_facts(record)
        if facts.remote is None:
            raise InvalidRequest("the record holds no remote answer to judge")
        return facts, facts.remote

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
            requested_ms=record.timestamp,
            latency_ms=verdict.latency_ms,
            cost=verdict.cost,
        )

    def _reject(self, record: Incoming, facts: Facts, verdict: Verdict) -> Outgoing:
        supervisor = self._supervisor
        judged = msgspec.structs.replace(verdict, threshold=supervisor.threshold, supervisor=supervisor.name)
        known = msgspec.structs.replace(facts, remote=judged, thresholds=self._thresholds)
        if verdict.score is None:  # a missing score is a reason of its own: no threshold would have helped
            detail = f"the remote gave no score for {supervisor.name}"
            return fall_back(record, known, "no_confidence", detail, "remote_supervisor")
        detail = f"{supervisor.name} {verdict.score:.6g} is below {supervisor.threshold:.6g}"
        return fall_back(record, known, "low_confidence", detail, "remote_supervisor")
