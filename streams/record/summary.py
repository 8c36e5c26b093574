"""What came of a recording: counted, and how sure it makes one of how right each model is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...agents.supervision.recording import Recording
from ..console.output import counted
from .pairs import Tally
from .precision import half_width, more_for_half


@dataclass(frozen=True, slots=True)
class Summary:
    """One run's end."""

    out: Path
    inputs: int
    tally: Tally
    calls: int  #: remote calls of this run, failed ones included
    unpaid: int  #: inputs that were not asked about, for the allowance is spent
    every_try: float  #: money that pays for the whole recording, even if each call takes all its tries
    recording: Recording | None  #: None where there are no pairs

    @property
    def complete(self) -> bool:
        return self.tally.rows == self.inputs

    def as_json(self) -> dict[str, Any]:
        """The document of `--json`."""
        tally = self.tally
        return {
            "out": str(self.out),
            "inputs": self.inputs,
            "recorded": tally.rows,
            "pairs": tally.pairs,
            "local_failed": tally.local_failed,
            "remote_failed": tally.remote_failed,
            "reasons": dict(tally.reasons),
            "calls": self.calls,
            "cost": tally.cost,
            "not_asked": self.inputs - tally.rows,
            **self.precision(),
        }

    def precision(self) -> dict[str, Any]:
        """How right each model is, within which half width at 95 %, and how many labels more would halve that."""
        if self.recording is None:
            return {"local_right": None, "remote_right": None, "half_width": None, "labels_to_halve": None}
        n, sides = len(self.recording), (self.recording.local, self.recording.remote)
        hits = [int(side.correct.sum()) for side in sides]
        return {
            "local_right": hits[0] / n,
            "remote_right": hits[1] / n,
            "half_width": max(half_width(each, n) for each in hits),
            "labels_to_halve": max(more_for_half(each, n) for each in hits),
        }

    def lines(self) -> list[str]:
        """The lines for people."""
        tally = self.tally
        lines = [f"{tally.rows:,} of {counted(self.inputs, 'input')} recorded in {self.out}, {tally.pairs:,} as pairs"]
        if tally.local_failed:
            lines.append(f"the local model failed on {tally.local_failed:,}: `local_detail` says why")
        if tally.remote_failed:
            told = ", ".join(f"{count:,} {reason}" for reason, count in tally.reasons.items() if count)
            lines.append(f"the remote gave no answer to {tally.remote_failed:,}: {told}")
        if len(tally.models) > 1:
            lines.append(f"the remote answered as {' and as '.join(sorted(tally.models))}: pairs of both are mixed")
        lines.append(f"{counted(self.calls, 'remote call')} in this run; the recording has cost {tally.cost:.6g}")
        if self.unpaid:
            lines.append(
                f"{counted(self.unpaid, 'input')} not asked about, for what may be spent does not pay another call; "
                f"the same command goes on; --most-cost {self.every_try:.6g} pays for every try of every call"
            )
        return [*lines, *self._precision_lines()]

    def _precision_lines(self) -> list[str]:
        told = self.precision()
        if self.recording is None:
            return []
        return [
            f"right: the local model {told['local_right']:.1%}, the remote {told['remote_right']:.1%}, within "
            f"{told['half_width']:.1%} (at 95 %); {told['labels_to_halve']:,} labels more would halve that"
        ]
