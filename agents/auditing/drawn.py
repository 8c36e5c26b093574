"""A drawn request, and what people's votes say of its answers.

Evidence is taken in the order of the requests, not of their labels (`ledger/`). If wrong answers take longer to be
labelled than right ones, what is labelled first looks better than it is: so a request waits for those before it, until
they are labelled, or late. What is late is never evidence; where it is much, a closing says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ...schemas.audits import Ended
from .votes import Ballot

#: share of late requests above which what is labelled may not stand for all
MUCH_LATE = 0.2

#: whether a prediction is right: `matches(prediction, truth)`
Matches = Callable[[Any, Any], bool]
#: whether the local model's answer is right, and whether the remote's is; None where there is none
Rights = tuple[bool | None, bool | None]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One drawn request, when it has ended."""

    source: str  #: topic-partition-offset
    at_ms: int  #: when it ended, by the broker's clock
    ended: Ended
    local: tuple[Any] | None  #: the local model's answer; None where there is none
    remote: tuple[Any] | None  #: the remote's; None where it was not asked, or did not answer
    answered_by: Literal["local", "remote"] | None  #: whose answer was trusted, or rejected where arbitration took it
    missing: bool = False  #: the answers are not here: the record was too large
    label: bool = True  #: a label is wanted; else it was drawn for both answers alone, and a label is no evidence
    doubtful: bool | None = None  #: the local answer was not trusted; None where there is none
    unshadowed: bool = False  #: the remote was to be asked all the same, and said nothing


def judged(one: Drawn, ballot: Ballot | None, matches: Matches, *, late: bool = False) -> Rights | None:
    """What the votes about a request say of its answers. None while that is not decided.

    A slip of one person must not count against a promise: a vote that does, and asks for it, waits for a second person.
    `late`: no longer. If it were left out then, wrong answers would be missing rather than right ones.
    """
    if ballot is None:
        return None
    rights = ballot.most(lambda truth: _rights(one, truth, matches))
    if rights is None or (ballot.wants_second and not late and speaks_against(one, rights)):
        return None
    return rights


def _rights(one: Drawn, truth: Any, matches: Matches) -> Rights:  # noqa: ANN401  # any JSON value
    local, remote = (None if said is None else matches(said[0], truth) for said in (one.local, one.remote))
    return local, remote


def speaks_against(one: Drawn, rights: Rights) -> bool:
    """The request counts against a promise: its answer is wrong and was trusted, or is right and was rejected."""
    right = rights[0] if one.answered_by == "local" else rights[1]
    return (one.ended == "trusted" and not right) or (one.ended == "rejected" and bool(right))
