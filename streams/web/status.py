"""The JSON document that the page shows: a pure function of the last view of the worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..plane.standing import Standing
from ..telemetry.monitor import WorkerView
from ..telemetry.running_step import StepView
from .history import History, edges

#: fallback records that are shown, the newest first
FALLBACKS = 12
#: most characters of a text from a record
_CHARS = 200


@dataclass(frozen=True, slots=True)
class About:
    """What is fixed while the worker runs."""

    name: str  #: from the settings
    version: str
    agents: tuple[str, ...]


def status(
    about: About, view: WorkerView, reasons: Sequence[str], history: History, pictures: Mapping[str, str]
) -> dict[str, Any]:
    """The document. `reasons`: why the worker is not ready; `pictures`: names of pictures, by source of the record."""
    return {
        "now_ms": view.now_ms,
        "worker": {
            "name": about.name,
            "version": about.version,
            "agents": about.agents,
            "uptime_s": max(0.0, (view.now_ms - view.started_ms) / 1000.0),
        },
        "ready": not reasons,
        "reasons": reasons,
        "rates": history.rates(),
        "counts": counts(view),
        "money": money(view),
        "thresholds": view.thresholds or None,
        "audit": view.audit or None,
        "remote": next((step.told for step in view.steps if step.agent == "remote"), None),
        "shadows": next((_shadows(step) for step in view.steps if step.agent == "shadow"), None),
        "batches": _batches(view),
        "chart": history.chart(),
        "latency": history.percentiles(),
        "partitions": [_partition(step, standing, view.now_ms) for step in view.steps for standing in step.standings],
        "fallbacks": [_fallback(record, pictures) for record in last_fallbacks(view)],
    }


def _batches(view: WorkerView) -> dict[str, Any] | None:
    """The batches that the remote is asked in, and what they have cost and saved."""
    if not view.batches:
        return None
    return dict(view.batches) | {name: _amount(view.batches[name]) for name in ("cost", "saved")}


def _shadows(step: StepView) -> dict[str, Any]:
    """What became of asking the remote about trusted requests as well."""
    shadows = step.outcomes["shadows"]
    return {
        "waiting": step.waiting,
        "answered": shadows.get("", 0),
        "missing": {reason: count for reason, count in shadows.items() if reason},
        "calls": step.outcomes["calls"],
        "spent": _amount(step.outcomes["cost"]),
        "budget": step.told.get("budget"),
    }


def counts(view: WorkerView) -> dict[str, Any]:
    """Records since the worker started: over each edge, by answering model, by fallback reason."""
    reasons: Counter[str] = Counter()
    answered: Counter[str] = Counter(local=0, remote=0)
    for step in view.steps:
        reasons.update(step.outcomes["reasons"])
        answered.update(step.outcomes["answered_by"])
    found = edges(view)
    return {
        "edges": found,
        "requests": found.get("requests"),
        "answered_by": answered,
        "untrusted": sum(step.outcomes["untrusted"] for step in view.steps),
        "fallback": reasons.total(),
        "reasons": dict(reasons.most_common()),
    }


def money(view: WorkerView) -> dict[str, Any]:
    """What the remote has cost, and what it would cost if it were asked about every input.

    An input that the local model answered is saved. A doubtful one is not, even while it waits for its call. A figure
    is None where this worker does not run the agent that knows it.
    """
    by_agent, unit = {step.agent: step.outcomes for step in view.steps}, view.unit_cost
    remote, local = by_agent.get("remote"), by_agent.get("local")
    asked, calls, spent = (remote["asked"], remote["calls"], remote["cost"]) if remote else (None, None, None)
    kept = local["routes"].get("results", 0) if local else None
    doubted = local["routes"].get("doubtful", 0) if local else None
    return {
        "price_per_call": view.price_per_call,
        "asked": asked,
        "calls": calls,
        "spent": _amount(spent),
        "saved": _amount(kept * unit) if kept is not None else None,
        "remote_only": _amount((kept + doubted) * unit) if kept is not None and doubted is not None else None,
        "calls_avoided": kept,
    }


def _amount(value: float | None) -> float | None:
    """Money without the noise of binary fractions: 0.3, and not 0.30000000000000004."""
    return None if value is None else round(value, 9)


def _partition(step: StepView, standing: Standing, now_ms: float) -> dict[str, Any]:
    """A row about a partition. `age_s`: seconds since the oldest unfinished record was requested; `near_s`: until the
    retention of the topic may delete it, where that is near.
    """
    return {
        "agent": step.agent,
        "topic": standing.topic,
        "partition": standing.partition,
        "state": standing.state,
        "stopped": standing.stopped,
        "unfinished": standing.unfinished,
        "lag": step.lag(standing),
        "held_back": step.held_back(standing),
        "age_s": max(0.0, (now_ms - standing.oldest_ms) / 1000.0) if standing.oldest_ms is not None else None,
        "sent": standing.sent,
        "near_s": next((one.left_s for one in step.ageing.nearing([standing], now_ms)), None),
    }


def last_fallbacks(view: WorkerView) -> list[dict[str, Any]]:
    """The newest fallback records of all agents."""
    found = [record for step in view.steps for record in step.outcomes["fallbacks"]]
    return sorted(found, key=lambda record: -record["at_ms"])[:FALLBACKS]


def whole_values(fallbacks: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """The values that were kept whole, by source."""
    return {record["source"]: record["value"] for record in fallbacks if record["value_bytes"] == len(record["value"])}


def _fallback(record: Mapping[str, Any], pictures: Mapping[str, str]) -> dict[str, Any]:
    picture = pictures.get(record["source"])
    return {
        "at_ms": record["at_ms"],
        "source": record["source"],
        "id": _short(record.get("id")),
        "agent": record.get("agent", ""),
        "reason": record.get("reason"),
        "detail": _short(record.get("detail")),
        "local": _verdict(record.get("local")),
        "remote": _verdict(record.get("remote")),
        "picture": f"/pictures/{picture}" if picture is not None else None,
        "input": _preview(record["value"]),
        "bytes": record["value_bytes"],
    }


def _verdict(verdict: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if verdict is None or (verdict.get("prediction") is None and verdict.get("score") is None):
        return None
    return {"prediction": _short(verdict.get("prediction")), "score": verdict.get("score")}


def _short(value: Any) -> str | None:  # noqa: ANN401  # any JSON value
    """The value as a text of limited length."""
    if value is None:
        return None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _CHARS else text[: _CHARS - 1] + "…"


def _preview(value: bytes) -> str:
    """The beginning of the value as text. Bytes that are not UTF-8 become replacement characters."""
    return _short(value[: 4 * _CHARS].decode(errors="replace")) or ""
