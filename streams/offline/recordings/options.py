"""The command-line options that every command over recordings has: which files, and which columns of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .columns import USUAL, Columns, Where

if TYPE_CHECKING:
    from .pairs import Recorded

Shared = Annotated[str | None, Parameter(show_default=False)]
OfLocal = Annotated[str | None, Parameter(show_default=False, help="The same for the local file alone.")]
OfRemote = Annotated[str | None, Parameter(show_default=False, help="The same for the remote file alone.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingOptions:
    """Where recorded predictions are, and which columns of them are what.

    Parameters
    ----------
    local
        Predictions of the local model: .csv, .jsonl or .parquet.
    remote
        Predictions of the remote model, for the same inputs; may be the same file.
    id_column
        Column by which rows pair up; "" pairs them by position.
    score_column
        Column with the score.
    correct_column
        Column that says whether the answer is right: true, 1, yes or false, 0, no.
    prediction_column
        Column with the answer.
    truth_column
        Column with the right answer, where no column says whether it is right.
    matches
        When an answer is the right one: exact, normalised (but for case, white space and punctuation around it), or
        module:callable, called with the answer and the truth. As `[audit] matches`.
    where
        COLUMN=VALUE: only the rows with this value, such as is_possible=True.
    """

    local: Path
    remote: Path
    id_column: Shared = None
    score_column: Shared = None
    correct_column: Shared = None
    prediction_column: Shared = None
    truth_column: Shared = None
    local_id_column: OfLocal = None
    local_score_column: OfLocal = None
    local_correct_column: OfLocal = None
    local_prediction_column: OfLocal = None
    local_truth_column: OfLocal = None
    remote_id_column: OfRemote = None
    remote_score_column: OfRemote = None
    remote_correct_column: OfRemote = None
    remote_prediction_column: OfRemote = None
    remote_truth_column: OfRemote = None
    matches: str = "exact"
    where: Shared = None

    @property
    def files(self) -> dict[str, Path | None]:
        """The files that are read, by their options."""
        return {"--local": self.local, "--remote": self.remote}

    def read(self) -> Recorded:
        """The recording. Raises `RecordingError`, and `ConfigurationError` where `matches` names nothing."""
        from ....agents.auditing.matching import matching  # here, as what follows
        from .pairs import read_recording  # here, for it needs numpy: `--help` must not

        where = None if self.where is None else Where.parse(self.where)
        columns = self._columns("local"), self._columns("remote")
        return read_recording(self.local, self.remote, *columns, where, matching(self.matches, "--matches"))

    def _columns(self, side: str) -> Columns:
        return Columns(**{role: self._column(side, role) for role in USUAL})

    def _column(self, side: str, role: str) -> str | None:
        own: str | None = getattr(self, f"{side}_{role}_column")
        shared: str | None = getattr(self, f"{role}_column")
        return shared if own is None else own
