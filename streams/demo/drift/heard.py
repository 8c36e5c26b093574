"""What is known of one pipeline by the records that it writes: outcomes, audits, closings, and versions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....schemas.audits import AUDIT_HEADER, decode_audit
from ....schemas.closings import Closing, decode_closing
from ....schemas.codec import decode_facts, decode_result, header
from ....schemas.records import Verdict
from ....schemas.versions import decode_version
from .report import Way


@dataclass(frozen=True, slots=True)
class Ended:
    """How a request ended."""

    version: str  #: of the thresholds that judged it first
    answered_by: str  #: local or remote; '' where the answer was not trusted, or there was none
    prediction: Any  #: the answer, any JSON value
    cost: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request whose label is wanted."""

    source: str
    number: int
    prediction: Any  #: what was answered; None where there was no answer


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people would be told."""

    at_ms: int  #: by the broker's clock
    kind: str  #: "alarm", or why another version of the thresholds is in force
    text: str


@dataclass(slots=True)
class Heard:
    """Takes the records of one pipeline. `say` is told what people would be."""

    name: str
    say: Callable[[str], object]
    ended: dict[int, Ended] = field(default_factory=dict)  #: by number of the request
    again: int = 0  #: outcomes beyond the first of their request
    wanted: list[Wanted] = field(default_factory=list)  #: not labelled yet
    notices: list[Notice] = field(default_factory=list)
    rungs: dict[str, int] = field(default_factory=dict)  #: by version, counted from 1
    shadows: int = 0  #: answers of the remote about trusted requests
    shadows_cost: float = 0.0
    _raised: dict[str, int] = field(default_factory=dict)
    _in_order: int = 0
    _evidence: int = 0  # requests that the ladder had taken in by its last closing

    @property
    def ended_in_order(self) -> int:
        """So many of the first requests have ended."""
        while self._in_order in self.ended:
            self._in_order += 1
        return self._in_order

    @property
    def alarms_ms(self) -> list[int]:
        """When closings said that the promise is broken."""
        return [notice.at_ms for notice in self.notices if notice.kind == "alarm"]

    def takes(self) -> dict[str, Callable[[Any], None]]:
        """By kind of topic, what takes its records."""
        return {
            "results": self._result,
            "fallback": self._fallback,
            "audits": self._audit,
            "trust": self._closing,
            "thresholds": self._version,
        }

    def _result(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        result = decode_result(record.value)
        version = _first_version(result.local, result.thresholds)
        self._end(record, Ended(version, result.answered_by, result.prediction, result.cost))

    def _fallback(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        facts = decode_facts(record)
        cost = 0.0 if facts.remote is None else facts.remote.cost
        self._end(record, Ended(_first_version(facts.local, facts.thresholds), "", None, cost))

    def _end(self, record: Any, ended: Ended) -> None:  # noqa: ANN401  # aiokafka has no types
        number = int(record.key)
        self.again += number in self.ended
        self.ended.setdefault(number, ended)

    def _audit(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        audit, facts = decode_audit(header(record.headers, AUDIT_HEADER) or b""), decode_facts(record)
        verdict = facts.local if audit.answered_by == "local" else facts.remote
        self.wanted.append(Wanted(str(facts.source), int(record.key), None if verdict is None else verdict.prediction))
        if audit.shadow == "answered" and facts.remote is not None:
            self.shadows += 1
            self.shadows_cost += facts.remote.cost

    def _closing(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        closing = decode_closing(record.value)
        if self._says_alarm(closing):
            self._notice(record, "alarm", "the labels say that the promise is broken")

    def _says_alarm(self, closing: Closing) -> bool:
        """A closing raised an alarm about what is in force: labels of a former version come later than the next one."""
        ladder, raised = closing.ladder, self._begins_anew(closing)
        for told in closing.versions:
            count = sum(alarm.raised for alarm in told.alarms)
            in_force = ladder is None or told.version == ladder.version
            raised = raised or (in_force and count > self._raised.get(told.version, 0))
            self._raised[told.version] = count
        return raised

    def _begins_anew(self, closing: Closing) -> bool:
        """The ladder tightens for an alarm: evidence begins anew. It also does where a trial has failed."""
        if closing.ladder is None:
            return False
        before, self._evidence = self._evidence, closing.ladder.requests
        return closing.ladder.says == "tighten" and self._evidence < before

    def _version(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        entry = decode_version(record.value)
        self.rungs[entry.version] = entry.rung
        self._notice(record, entry.reason, f"{entry.reason}s to rung {entry.rung}: {entry.why}")

    def _notice(self, record: Any, kind: str, text: str) -> None:  # noqa: ANN401  # aiokafka has no types
        """An alarm that stays is said once."""
        known = kind == "alarm" and bool(self.alarms_ms)
        self.notices.append(Notice(record.timestamp, kind, text))
        if not known:
            self.say(text)

    def way(self, truth: Sequence[str], sent_ms: Sequence[float], labels: int) -> Way:
        """What became of the first requests. One without an outcome counts as not answered.

        `truth`: their right answers. `sent_ms`: when each request was sent.
        """
        lost = Ended("", "", None, 0.0)
        every = [self.ended.get(number, lost) for number in range(len(truth))]
        return Way(
            self.name,
            trusted=_marks(bool(one.answered_by) for one in every),
            wrong=_marks(
                bool(one.answered_by) and str(one.prediction) != right for one, right in zip(every, truth, strict=True)
            ),
            called=_marks(one.answered_by != "local" for one in every),
            rung=self._rung_of_each(every),
            alarms=tuple(sent_until(sent_ms, ms) for ms in self.alarms_ms),
            labels=labels,
            shadows=self.shadows,
            cost=sum(one.cost for one in every) + self.shadows_cost,
        )

    def _rung_of_each(self, every: Sequence[Ended]) -> NDArray[np.intp]:
        return np.array([self.rungs.get(one.version, 0) for one in every], dtype=np.intp)


def sent_until(sent_ms: Sequence[float], at_ms: float) -> int:
    """The last request that was sent by then; the first one before that."""
    return max(0, bisect_right(sent_ms, at_ms) - 1)


def _first_version(local: Verdict | None, thresholds: str) -> str:
    """A local verdict names its version where another one judged the remote's answer."""
    return thresholds if local is None or not local.thresholds else local.thresholds


def _marks(marks: Any) -> NDArray[np.bool_]:  # noqa: ANN401  # a generator of bool
    return np.fromiter(marks, dtype=np.bool_)
