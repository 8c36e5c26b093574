"""What people say about a request: each has one vote, the last one, and the majority decides.

Votes are counted by what they mean for the answers, not by their words: two people who write another right answer each,
and both of whom make the model's answer a wrong one, agree about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from ...schemas.audits import Label

Meaning = TypeVar("Meaning")


@dataclass(slots=True)
class Ballot:
    """The votes about one request."""

    by: dict[str, bytes] = field(default_factory=dict)  #: who -> the truth, as canonical JSON
    unsure: set[str] = field(default_factory=set)  #: those of them who want a second person to look

    def take(self, label: Label) -> None:
        """Take a vote, which replaces the former one of the same person, or its withdrawal."""
        self.by.pop(label.by, None)
        self.unsure.discard(label.by)
        if label.withdrawn:
            return
        self.by[label.by] = msgspec.json.encode(label.truth, order="sorted")
        if label.second_look:
            self.unsure.add(label.by)

    def most(self, meaning: Callable[[Any], Meaning]) -> Meaning | None:
        """What the truths of most people mean. None where nobody voted, or as many say another thing."""
        meant = [meaning(msgspec.json.decode(truth)) for truth in self.by.values()]
        counted = [(meant.count(one), one) for one in dict.fromkeys(meant)]
        best = max((count for count, _ in counted), default=0)
        first = [one for count, one in counted if count == best]
        return first[0] if len(first) == 1 else None

    @property
    def wants_second(self) -> bool:
        """One person voted, and would have a second one look where the vote speaks against the promise."""
        return len(self.by) == 1 and bool(self.unsure)
