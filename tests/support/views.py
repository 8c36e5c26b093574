"""A worker's view with everything in it."""

from __future__ import annotations

from typing import Any

import msgspec
from bisupervised.agents.histogram import Histogram
from bisupervised.agents.remote.endpoint import endpoint
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.remote.meter import Meter
from bisupervised.agents.remote.protocol import Usage
from bisupervised.schemas.budget import NANO
from bisupervised.schemas.bulk import BatchCounts, BatchTold
from bisupervised.streams.bulk.standing import BulkStanding
from bisupervised.streams.plane.standing import End, Standing
from bisupervised.streams.telemetry.ageing import Ageing
from bisupervised.streams.telemetry.monitor import WorkerView
from bisupervised.streams.telemetry.observation import Observation
from bisupervised.streams.telemetry.running_step import StepView
from support.outcomes import REQUESTED_MS, answered, doubted, fallen, paid, shadowed

NOW_MS = REQUESTED_MS + 500.0
PLANE = ("fetched", "batches", "transactions", "recoveries", "rebalances", "abandoned", "discarded", "faults")
BUDGET = {
    "period": "2026-11",
    "spent": False,
    "money": {"budget": 10.0, "leased": 4.0, "charged": 3.0},
    "calls": {"budget": 0, "leased": 4, "charged": 3},
}


#: what `InForce.statistics` says of a version that a person pinned
#: as `streams/auditor/standing.py` tells it
AUDIT: dict[str, Any] = {
    "auditing": True,
    "failure": "",
    "number": 17,
    "by": "host:1",
    "why": "",
    "written_ms": 1_700_000_000_000,
    "newest": "t1",
    "unknown_sources": 2,
    "unknown_classes": 0,
    "raised": {"share": 0.05, "until_ms": 1_700_000_500_000, "labels": 120, "most": 1000},
    "versions": [
        {
            "version": "t1",
            "drawn": 120,
            "labels": {"wanted": 120, "labelled": 100, "outstanding": 15, "late": 5},
            "disputed": 1,
            "missing": 0,
            "unshadowed": 0,
            "remote_unasked": 60,
            "labels_late": False,
            "shares": {
                name: {"value": 0.08, "lower": 0.05, "upper": 0.12, "of": 100}
                for name in (
                    "error",
                    "false_positive_rate",
                    "local_error",
                    "remote_error",
                    "doubtful",
                    "disagreement",
                )
            },
            "alarms": [{"kind": "error", "promise": 0.1, "level": 0.25, "raised": 0, "last": "", "last_ms": None}],
        }
    ],
    "history": [(1_699_999_000_000 + n * 1000, 0.09 - n / 1000, 0.05, 0.2 - n / 200) for n in range(10)],
}
THRESHOLDS = {
    "version": "1-rung-4-0123456789",
    "rung": 4,
    "rungs": 16,
    "follows": True,
    "pinned": "topic",
    "reason": "pin",
    "by": "ann",
    "why": "a complaint",
    "at_ms": 1000,
    "refused": "",
    "lost": "",
    "unreadable": 0,
    "settled": True,
}


def standing(partition: int = 0, state: Any = "running", **fields: Any) -> Standing:
    """Partition of `requests`: five unfinished records of 500 ms ago, read up to offset 10."""
    stopped = "a reason" if state == "stopped" else None
    return Standing("requests", partition, state, stopped, 10, 5, REQUESTED_MS, 7, REQUESTED_MS)._replace(**fields)


def step(agent: str, *outcomes: Any, told: Any = None, measured: Any = None, standings: Any = None) -> StepView:
    """A step that has committed these outcomes."""
    observation = Observation(agent, lambda: NOW_MS)
    observation.committed(outcomes)
    plane = {name: place for place, name in enumerate(PLANE, start=1)}
    found = [standing()] if standings is None else standings
    return StepView(
        agent, observation.snapshot(), plane, found, {("requests", 0): End(11, 12)}, told or {}, measured or {}, 2
    )._replace(ageing=Ageing(7 * 86_400_000))


def remote_step(*, budget: bool = True) -> StepView:
    """The remote agent with limits, one lost call, one answered, one retry."""
    meter = Meter(lambda: 0.0)
    meter.ended(0.3, "")
    meter.ended(30.0, "timeout")
    meter.retried("timeout")
    meter.used(Usage(100, 20))
    limits = LimitsPolicy(requests_per_minute=600.0, tokens_per_minute=1000.0, in_flight=8)
    gate = Gate(limits, BreakerPolicy(), clock=lambda: 0.0)
    gate.share(1, 2)
    told = {
        "in_flight": 3,
        **gate.statistics(),
        **meter.statistics(),
        "remote_calls_repeated": 1,
        "cache": {"hits": 2, "shared": 1},
    }
    measured = {"meter": meter, "endpoint": endpoint("openai_chat", "large", "https://models.example/v1")}
    return step("remote", paid(2.0), paid(4.0), told=told | ({"budget": BUDGET} if budget else {}), measured=measured)


def shadow_step() -> StepView:
    """Two shadows that were answered, and one whose answer is missing."""
    told = {"waiting": 1, "under_way": 1, "gave_way": 4, "budget": BUDGET}
    outcomes = (shadowed(), shadowed(), shadowed("timeout"))
    places = [standing()._replace(topic="shadows")]
    found = step("shadow", *outcomes, told=told, standings=places)
    return found._replace(ends={("shadows", 0): End(13, 13)})


def batches() -> dict[str, Any]:
    """Two batches under way, one of them late, and one that is over."""
    standing = BulkStanding(enabled=True, late_s=3600.0, created=3, unsure=1, foreign=2)
    standing.stopped = lambda: "the provider refuses everything"
    old = BatchTold("shop/0/0-40/x", 0, 41, "running", "openai_batch", records=40, provider_id="batch_1")
    new = BatchTold("shop/0/41-50/x", 41, 50, "closed", "openai_batch", records=9, why="it waits")
    standing.open[0] = {
        old.id: msgspec.structs.replace(old, closed_ms=round(NOW_MS) - 7_200_000),
        new.id: msgspec.structs.replace(new, closed_ms=round(NOW_MS) - 1_000),
    }
    standing.ended["answered"] = 1
    standing.settled(BatchCounts(answered=7, fallen=2, again=1, cost=3 * NANO, direct_cost=6 * NANO))
    return standing.told(NOW_MS)


def worker(*steps: StepView, price: float = 0.0) -> WorkerView:
    """A worker with these steps."""
    return WorkerView(list(steps), NOW_MS, REQUESTED_MS - 1000.0, 0.25, price)


def whole_worker() -> WorkerView:
    """A worker with all agents, in which every metric has a value."""
    predict = Histogram((0.1, 1.0))
    predict.observe(0.5)
    measured = {"predict": predict.snapshot(), "schema_wait": (5, 12.5)}
    local = step("local", answered(), answered(), doubted(), measured=measured)
    judge = step("remote_supervisor", answered("remote"), answered("remote", trusted=False), fallen())
    steps = (local, remote_step(), judge, shadow_step())
    return worker(*steps)._replace(thresholds=THRESHOLDS, audit=AUDIT, batches=batches())
