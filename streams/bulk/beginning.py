"""Where batches of a partition are filled from, or why only a person can say. No I/O.

The log says which offsets are in batches, and the committed offset says the same: one of them is enough. Where neither
tells, though somebody worked here, or where they tell of records that are gone, nothing is guessed: to begin too early
answers and pays inputs again, and to begin too late loses some.
"""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """What is known of a partition of `batched` when it is taken over."""

    next: int | None  #: offset before which all is in a batch, as the log says; None where it tells nothing
    committed: int | None  #: the offset of the group; None for none
    held: tuple[int, int]  #: offsets that the partition holds, from and before
    logged: tuple[int, int]  #: those that its log holds
    used_before: bool  #: somebody committed for it before, so far as the broker remembers


class Beginning(NamedTuple):
    """Where to begin."""

    offset: int
    doubt: str = ""  #: why a person must say so first; '' where nobody must
    forgets: bool = False  #: after that word: what the log tells is of other records


def beginning(known: Known) -> Beginning:
    """Where batches are filled from."""
    begin, end = known.held
    next_ = known.committed if known.next is None else max(known.next, known.committed or 0)
    if known.next is None and (doubt := _silent(known)):
        return Beginning(begin, doubt)
    if next_ is None:
        return Beginning(begin)
    if next_ < begin:
        return Beginning(begin, f"offsets {next_} to {begin - 1} were deleted before they were in a batch")
    if next_ > end:
        text = (
            f"it ends at offset {end}, though all before {next_} was in batches: it has lost records, or is a new topic"
        )
        return Beginning(begin, text, forgets=True)
    return Beginning(next_)


def _silent(known: Known) -> str:
    """What is wrong with a log that tells nothing; '' where it may."""
    log_begins, log_ends = known.logged
    if known.committed is None:
        worked = known.used_before or 0 < log_begins == log_ends
        return "no offset is committed and the log tells nothing of it, though it was owned before" * worked
    # a log whose entries are too old was written by batches that ended long ago; one that begins anew was deleted
    deleted = known.used_before and not log_begins
    return "its log was deleted, so it is not known which inputs are in batches" * deleted
