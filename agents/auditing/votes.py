"""What people say about a request: each has one vote, the last one, and the majority decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass(slots=True)
class Ballot:
    """The votes about one request."""

    by: dict[str, bytes] = field(default_factory=dict)  #: who -> the truth, as canonical JSON

    def vote(self, who: str, truth: Any) -> None:  # noqa: ANN401  # any JSON value
        """Take a vote; it replaces the former one of the same person."""
        self.by[who] = msgspec.json.encode(truth, order="sorted")

    @property
    def decided(self) -> bool:
        """More people say one thing than any other."""
        return self._leading() is not None

    @property
    def truth(self) -> Any:  # noqa: ANN401  # any JSON value
        """What most say. Raises `ValueError` where nobody voted, or as many say another thing."""
        leading = self._leading()
        if leading is None:
            raise ValueError("nothing is decided: nobody voted, or as many say another thing")
        return msgspec.json.decode(leading)

    def _leading(self) -> bytes | None:
        counts: dict[bytes, int] = {}
        for truth in self.by.values():
            counts[truth] = counts.get(truth, 0) + 1
        most = max(counts.values(), default=0)
        first = [truth for truth, count in counts.items() if count == most]
        return first[0] if len(first) == 1 else None
