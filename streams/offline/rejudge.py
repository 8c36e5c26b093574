"""The command `rejudge`: judge paid answers again under other thresholds, and report what would change.

The answers are in the topic `answers`. What was decided about them is in `results` and `fallback`; the source of the
request joins the three. The judge is the same code as in the stream, so it decides as the stream would. Inputs that the
local model answered have no remote answer: they cannot be judged, and are only counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from ...agents.remote_supervisor import RemoteSupervisor
from ...agents.supervision.arbitration import JOINT
from ...agents.supervision.supervisor import Supervisor
from ...agents.supervision.thresholds import Thresholds, read_thresholds
from ...schemas.codec import header
from ...schemas.errors import BiSupervisedError, ConfigurationError
from ...schemas.records import REASON_HEADER, Incoming, Outgoing, Source
from ..console.output import tell, working
from ..console.signals import run_coroutine
from ..settings.tables import Settings
from .recordings.system_topics import Takers, facts_in, read_with_progress, result_in
from .rewriting import OutputTopics, Rewriting, rewrite

TRUSTED, UNKNOWN = "trusted", "not judged yet"


class RejudgeError(BiSupervisedError):
    """The answers cannot be judged by these thresholds. The message says why."""


class AnswerJudge:
    """The judge of the stream, made from a thresholds file."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.local = Supervisor(thresholds.local.score, thresholds.local.threshold)
        self.version = thresholds.version
        self._score = thresholds.joint_of if thresholds.remote.score == JOINT else thresholds.remote.score
        self._supervisor = RemoteSupervisor(
            Supervisor(thresholds.remote.score, thresholds.remote.threshold),
            thresholds_version=thresholds.version,
            joint=thresholds.joint,
            arbitration=thresholds.arbitration,
        )

    def judge(self, record: Incoming) -> Outgoing:
        """The outcome of a record of `answers`.

        Raises `RejudgeError` where the answer has another score than the thresholds are for.
        """
        facts = facts_in(record)
        remote = facts.remote if facts is not None else None  # the supervisor below says what is wrong
        if remote is not None and remote.score is not None and remote.supervisor != self._score:
            raise RejudgeError(
                f"{record.topic}-{record.partition} offset {record.offset} has the score {remote.supervisor!r}, and "
                f"the thresholds are for {self._score!r}: they cannot be compared"
            )
        [outcome] = self._supervisor.judge([record])
        return outcome


