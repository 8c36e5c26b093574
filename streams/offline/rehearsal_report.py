"""The figures of a rehearsal: the pipeline beside the offline decisions. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from ...schemas.errors import REJECTED
from ..sandbox.outcomes import EndToEndRun, Outcome, match
from .rules import Expected

#: mismatches that are printed, a line each
_TOLD = 20


@dataclass(frozen=True, slots=True)
class RehearsalReport:
    """The figures of one rehearsal. The names are the keys of its JSON."""

    inputs: int  #: events produced to `requests`
    answered_by_local: int  #: results from the local model
    answered_by_remote: int  #: results from the remote model
    rejected: int  #: events on fallback because a supervisor rejected the answer
    failed: int  #: events on fallback for any other reason
    correct: int  #: trusted answers that are right
    accuracy: float | None  #: correct / results, 0..1; None without results
    mismatches: int  #: events whose one outcome is not what was decided offline
    first_mismatches: list[str]  #: some of them, a line each
    lost: int  #: events without an outcome
    duplicated: int  #: outcomes beyond the first of their event
    unknown: int  #: outcomes of no event that was produced
    fallback_reasons: dict[str, int]  #: events by reason
    expected: dict[str, int]  #: answered_by_local, answered_by_remote, rejected, correct as decided offline
    remote_calls: int  #: calls that were paid, by the server's own meter
    remote_calls_refused: int  #: calls that the server answered 429
    cost: float  #: of the paid calls, by the server's own meter
    cost_in_records: float  #: of the paid calls, by what results and fallback records say
    seconds: float  #: from the first event produced to the last outcome read
    throughput: float  #: inputs per second

    @property
    def sound(self) -> bool:
        """Whether the pipeline decided every input as the offline evaluation does, once."""
        return not (self.mismatches or self.lost or self.duplicated or self.unknown)


def make_report(decisions: Expected, ids: Sequence[str], run: EndToEndRun) -> RehearsalReport:
    """Compare every outcome with its decision. `ids` are the user's own, for the lines about mismatches.

    An event's id is its position, from 0. A duplicated event counts by its first outcome.
    """
    positions = {str(position): position for position in range(len(decisions))}
    delivery, meter = match(positions.keys(), run.outcomes), run.meter
    first = {positions[identity]: outcome for identity, outcome in delivery.first.items()}
    differing = {at: why for at, outcome in first.items() if (why := _difference(decisions, at, outcome))}
    by = Counter(outcome.answered_by for outcome in first.values())
    reasons = Counter(outcome.reason or "none" for outcome in first.values() if outcome.answered_by is None)
    results, rejected = by["local"] + by["remote"], sum(reasons[reason] for reason in REJECTED)
    correct = sum(bool(decisions.correct[at]) for at in first.keys() - differing.keys())
    return RehearsalReport(
        inputs=len(decisions),
        answered_by_local=by["local"],
        answered_by_remote=by["remote"],
        rejected=rejected,
        failed=by[None] - rejected,
        correct=correct,
        accuracy=correct / results if results else None,
        mismatches=len(differing),
        first_mismatches=[f"id {ids[at]!s}: {differing[at]}" for at in sorted(differing)[:_TOLD]],
        lost=delivery.lost,
        duplicated=delivery.duplicated,
        unknown=delivery.unknown,
        fallback_reasons=dict(reasons.most_common()),
        expected=_expected(decisions),
        remote_calls=meter.calls,
        remote_calls_refused=meter.refused,
        cost=round(meter.cost, 6),
        cost_in_records=round(sum(outcome.cost for outcome in first.values()), 6),
        seconds=round(run.seconds, 3),
        throughput=round(len(decisions) / run.seconds, 1) if run.seconds else 0.0,
    )


def _expected(decisions: Expected) -> dict[str, int]:
    return {
        "answered_by_local": int(decisions.answered_by_local.sum()),
        "answered_by_remote": int((decisions.by_remote & ~decisions.answered_by_local).sum()),
        "rejected": int(decisions.rejected.sum()),
        "correct": int(decisions.correct.sum()),
    }


def _difference(decisions: Expected, at: int, outcome: Outcome) -> str:
    """How an outcome differs; empty where it does not. Scores must be equal: both sides read the same numbers."""
    wanted = "local" if decisions.answered_by_local[at] else "remote" if decisions.by_remote[at] else "rejected"
    got = outcome.answered_by or ("rejected" if outcome.reason in REJECTED else f"failed with {outcome.reason}")
    pairs = {
        "decision": (wanted, got),
        "prediction": (decisions.predictions[at].item(), outcome.prediction),
        "score": (decisions.scores[at].item(), outcome.score),
    }
    return "; ".join(
        f"{name} {ours!r} offline, {theirs!r} here" for name, (ours, theirs) in pairs.items() if ours != theirs
    )


def as_table(report: RehearsalReport) -> Table:
    """The report for people."""
    table = Table(title="Rehearsal: recorded predictions through the real pipeline", title_justify="left")
    table.add_column("")
    table.add_column("pipeline", justify="right")
    table.add_column("offline", justify="right", style="dim")
    for name, offline in report.expected.items():
        table.add_row(name.replace("_", " "), f"{getattr(report, name):,}", f"{offline:,}")
    accuracy = "–" if report.accuracy is None else f"{report.accuracy:.2%}"
    table.add_row("right, of what was trusted", accuracy, "")
    table.add_section()
    for name in ("mismatches", "lost", "duplicated", "unknown", "failed"):
        table.add_row(name, f"{getattr(report, name):,}", "0")
    table.add_section()
    refused = f" ({report.remote_calls_refused:,} refused)" if report.remote_calls_refused else ""
    table.add_row("remote calls", f"{report.remote_calls:,}{refused}", "")
    table.add_row("cost", f"{report.cost:,.2f}", "")
    table.add_row("seconds", f"{report.seconds:,.1f}", "")
    table.add_row("inputs per second", f"{report.throughput:,.0f}", "")
    return table
