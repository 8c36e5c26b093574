"""What the page shows, as one JSON document. A pure function over what was last seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ..plane import Standing
from .history import History

#: fallback records shown, the newest first
FALLBACKS = 12
#: characters of a text that came in with a record
_CHARS = 200


@dataclass(frozen=True, slots=True)
class About:
    """What does not change while the worker runs."""

    name: str  #: from the settings
    version: str
    agents: tuple[str, ...]
    started_ms: float  #: milliseconds since epoch
    price_per_call: float  #: in the currency of the settings
    stalled_s: float


@dataclass(slots=True)
class Seen:
    """What was last seen of the worker."""

    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)  #: of each agent's observation
    agents: dict[str, dict[str, Any]] = field(default_factory=dict)  #: each agent's own statistics
    standings: dict[str, list[Standing]] = field(default_factory=dict)  #: partitions of each agent
    ends: dict[tuple[str, int], int] = field(default_factory=dict)  #: where each partition ends, when last asked
    reasons: list[str] = field(default_factory=list)  #: why it is not ready


def status(about: About, seen: Seen, history: History, pictures: Mapping[str, str], now_ms: float) -> dict[str, Any]:
    """The document: `pictures` are names by the source of a fallback record."""
    return {
        "now_ms": now_ms,
        "worker": {
            "name": about.name,
            "version": about.version,
            "agents": about.agents,
            "uptime_s": max(0.0, (now_ms - about.started_ms) / 1000.0),
        },
        "ready": not seen.reasons,
        "reasons": seen.reasons,
        "rates": history.rates(),
        "counts": counts(seen.snapshots),
        "money": money(seen.snapshots, about.price_per_call),
        "remote": seen.agents.get("remote"),
        "chart": history.chart(),
        "latency": history.percentiles(),
        "partitions": [
            _partition(agent, standing, seen.ends, now_ms)
            for agent, standings in seen.standings.items()
            for standing in standings
        ],
        "fallbacks": [_fallback(told, pictures) for told in last_fallbacks(seen.snapshots)],
    }


def counts(snapshots: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Records since the worker started: over each edge, by who answered, by reason."""
    reasons: dict[str, int] = {}
    answered: dict[str, int] = {"local": 0, "remote": 0}
    for told in snapshots.values():
        for reason, n in told["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + n
        for who, n in told["answered_by"].items():
            answered[who] = answered.get(who, 0) + n
    edges = {f"{agent}_{route}": n for agent, told in snapshots.items() for route, n in told["routes"].items()}
    return {
        "edges": edges,
        "answered_by": answered,
        "untrusted": sum(told["untrusted"] for told in snapshots.values()),
        "fallback": sum(reasons.values()),
        "reasons": dict(sorted(reasons.items(), key=lambda item: -item[1])),
        "requests": sum(snapshots["local"]["routes"].values()) if "local" in snapshots else None,
    }


def money(snapshots: Mapping[str, Mapping[str, Any]], price: float) -> dict[str, Any]:
    """What the remote has cost, and what asking it about every input would cost.

    An input costs what those asked about have cost so far, failed calls included, or the price of the settings. Each
    one that the local model answered is saved; a doubtful one is not, though it may still wait for its call. None
    where this worker does not run the agent that knows.
    """
    remote, local = snapshots.get("remote"), snapshots.get("local")
    asked, calls, spent = (remote["asked"], remote["calls"], remote["cost"]) if remote else (None, None, None)
    kept = local["routes"].get("results", 0) if local else None
    doubted = local["routes"].get("doubtful", 0) if local else None
    unit = spent / asked if asked else price
    return {
        "price_per_call": price,
        "asked": asked,
        "calls": calls,
        "spent": spent,
        "saved": kept * unit if kept is not None else None,
        "remote_only": (kept + doubted) * unit if kept is not None and doubted is not None else None,
        "calls_avoided": kept,
    }


def _partition(agent: str, standing: Standing, ends: Mapping[tuple[str, int], int], now_ms: float) -> dict[str, Any]:
    """Lag: records without a committed outcome, those still in Kafka included (there at most, for offsets have
    holes). Age: seconds since the first of them that was fetched was requested.
    """
    end = ends.get((standing.topic, standing.partition))
    position = standing.position
    behind = max(0, end - position) if end is not None and position is not None else None
    return {
        "agent": agent,
        "topic": standing.topic,
        "partition": standing.partition,
        "state": standing.state,
        "stopped": standing.stopped,
        "unfinished": standing.unfinished,
        "lag": standing.unfinished + behind if behind is not None else None,
        "age_s": max(0.0, (now_ms - standing.oldest_ms) / 1000.0) if standing.oldest_ms is not None else None,
        "sent": standing.sent,
    }


def last_fallbacks(snapshots: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The newest of all agents."""
    found = [told for snapshot in snapshots.values() for told in snapshot["fallbacks"]]
    return sorted(found, key=lambda told: -told["at_ms"])[:FALLBACKS]


def whole_values(fallbacks: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """The values of those that were remembered whole, by source."""
    return {told["source"]: told["value"] for told in fallbacks if told["value_bytes"] == len(told["value"])}


def _fallback(told: Mapping[str, Any], pictures: Mapping[str, str]) -> dict[str, Any]:
    picture = pictures.get(told["source"])
    return {
        "at_ms": told["at_ms"],
        "source": told["source"],
        "id": _short(told.get("id")),
        "agent": told.get("agent", ""),
        "reason": told.get("reason"),
        "detail": _short(told.get("detail")),
        "local": _verdict(told.get("local")),
        "remote": _verdict(told.get("remote")),
        "picture": f"/pictures/{picture}" if picture is not None else None,
        "input": _preview(told["value"]),
        "bytes": told["value_bytes"],
    }


def _verdict(told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if told is None or (told.get("prediction") is None and told.get("score") is None):
        return None
    return {"prediction": _short(told.get("prediction")), "score": told.get("score")}


def _short(value: Any) -> str | None:  # noqa: ANN401  # any JSON value
    """The value as a text of bounded length."""
    if value is None:
        return None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _CHARS else text[: _CHARS - 1] + "…"


def _preview(value: bytes) -> str:
    """How the value begins; what is no text becomes signs for it."""
    return _short(value[: 4 * _CHARS].decode(errors="replace")) or ""
