"""Where the owner of a partition begins to fill batches, and when only a person can say."""

from __future__ import annotations

from typing import Any

import pytest
from bisupervised.streams.bulk.beginning import Beginning, Known, beginning

HELD, LOGGED = (10, 90), (0, 40)


def begins(**changes: Any) -> Beginning:
    known: dict[str, Any] = {"next": 50, "committed": 50, "held": HELD, "logged": LOGGED, "used_before": True}
    return beginning(Known(**(known | changes)))


@pytest.mark.parametrize(
    ("changes", "offset"),
    [
        ({}, 50),
        ({"committed": None}, 50),  # the log is enough
        ({"committed": 60}, 60),  # a person has set it
        ({"committed": 40}, 50),
        ({"next": 10}, 50),
        ({"next": 10, "committed": None}, 10),
        ({"next": 90}, 90),
        ({"next": None, "committed": None, "logged": (0, 0), "used_before": False}, 10),  # nobody was here before
        ({"next": None, "committed": None, "used_before": False}, 10),  # others write into the same log
        ({"next": None, "committed": 50, "logged": (0, 0), "used_before": False}, 50),  # set before the first start
        ({"next": None, "committed": 50, "logged": (40, 40)}, 50),  # all its batches ended long ago
    ],
)
def test_it_goes_on_where_the_log_or_the_committed_offset_says(changes: dict[str, Any], offset: int) -> None:
    assert begins(**changes) == Beginning(offset)


@pytest.mark.parametrize(
    ("changes", "why", "forgets"),
    [
        ({"next": None, "committed": None}, "no offset is committed and the log tells nothing", False),
        ({"next": None, "committed": None, "logged": (40, 40), "used_before": False}, "no offset is committed", False),
        ({"next": None, "committed": 50, "logged": (0, 0)}, "its log was deleted", False),
        ({"next": 5, "committed": 5}, "offsets 5 to 9 were deleted before they were in a batch", False),
        ({"next": None, "committed": 5, "logged": (40, 40)}, "offsets 5 to 9 were deleted", False),
        ({"next": 91, "committed": None}, "it ends at offset 90, though all before 91", True),
    ],
)
def test_where_neither_can_be_believed_nothing_is_guessed(changes: dict[str, Any], why: str, *, forgets: bool) -> None:
    found = begins(**changes)
    assert why in found.doubt
    assert (found.offset, found.forgets) == (10, forgets)
