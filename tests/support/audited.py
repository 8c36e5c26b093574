"""Records of `audits` and `labels` as brokers hand them out, for tests of what is reckoned from them."""

from __future__ import annotations

from typing import Any, Literal

from bisupervised.agents.auditing.drawn import Drawn
from bisupervised.agents.auditing.ledger.ledger import Rules, drawn_of
from bisupervised.agents.auditing.matching import exact
from bisupervised.schemas.audits import AUDIT_HEADER, Audit, Ended, Label, audit_record, decode_audit, encode_label
from bisupervised.schemas.closings import PromiseTold, TermsTold
from bisupervised.schemas.codec import decode_facts, header
from bisupervised.schemas.records import Facts, Source, Verdict

from .records import Record

PIPELINE = "shop"


def rules(within_ms: int = 1000, **changed: Any) -> Rules:
    """A promise of at most 10 % errors, for the version "t1"."""
    known: dict[str, Any] = {"thresholds": ("t1",), "promises": (PromiseTold("error", 0.1),)}
    terms = {"labels_to_false_alarm": 10_000.0, "alpha": 0.05, "matches": "exact", **known, **changed}
    return Rules(TermsTold(within_ms, **terms), exact)


def audit(  # a record has that many parts
    offset: int,
    at_ms: int,
    *,
    partition: int = 0,
    source: Source | None = None,
    ended: Ended = "trusted",
    by: Literal["local", "remote"] | None = "local",
    local: Any = "cat",
    remote: Any = None,
    version: str = "t1",
    missing: str = "",
    pipeline: str = PIPELINE,
    label: bool = True,
) -> Record:
    """A record of `audits`; its request has the same partition and offset where no `source` is said."""
    place = Source("requests", partition, offset) if source is None else source
    facts = Facts(
        place,
        local=None if local is None else Verdict(local, 0.9, trusted=ended == "trusted" and by == "local"),
        remote=None if remote is None else Verdict(remote, 0.8),
        thresholds=version,
    )
    answered_by = by if ended == "trusted" else None
    made = audit_record(Record(b"1"), facts, Audit(pipeline, ended, 0.01, answered_by, missing, label=label))
    return Record(made.value, offset, "audits", partition, headers=list(made.headers), timestamp=at_ms)


def drawn(record: Record, version: str) -> Drawn | None:
    """The drawn request of a record of `audits`; None where another version judged it."""
    facts = decode_facts(record)
    audited = decode_audit(header(record.headers, AUDIT_HEADER) or b"")
    return drawn_of(audited, facts, record.timestamp) if facts.thresholds == version else None


def label(offset: int, at_ms: int, source: str, truth: Any, by: str = "ann", **changed: Any) -> Record:
    """A record of `labels`."""
    return Record(encode_label(Label(source, truth, by, **changed)), offset, "labels", 0, timestamp=at_ms)
