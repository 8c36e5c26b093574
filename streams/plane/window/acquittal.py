"""The word of an owner that lost its partition and lives: what it left behind is no death.

An owner that cannot commit its closing phase leaves the phase of one that died (`caution.py`). If it lives, it says so
when it joins its group again, and the group passes the word on to the next owner (`kafka/consumer.py`). A word names

- what is stored, by a print of its offset and marks, and by its phase: of another's progress it says nothing;
- the phase that the owner would have left: nothing that it handed out was being tried any more.

An owner says nothing of a partition while its agent holds a record of it: an input that hangs does not acquit itself.

    former owner  stores `n` at some progress, loses the partition, and is away for a while
    next owner    begins there, careful; stores `b` farther on; ends well, and **links** what it stored to its beginning
    the group     forms anew, as the former owner joins again: who gets the partition hears its word, and the link

Who gets an acquitted partition is not calm at once: it tries one batch as a suspect (`Caution`). So phase `b` never
means more than what was inherited, nobody stores phase `n` again beside the same progress, and a word that comes late,
or twice, acquits nobody who died since.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from .marks import PHASE, Progress, encode

_LINK = re.compile("@[0-9a-f]{16}")


class Word(NamedTuple):
    """What may be stored, and what it deserves."""

    what: str  #: print of the progress
    phase: str  #: that is stored beside it
    deserved: str  #: phase from which the next owner may begin instead; a link: as that progress, stored with phase `n`

    def fits(self, stored: Progress) -> bool:
        """It is about this progress. A careful owner in between, which committed nothing, has made `n` a `b`."""
        same = stored.phase == self.phase or (self.phase, stored.phase) == ("n", "b")
        return same and self.what == print_of(stored)


def print_of(progress: Progress) -> str:
    """The same for the same offset and marks of the same topic, whatever the phase."""
    told = f"{progress.offset};{encode(progress.offset, progress.done, '', progress.topic_id)}"
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def words_about(left: Iterable[tuple[Progress, str]]) -> list[Word]:
    """One for each progress that may be stored and deserves another phase than its own."""
    return [Word(print_of(progress), progress.phase, phase) for progress, phase in left if progress.phase != phase]


def deserved(words: Iterable[Word], stored: Progress) -> str | None:
    """The phase from which to begin instead of the stored one; None where no word fits."""
    said = {word.deserved for word in words if word.fits(stored)}
    linked = {word.deserved for word in words if word.phase == "n" and f"@{word.what}" in said}
    return next((phase for phase in sorted(said | linked) if not _LINK.fullmatch(phase)), None)


def origin_of(words: Iterable[Word], stored: Progress) -> str | None:
    """A link to where the suspicion began that is stored; None where it is not known."""
    if stored.phase == "n":
        return f"@{print_of(stored)}"
    return next((word.deserved for word in words if word.fits(stored) and _LINK.fullmatch(word.deserved)), None)


def words_from(told: object) -> list[Word]:
    """Read words from what another member said. What is not of this form is nobody's word."""
    entries = told if isinstance(told, list) else []
    words = [Word(*entry) for entry in entries if isinstance(entry, list) and len(entry) == len(Word._fields)]
    return [word for word in words if all(isinstance(part, str) for part in word) and _known(word.deserved)]


def _known(said: str) -> bool:
    return bool(PHASE.fullmatch(said) or _LINK.fullmatch(said))
