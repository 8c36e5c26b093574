"""What is seen of the batches in this worker: the page, the metrics and the readiness read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...schemas.budget import NANO
from ...schemas.bulk import BatchCounts, BatchTold


@dataclass(slots=True)
class BulkStanding:
    """The batches of this worker's partitions. Owners keep it up to date."""

    enabled: bool = False  #: batches are made
    late_s: float = 0.0  #: seconds after which a batch counts as late
    failures: dict[int, str] = field(default_factory=dict)  #: by partition of `batched`: what went wrong last
    open: dict[int, dict[str, BatchTold]] = field(default_factory=dict)  #: by partition and id, those not over
    ended: Counter[str] = field(default_factory=Counter)  #: batches by how they ended: answered, or a reason
    created: int = 0  #: batches that the provider was asked to create, and did
    unsure: int = 0  #: times that a batch may be paid twice
    foreign: int = 0  #: results of nothing that was asked
    counts: BatchCounts = field(default_factory=BatchCounts)
    stopped: Callable[[], str] = lambda: ""  #: why no batch is created, '' while they are

    def settled(self, counts: BatchCounts) -> None:
        """These outcomes left."""
        self.counts = self.counts.plus(counts)

    def told(self, now_ms: float) -> dict[str, Any]:
        """For the page and the metrics; empty where there are no batches. Money in the currency of the settings."""
        if not self.enabled:
            return {}
        batches = [
            _batch(partition, batch, now_ms) for partition, found in self.open.items() for batch in found.values()
        ]
        return {
            "batches": batches,
            "states": dict(Counter(batch["state"] for batch in batches)),
            "records": sum(batch["records"] for batch in batches),
            "oldest_s": max((batch["age_s"] for batch in batches), default=0.0),
            "late": sum(batch["age_s"] > self.late_s for batch in batches),
            "late_after_s": self.late_s,
            "created": self.created,
            "ended": dict(self.ended),
            "unsure": self.unsure,
            "foreign": self.foreign,
            "answered": self.counts.answered,
            "fallen": self.counts.fallen,
            "again": self.counts.again,
            "cost": self.counts.cost / NANO,
            "saved": (self.counts.direct_cost - self.counts.cost) / NANO,
            "stopped": self.stopped(),
            "failure": next((text for text in self.failures.values() if text), ""),
        }


def _batch(partition: int, batch: BatchTold, now_ms: float) -> dict[str, Any]:
    return {
        "id": batch.id,
        "partition": partition,
        "state": batch.state,
        "records": batch.records,
        "age_s": max(0.0, (now_ms - batch.closed_ms) / 1000.0),
        "provider_id": batch.provider_id,
        "why": batch.why,
    }