@dataclass(slots=True)
class Comparison:
    """What the topics say was decided, and what the judge decides now."""

    judge: AnswerJudge
    before: dict[Source, str] = field(default_factory=dict)  #: 'trusted', or the reason
    after: dict[Source, str] = field(default_factory=dict)
    locally: set[Source] = field(default_factory=set)  #: answered by the local model alone
    now_doubtful: int = 0  #: how many of these the file's local threshold would have sent to the remote
    now_local: set[Source] = field(default_factory=set)  #: sent to the remote, and would not be now
    unreadable: int = 0  #: records that are not of this system

    def takers(self, settings: Settings) -> Takers:
        """What takes the records of each topic."""
        topics = settings.topics
        return {
            topics.answers: self.take_answer,
            topics.results: self.take_result,
            topics.fallback: self.take_fallback,
        }

    def take_answer(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        """Take a record of `answers`."""
        facts = facts_in(record)
        if facts is None:
            self.unreadable += 1
            return
        self.after[facts.source] = _decision(self.judge.judge(record))
        local = facts.local
        if local is not None and self._compares(local.supervisor) and self.judge.local.trusts(local.score):
            self.now_local.add(facts.source)

    def take_result(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        """Take a record of `results`."""
        result = result_in(record)
        if result is None:
            self.unreadable += 1
        elif result.answered_by == "remote" or result.arbitrated:
            self.before[result.source] = TRUSTED
        elif result.trusted and result.source not in self.locally:
            self.locally.add(result.source)
            self.now_doubtful += self._compares(result.supervisor) and not self.judge.local.trusts(result.score)

    def _compares(self, score: str) -> bool:
        """Whether the file's local threshold is for this score: another one says nothing about it."""
        return score in ("", self.judge.local.name)

    def take_fallback(self, record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        """Take a record of `fallback`. Only what the remote supervisor rejected had an answer."""
        facts = facts_in(record)
        if facts is None:
            self.unreadable += 1
        elif facts.agent == "remote_supervisor" and facts.reason is not None:
            self.before[facts.source] = facts.reason


def _decision(outcome: Outgoing) -> str:
    if outcome.to == "results":
        return TRUSTED
    return (header(outcome.headers, REASON_HEADER) or b"?").decode()


# what changes


@dataclass(frozen=True, slots=True)
class DecisionChange:
    """Answers whose decision changes in one particular way."""

    before: str  #: 'trusted', a reason, or 'not judged yet'
    after: str  #: 'trusted', or a reason
    inputs: int
    share: float  #: of all answers
    examples: list[str]  #: sources: topic-partition-offset


@dataclass(frozen=True, slots=True)
class RejudgeReport:
    """What the new thresholds would decide. The names are the keys of its JSON."""

    thresholds: str  #: their version
    answers: int  #: inputs with a remote answer
    same: int  #: decided as before
    trusted_to_rejected: int
    rejected_to_trusted: int
    not_judged_yet: int  #: neither results nor fallback has a record of them
    trusted: int  #: now
    rejected: dict[str, int]  #: now, by reason
    changes: list[DecisionChange]  #: most frequent first
    answered_locally: int  #: inputs answered by the local model: they have no remote answer to judge
    locally_now_doubtful: int  #: how many of these the file's local threshold would have sent to the remote
    asked_now_local: int  #: how many of the answers that threshold would not have asked for
    unreadable: int  #: records that are not of this system


def make_report(compared: Comparison, examples: int) -> RejudgeReport:
    """Count what changes. `examples` inputs are named for each change, in the order of their sources."""
    pairs = {
        source: (compared.before.get(source, UNKNOWN), after)
        for source, after in sorted(compared.after.items(), key=lambda item: msgspec.structs.astuple(item[0]))
    }
    by_change: dict[tuple[str, str], list[Source]] = defaultdict(list)
    for source, pair in pairs.items():
        by_change[pair].append(source)
    changes = [
        DecisionChange(*pair, len(sources), len(sources) / len(pairs), [str(source) for source in sources[:examples]])
        for pair, sources in sorted(by_change.items(), key=lambda item: -len(item[1]))
        if pair[0] != pair[1]
    ]
    now = Counter(after for _, after in pairs.values())
    judged = [(before == TRUSTED, after == TRUSTED) for before, after in pairs.values() if before != UNKNOWN]
    return RejudgeReport(
        compared.judge.version,
        answers=len(pairs),
        same=sum(before == after for before, after in pairs.values()),
        trusted_to_rejected=judged.count((True, False)),
        rejected_to_trusted=judged.count((False, True)),
        not_judged_yet=len(pairs) - len(judged),
        trusted=now.pop(TRUSTED, 0),
        rejected=dict(sorted(now.items())),
        changes=changes,
        answered_locally=len(compared.locally),
        locally_now_doubtful=compared.now_doubtful,
        asked_now_local=len(compared.now_local),
        unreadable=compared.unreadable,
    )


def as_table(report: RejudgeReport) -> Table:
    """The changes, a row for each."""
    table = Table(title=f"{report.answers:,} answers under thresholds {report.thresholds}")
    for name in ("was", "would be"):
        table.add_column(name)
    for name in ("inputs", "share"):
        table.add_column(name, justify="right")
    table.add_column("for example")
    for change in report.changes:
        share = f"{change.share:.1%}"
        table.add_row(change.before, change.after, f"{change.inputs:,}", share, ", ".join(change.examples))
    return table


def notes(report: RejudgeReport) -> list[str]:
    """What the table does not show."""
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in report.rejected.items()) or "none"
    lines = [
        f"{report.same:,} stay as they were; in all {report.trusted:,} trusted, rejected: {rejected}",
        f"{report.answered_locally:,} inputs were answered by the local model: there is no remote answer to judge",
    ]
    if report.locally_now_doubtful:
        lines.append(
            f"  {report.locally_now_doubtful:,} of them would be sent to the remote under the new local threshold"
        )
    if report.asked_now_local:
        lines.append(
            f"{report.asked_now_local:,} of the answers would not be asked for under the new local threshold; here "
            "they are judged all the same"
        )
    if report.not_judged_yet:
        lines.append(f"{report.not_judged_yet:,} answers are not judged yet, or their outcome is not kept any more")
    if report.unreadable:
        lines.append(f"{report.unreadable:,} records cannot be read")
    return lines


# the command


def output_topics(settings: Settings, results: str | None, fallback: str | None) -> OutputTopics | None:
    """Where records go; None for a report alone. Raises `ConfigurationError`."""
    if results is None and fallback is None:
        return None
    if results is None or fallback is None:
        raise ConfigurationError(["say both --results and --fallback, or neither for a report alone"])
    topics = settings.topics
    own = {topics.requests, topics.doubtful, topics.answers, topics.results, topics.fallback}
    faults = [
        f"--{name}: must be no topic of the running system, whose inputs have their outcome (got {topic!r})"
        for name, topic in (("results", results), ("fallback", fallback))
        if topic in own
    ]
    if results == fallback:
        faults.append(f"--fallback: must differ from --results (got {results!r} for both)")
    if settings.stream.delivery != "exactly_once":
        faults.append("--results: needs transactions, and [stream] delivery says that the broker has none")
    if faults:
        raise ConfigurationError(faults)
    return OutputTopics(results, fallback)


def run_rejudge(
    settings: Settings, thresholds: Path, outputs: OutputTopics | None, examples: int, *, as_document: bool
) -> int:
    """Report what would change, and write records where topics are given for them."""
    made = read_thresholds(thresholds)
    judge = AnswerJudge(made)
    compared = Comparison(judge)
    read_with_progress(settings, compared.takers(settings))
    report = make_report(compared, examples)
    written: Mapping[str, int] = {}
    if outputs is not None:
        with working("writing the records"):
            name = f"rejudge-{made.digest}"
            written = run_coroutine(rewrite(Rewriting(settings, settings.topics.answers, name, outputs), judge.judge))
    document = msgspec.to_builtins(report) | ({"written": dict(written)} if outputs is not None else {})
    lines = [f"{count:,} records written to {topic} by this run" for topic, count in written.items()]
    tell(document, [as_table(report)] if report.changes else [], [*notes(report), *lines], as_json=as_document)
    return 0
