"""What a worker judges by: the version in force, as far as it was made for the worker's own scores.

No I/O. Whoever reads the topic says what it holds; whoever reads the configuration says what is new there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from ...agents.terms import Ladder, Terms
from ...schemas.versions import ThresholdsEntry
from .fold import fold, unfit

log = logging.getLogger(__name__)


class InForce:
    """Follows what the topic holds. `tell` hears the terms whenever another version judges, from the next batch on."""

    def __init__(
        self, pipeline: str, terms: Terms, tell: Callable[[Terms], object] = lambda _: None, *, follows: bool = True
    ) -> None:
        """`follows`: False where the settings alone say what judges."""
        self._pipeline = pipeline
        self._base = terms
        self._tell = tell
        self._entries: list[ThresholdsEntry] = []
        self._judging: ThresholdsEntry | None = None
        self._told = ""  # the refusal that the log has heard of
        self._missing = ""
        self._follows = follows
        self.standing = fold((), pipeline, self.ladder)  #: what the topic says
        self.read = not follows  #: the topic was read to its end once
        self.lost = ""  #: why the topic cannot be read now; '' where it can
        self.unreadable = 0  #: records that are no entry, or of a later release

    def __repr__(self) -> str:
        return f"<InForce {self.terms.version}>"

    @property
    def ladder(self) -> Ladder:
        """The rungs to choose from; of thresholds without a file, none."""
        return self._base.ladder or Ladder("", self._base.version, 0, (), "", "")

    @property
    def terms(self) -> Terms:
        """What is judged by: the version in force, or the last one that was made for these scores."""
        entry = self._judging
        if entry is None or self._base.pinned:
            return self._base
        return self._base.judging_by(entry.version, entry.local, entry.remote)

    @property
    def refusal(self) -> str:
        """Why the version in force, or the topic's last entry, does not judge here; '' where it does."""
        standing = self.standing
        if self._base.pinned:
            return ""
        if standing.entry is not None and (why := unfit(standing.entry, self.ladder)):
            return f"version {standing.version} was not made for what this worker does: {why}"
        if standing.foreign is not None:
            return (
                f"the topic's last version, {standing.foreign.version}, is of another thresholds file (digest "
                f"{standing.foreign.ladder}, here {self.ladder.digest})"
            )
        return self._missing

    @property
    def settled(self) -> bool:
        """There is a version to judge by: nothing is judged before the topic was read, nor by what does not fit."""
        fits = self.standing.entry is None or self._judging is not None
        return bool(self._base.pinned) or (self.read and fits)

    @property
    def waits_for(self) -> str:
        """Why nothing can be judged yet; '' once it can."""
        if self.settled:
            return ""
        if not self.read:
            return f"the topic of thresholds is not read yet{f': {self.lost}' if self.lost else ''}"
        return f"{self.refusal}; go on with `bisupervised audit set RUNG`, or with the former settings"

    def holds(self, entries: Iterable[ThresholdsEntry], unreadable: int = 0) -> None:
        """The topic was read from its beginning to its end, and holds these. What it does not hold any more stays."""
        found = list(entries)
        names = {entry.version for entry in found}
        gone = [entry for entry in self._entries if entry.version not in names]
        former = [*gone, *found]
        self._missing = ""
        if gone and self._judging is not None and self._judging.version not in names:
            self._missing = f"the topic holds version {self._judging.version} no more: was it deleted? it judges on"
        self._entries, self.read, self.unreadable = former, True, unreadable
        self._follow()

    def take(self, entry: ThresholdsEntry) -> None:
        """This one was read behind all others."""
        self._entries.append(entry)
        self._follow()

    def objections(self, terms: Terms) -> list[str]:
        """Why these terms of the configuration cannot be taken over now; empty where they can."""
        ladder = terms.ladder
        if not self._follows or terms.pinned or ladder is None or ladder.digest == self.ladder.digest:
            return []
        if self.lost:
            text = "is another one, and which of its versions is in force is not known while the topic cannot be read"
            return [f"[thresholds] file: {text}: {self.lost}"]
        entry = fold(self._entries, self._pipeline, ladder).entry
        why = unfit(entry, ladder) if entry is not None else ""
        return [f"[thresholds] file: its version in force was not made for what this worker does: {why}"] * bool(why)

    def rebase(self, terms: Terms) -> Terms:
        """Other terms of the configuration, as of a new thresholds file. Returns what is judged by then."""
        former, self._base = self.ladder.digest, terms
        if former != self.ladder.digest:
            self._judging = None
        self._choose()
        self._speak()
        return self.terms

    def _follow(self) -> None:
        before = self.terms
        self._choose()
        if self.terms != before:
            self._tell(self.terms)
            self._say()
        self._speak()

    def _choose(self) -> None:
        """The version in force, if it fits; else the one before it stays."""
        self.standing = fold(self._entries, self._pipeline, self.ladder)
        entry = self.standing.entry
        if entry is not None and not unfit(entry, self.ladder):
            self._judging = entry

    def _say(self) -> None:
        entry, terms = self._judging, self.terms
        if entry is not None:
            facts = {"action": "version_taken", "thresholds": terms.version, "rung": entry.rung, "by": entry.by}
            text = "judges by version %s of the thresholds: rung %d, %s by %s%s"
            why = f" ({entry.why})" if entry.why else ""
            log.info(text, terms.version, entry.rung, entry.reason, entry.by, why, extra=facts)

    def _speak(self) -> None:
        refusal = self.refusal
        if refusal and refusal != self._told:
            text = "%s; %s"
            kept = f"judges on by version {self.terms.version}" if self.settled else "judges nothing"
            log.error(text, refusal, kept, extra={"action": "version_refused", "thresholds": self.terms.version})
        self._told = refusal

    def statistics(self) -> dict[str, Any]:
        """A snapshot, for the page and the metrics."""
        pinned = self._base.pinned
        entry = None if pinned else self._judging
        return {
            "version": self.terms.version,
            "rung": pinned or (self.ladder.start if entry is None else entry.rung),
            "rungs": len(self.ladder.rungs),
            "follows": self._follows,
            "pinned": "settings" if pinned else "topic" if self.standing.pinned else "",
            "reason": "" if entry is None else entry.reason,
            "by": "" if entry is None else entry.by,
            "why": "" if entry is None else entry.why,
            "at_ms": None if entry is None else entry.at_ms,
            "refused": self.refusal,
            "lost": self.lost,
            "unreadable": self.unreadable,
            "settled": self.settled,
        }
