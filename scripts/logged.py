"""A record as a broker hands it out, for simulations that need no broker."""

from __future__ import annotations

from dataclasses import dataclass

from bisupervised.schemas.records import Headers


@dataclass(frozen=True, slots=True)
class Logged:
    """Of partition 0."""

    topic: str
    offset: int
    timestamp: int  #: milliseconds
    value: bytes | None
    headers: Headers = ()
    partition: int = 0
    key: bytes | None = None
