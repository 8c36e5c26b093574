"""Outcomes as the agents make them."""

from __future__ import annotations

from typing import Any

import msgspec
from bisupervised.schemas.audits import Audit, audit_record
from bisupervised.schemas.codec import fall_back, forward, publish
from bisupervised.schemas.errors import Reason
from bisupervised.schemas.records import Facts, Headers, Outgoing, Result, Source, Verdict
from support.records import Record

REQUESTED_MS = 1_700_000_000_000


def incoming(offset: int = 0, value: bytes | None = b'{"input": 1}', headers: Headers = ()) -> Record:
    """A record requested at `REQUESTED_MS`."""
    return Record(value, offset, "requests", 0, key=b"k", timestamp=REQUESTED_MS, headers=headers)


def answered(answered_by: Any = "local", offset: int = 0, *, trusted: bool = True) -> Outgoing:
    """A record of `results`."""
    result = Result(Source("requests", 0, offset), 1, answered_by, 0.9, 0.5, trusted=trusted, cost=2.0)
    return publish(incoming(offset), result)


def doubted(offset: int = 0) -> Outgoing:
    """A record of `doubtful`."""
    return forward(incoming(offset), "doubtful", Facts(Source("requests", 0, offset), local=Verdict(1, 0.3)))


def paid(cost: float = 2.0, calls: int = 1, offset: int = 0) -> Outgoing:
    """A record of `answers`."""
    known = Facts(Source("requests", 0, offset), remote=Verdict(1, 0.3, cost=cost, calls=calls))
    return forward(incoming(offset), "answers", known)


def shadowed(reason: Reason | None = None) -> Outgoing:
    """A record of `audits`: the remote was asked about a trusted answer, and has answered unless there is a reason."""
    known = Facts(Source("requests", 0, 0), local=Verdict(1, 0.9), remote=Verdict(1, 0.3, cost=0.5, calls=1))
    audit = Audit("shop", "trusted", 0.01, shadow="missing" if reason else "answered")
    return audit_record(incoming(), msgspec.structs.replace(known, reason=reason), audit)


def fallen(
    reason: Reason = "low_confidence", offset: int = 0, value: bytes | None = b"v", remote: Verdict | None = None
) -> Outgoing:
    """A record of `fallback`."""
    known = Facts(Source("requests", 0, offset), remote=remote)
    return fall_back(incoming(offset, value), known, reason, f"because {offset}", "remote")
