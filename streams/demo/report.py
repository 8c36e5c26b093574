"""The figures of a demo: a table for people, and the same as JSON. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from ..sandbox.outcomes import EndToEndRun, match


@dataclass(frozen=True, slots=True)
class Baselines:
    """How often each model is right when it answers every input alone, 0..1."""

    local: float
    remote: float


@dataclass(frozen=True, slots=True)
class DemoReport:
    """The figures of one run. The names are the keys of `demo.json`."""

    inputs: int  #: events produced to `requests`
    results: int  #: events with a trusted answer
    fallback: int  #: events that were handed to the fallback topic
    answered_by_local: int  #: results from the small model
    answered_by_remote: int  #: results from the large model
    lost: int  #: events without an outcome
    duplicated: int  #: outcomes beyond the first of their event
    unknown: int  #: outcomes of no event that was produced
    exactly_one_outcome: bool  #: every event has one, and there are no others
    accuracy_local_only: float  #: if the small model answered everything, 0..1
    accuracy_remote_only: float  #: if the large model answered everything, 0..1
    accuracy_trusted: float | None  #: of the results, 0..1; None without results
    share_rejected: float  #: fallback / inputs, 0..1
    fallback_reasons: dict[str, int]  #: events by reason
    remote_calls: int  #: calls that were paid, by the remote's own meter
    remote_calls_refused: int  #: calls that the remote answered 429
    cost: float  #: of the paid calls, by the remote's own meter
    cost_in_records: float  #: of the paid calls, by what results and fallback records say
    cost_remote_only: float  #: if the large model answered everything
    saved: float  #: cost_remote_only - cost
    share_saved: float | None  #: saved / cost_remote_only, 0..1; None where everything is free
    seconds: float  #: from the first event produced to the last outcome read
    throughput: float  #: inputs per second
    remote_batches: int = 0  #: batches that the remote answered, by its own meter
    remote_batched: int = 0  #: inputs in them, which were paid, likewise
    cost_direct: float = 0.0  #: of the same inputs, had each been asked at once

    @property
    def sound(self) -> bool:
        """Whether the pipeline kept its promise."""
        return self.exactly_one_outcome


def make_report(truth: Mapping[str, str], run: EndToEndRun, baselines: Baselines, price: float) -> DemoReport:
    """Compare what came out with what went in.

    `truth` maps the id of every event produced to its right answer; `price` is that of one call. A duplicated event
    counts once among results and fallback, by its first outcome.
    """
    delivery, meter = match(truth.keys(), run.outcomes), run.meter
    first = delivery.first.values()
    results = [outcome for outcome in first if outcome.answered_by is not None]
    fallback = [outcome for outcome in first if outcome.answered_by is None]
    right = sum(str(outcome.prediction) == truth[outcome.id] for outcome in results)
    cost_remote_only = len(truth) * price
    return DemoReport(
        inputs=len(truth),
        results=len(results),
        fallback=len(fallback),
        answered_by_local=sum(outcome.answered_by == "local" for outcome in results),
        answered_by_remote=sum(outcome.answered_by == "remote" for outcome in results),
        lost=delivery.lost,
        duplicated=delivery.duplicated,
        unknown=delivery.unknown,
        exactly_one_outcome=delivery.exactly_once,
        accuracy_local_only=baselines.local,
        accuracy_remote_only=baselines.remote,
        accuracy_trusted=right / len(results) if results else None,
        share_rejected=len(fallback) / len(truth) if truth else 0.0,
        fallback_reasons=dict(Counter(outcome.reason or "none" for outcome in fallback).most_common()),
        remote_calls=meter.calls,
        remote_calls_refused=meter.refused,
        cost=round(meter.cost, 6),
        cost_in_records=round(sum(outcome.cost for outcome in first), 6),
        cost_remote_only=round(cost_remote_only, 6),
        saved=round(cost_remote_only - meter.cost, 6),
        share_saved=1 - meter.cost / cost_remote_only if cost_remote_only else None,
        seconds=round(run.seconds, 3),
        throughput=round(len(truth) / run.seconds, 1) if run.seconds else 0.0,
        remote_batches=meter.batches,
        remote_batched=meter.batched,
        cost_direct=round((meter.calls + meter.batched) * price, 6),
    )


def as_table(report: DemoReport, about: str = "Handwritten digits") -> Table:
    """The report for people, in four sections."""
    table = Table(title=f"{about} through two supervisors", show_header=False, title_justify="left")
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_column(justify="left", style="dim")
    for section in (_accuracy(report), _work(report), _money(report), _promise(report)):
        for row in section:
            table.add_row(*row)
        table.add_section()
    return table


Rows = list[tuple[str, str, str]]


def _accuracy(report: DemoReport) -> Rows:
    return [
        ("Right, small local model alone", _percent(report.accuracy_local_only), "free, on this machine"),
        ("Right, large remote model alone", _percent(report.accuracy_remote_only), "every input is paid for"),
        ("Right, what was trusted here", _percent(report.accuracy_trusted), "both models, two supervisors"),
    ]


def _work(report: DemoReport) -> Rows:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.fallback_reasons.items())
    return [
        ("Inputs", f"{report.inputs:,}", ""),
        (
            "Answered by the local model",
            f"{report.answered_by_local:,}",
            _share(report.answered_by_local, report),
        ),
        (
            "Answered by the remote model",
            f"{report.answered_by_remote:,}",
            _share(report.answered_by_remote, report),
        ),
        (
            "Rejected, left to a person",
            f"{report.fallback:,}",
            f"{_share(report.fallback, report)}: {reasons}" if reasons else _share(report.fallback, report),
        ),
        (
            "Throughput",
            f"{report.throughput:,.0f}/s",
            f"{report.seconds:.1f} s in all",
        ),
    ]


def _money(report: DemoReport) -> Rows:
    agrees = abs(report.cost - report.cost_in_records) < 1e-6
    by_records = "the records say the same" if agrees else f"the records say {report.cost_in_records:,.2f}"
    refused = f"{report.remote_calls_refused:,} more refused, tried again"
    asked = [("Remote calls paid", f"{report.remote_calls:,}", refused)]
    if report.remote_batched:
        batches = "batch" if report.remote_batches == 1 else "batches"
        asked = [("Inputs paid in batches", f"{report.remote_batched:,}", f"in {report.remote_batches:,} {batches}")]
    return [
        *asked,
        ("Cost, by the remote's meter", f"{report.cost:,.2f}", by_records),
        *_direct(report),
        ("Cost, had the remote answered all", f"{report.cost_remote_only:,.2f}", ""),
        ("Money saved", f"{report.saved:,.2f}", _percent(report.share_saved)),
    ]


def _direct(report: DemoReport) -> Rows:
    """The bill of direct calls beside that of batches."""
    if not report.remote_batched:
        return []
    share = _percent(report.cost / report.cost_direct if report.cost_direct else None)
    return [("Cost, had they been asked at once", f"{report.cost_direct:,.2f}", f"batches cost {share} of it")]


def _promise(report: DemoReport) -> Rows:
    detail = f"{report.lost:,} lost, {report.duplicated:,} duplicated"
    if report.unknown:
        detail += f", {report.unknown:,} of unknown origin"
    return [("Exactly one outcome per input", "yes" if report.exactly_one_outcome else "NO", detail)]


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.1%}"


def _share(count: int, report: DemoReport) -> str:
    return _percent(count / report.inputs if report.inputs else None)
