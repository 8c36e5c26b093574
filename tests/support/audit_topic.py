"""What a pipeline has written into `audits`, and which requests its draw hits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bisupervised.agents.auditing.draw import Draw
from bisupervised.schemas.audits import AUDIT_HEADER, Audit, decode_audit
from bisupervised.schemas.codec import decode_facts, header
from bisupervised.schemas.records import Facts

from .pipeline import Pipeline, Sent

_SECRET = "only the fleet knows"


class Audited(NamedTuple):
    """A record of `audits`."""

    record: Any  #: aiokafka's ConsumerRecord
    value: bytes | None
    facts: Facts
    audit: Audit

    @property
    def place(self) -> tuple[int, int]:
        return (self.facts.source.partition, self.facts.source.offset)


def audits(pipeline: Pipeline) -> list[Audited]:
    found = []
    for record in pipeline.records("audits"):
        document = header(record.headers, AUDIT_HEADER)
        assert document is not None
        found.append(Audited(record, record.value, decode_facts(record), decode_audit(document)))
    return found


def secret(folder: Path) -> str:
    """A file with the secret of the draw."""
    path = folder / "secret"
    path.write_text(f"{_SECRET}\n")
    return str(path)


def drawn(pipeline: Pipeline, share: float, topic_id: str, sent: list[Sent]) -> set[tuple[int, int]]:
    """Places of the requests that are drawn."""
    draw = Draw(share, _SECRET.encode(), pipeline.name)
    return {s.place for s in sent if s.offset in draw.drawn(topic_id, s.place[0], s.offset, s.offset)}
