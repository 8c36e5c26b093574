"""What `check --connect` finds: lines for people as they come, and one document for scripts.

A check yields its findings one by one, as they are found; only a fault makes the command fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "note", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str  #: stream, broker, topics, sample, registry, model or remote
    level: Level
    text: str

    def as_line(self) -> str:
        """As people read it."""
        return f"{self.level:<5}  {self.about:<6}  {self.text}"


def ok(about: str, text: str) -> Finding:
    """As it should be."""
    return Finding(about, "ok", text)


def note(about: str, text: str) -> Finding:
    """Worth knowing; a worker would do its work."""
    return Finding(about, "note", text)


def fault(about: str, text: str) -> Finding:
    """A worker would not, until this is mended."""
    return Finding(about, "fault", text)


def as_document(findings: Sequence[Finding], faults: Sequence[str] = ()) -> dict[str, Any]:
    """What `--json` prints: `faults` are of the configuration, `findings` are what was looked at."""
    told = [{"about": finding.about, "level": finding.level, "text": finding.text} for finding in findings]
    wrong = bool(faults) or any(finding.level == "fault" for finding in findings)
    return {"ok": not wrong, "faults": list(faults), "findings": told}
