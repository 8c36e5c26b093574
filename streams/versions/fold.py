"""Which version of the thresholds is in force: a pure function of what the topic `thresholds` holds, in its order.

    start ─▶ version ─▶ version ─▶ …        each names the one before it as `previous`

An entry takes effect if `previous` is the version in force when it was written; else it is void: somebody was quicker.
While a rung is pinned, only a person's `pin` or `unpin` takes effect. Workers, commands and the auditor ask this
function, so all of them say the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ...agents.terms import Ladder
from ...schemas.versions import ThresholdsEntry, is_raised

#: what a pin lets through
_UNPINS = ("pin", "unpin")

#: void: another entry was quicker, or a rung is pinned; damaged: its pair is no rung of the file, or its name is wrong
Fate = Literal["in force", "former", "void", "damaged", "of another file"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the topic says of one pipeline and one thresholds file."""

    version: str  #: in force
    rung: int  #: counted from 1, the laxest
    entry: ThresholdsEntry | None  #: that chose it; None where it is the file's own pair
    chain: tuple[ThresholdsEntry, ...]  #: all that took effect, the last one being in force
    fates: tuple[tuple[ThresholdsEntry, Fate], ...]  #: of every entry of the pipeline, in the topic's order

    @property
    def pinned(self) -> bool:
        """No evidence changes the version."""
        return self.entry is not None and self.entry.reason == "pin"

    @property
    def foreign(self) -> ThresholdsEntry | None:
        """The topic's last entry, where it is of another thresholds file; else None."""
        return self.fates[-1][0] if self.fates and self.fates[-1][1] == "of another file" else None

    @property
    def number(self) -> int:
        """The how-manieth version the next one is; the file's own is number 0."""
        return len(self.chain) + 1


def fold(entries: Iterable[ThresholdsEntry], pipeline: str, ladder: Ladder) -> Standing:
    """What is in force after these entries, in the topic's order. One that comes twice counts where it came first.

    Compaction keeps the last record of a key, so it changes nothing where every version was written once.
    """
    known: dict[str, ThresholdsEntry] = {}
    for entry in entries:
        if entry.pipeline == pipeline:
            known.setdefault(entry.version, entry)
    chain = _chain([entry for entry in known.values() if _sound(entry, ladder)], ladder.version)
    last = chain[-1] if chain else None
    took_effect = {entry.version for entry in chain[:-1]}

    def fate(entry: ThresholdsEntry) -> Fate:
        if entry.ladder != ladder.digest:
            return "of another file"
        if not _sound(entry, ladder):
            return "damaged"
        if last is not None and entry.version == last.version:
            return "in force"
        return "former" if entry.version in took_effect else "void"

    return Standing(
        last.version if last else ladder.version,
        last.rung if last else ladder.start,
        last,
        tuple(chain),
        tuple((entry, fate(entry)) for entry in known.values()),
    )


def _chain(entries: Iterable[ThresholdsEntry], start: str) -> list[ThresholdsEntry]:
    """From the start on: of all that name a version as `previous`, the first one that it lets through."""
    after: dict[str, list[ThresholdsEntry]] = {}
    for entry in entries:
        after.setdefault(entry.previous, []).append(entry)
    chain: list[ThresholdsEntry] = []
    seen = {start}
    at: ThresholdsEntry | None = None
    while True:
        wanted = after.get(at.version if at else start, ())
        pinned = at is not None and at.reason == "pin"
        allowed = (one for one in wanted if (one.reason in _UNPINS or not pinned) and one.version not in seen)
        at = next(allowed, None)
        if at is None:
            return chain
        seen.add(at.version)
        chain.append(at)


def _sound(entry: ThresholdsEntry, ladder: Ladder) -> bool:
    """It is of this file, its pair is the rung that it names, to the bit, for both came from the file; and its name
    says by which share it draws.
    """
    if entry.ladder != ladder.digest or not 1 <= entry.rung <= len(ladder.rungs):
        return False
    if entry.raised != is_raised(entry.version):
        return False
    rung = ladder.rungs[entry.rung - 1]
    return (entry.local, entry.remote) == (rung.local, rung.remote) and entry.version != ladder.version


def unfit(entry: ThresholdsEntry, ladder: Ladder) -> str:
    """Why a worker with this ladder must not judge by it although it is in force; '' where it may."""
    differing = []
    if entry.model != ladder.model:
        differing.append(f"the local model is {entry.model or 'any'} there and {ladder.model or 'any'} here")
    if entry.score != ladder.score:
        differing.append(
            f"the scores are made otherwise ({entry.score} there, {ladder.score} here: [local] or [remote] differs "
            "in what makes them, as output, temperature, labels or supervisor)"
        )
    return "; ".join(differing)
