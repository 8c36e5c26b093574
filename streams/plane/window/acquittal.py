"""The word of an owner that lost its partition and lives: what it left behind is no death.

An owner that cannot commit its closing phase leaves the phase of one that died (`caution.py`). If it lives, it says so
when it joins its group again, and the group passes the word on to the next owner (`kafka/consumer.py`). A word names

- what is stored, by a print of its offset and marks, and by its phase: of another's progress it says nothing;
- the phase that the owner would have left: nothing that it handed out was being tried any more.

An owner says nothing of a partition while its agent holds a record of it: an input that hangs does not acquit itself.

The word of an owner that was calm also fits phase `b` at the same progress: a careful owner in between wrote it, has
committed nothing since, and was trying nothing when it ended. The next owner is not calm at once: it tries one batch as
a suspect (`Caution`). So nobody stores phase `n` again beside the same progress, and a word that comes late, or twice,
acquits nobody who died since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from .marks import PHASE, Progress, encode


class Word(NamedTuple):
    """What may be stored, and what it deserves."""

    what: str  #: print of the progress
    phase: str  #: that is stored beside it
    deserved: str  #: phase from which the next owner may begin instead


def print_of(progress: Progress) -> str:
    """The same for the same offset and marks of the same topic, whatever the phase."""
    told = f"{progress.offset};{encode(progress.offset, progress.done, '', progress.topic_id)}"
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def words_about(left: Iterable[tuple[Progress, str]]) -> list[Word]:
    """One for each progress that may be stored and deserves another phase than its own."""
    return [Word(print_of(progress), progress.phase, phase) for progress, phase in left if progress.phase != phase]


def deserved(words: Iterable[Word], stored: Progress) -> str | None:
    """The phase from which to begin instead of the stored one; None where no word fits."""
    calm = ("n", "b")
    for word in words:
        fits = stored.phase == word.phase or (word.phase == "n" and stored.phase in calm)
        if fits and word.what == print_of(stored):
            return word.deserved
    return None


def words_from(told: object) -> list[Word]:
    """Read words from what another member said. What is not of this form is nobody's word."""
    entries = told if isinstance(told, list) else []
    words = [Word(*entry) for entry in entries if isinstance(entry, list) and len(entry) == len(Word._fields)]
    return [word for word in words if all(isinstance(part, str) for part in word) and PHASE.fullmatch(word.deserved)]
