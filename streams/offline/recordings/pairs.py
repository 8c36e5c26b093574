"""Reading a recording: the predictions of two models, paired row by row.

Rows pair by id where both files have one, by position otherwise. What cannot be read without guessing is an error that
names file, row and column. `Recorded.taken` says which columns were used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ....agents.auditing.drawn import Matches
from ....agents.auditing.matching import exact
from ....agents.supervision.choosing.evidence import Evidence
from ....agents.supervision.recording import Recording, Side
from ...console.tables import number_hint
from .columns import MARK, Columns, SideName, Where, ask_for, nearest, resolved, there_are
from .evidence import EVIDENCE, evidence_of
from .files import RecordingError, Table, column_names, read_table

USUALLY = Columns()  #: every column by its usual name
_YES, _NO = ("true", "1", "yes", "1.0"), ("false", "0", "no", "0.0")
_CORRECTNESS = dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)
#: whole numbers below this are exact as floats
_EXACT = 2.0**53


@dataclass(frozen=True, slots=True)
class TakenColumns:
    """The columns that were used, and how rows were paired."""

    local: Columns
    remote: Columns
    paired_by: Literal["id", "position"]
    alike: tuple[int, int] = (0, 0)  #: answers of each side that count as wrong and differ from the truth in form only

    def __str__(self) -> str:
        said = f"local: {self.local}; remote: {self.remote}; paired by {self.paired_by}"
        told = [
            f"{count:,} {side} predictions"
            for side, count in zip(("local", "remote"), self.alike, strict=True)
            if count
        ]
        if not told:
            return said
        only = "differ from the truth only in letter case or white space, and count as wrong"
        return f"{said}; {' and '.join(told)} {only}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording, the ids of its pairs, and the columns it was read from."""

    recording: Recording
    ids: NDArray[np.str_]  #: (n,), the id of each pair; without ids, its position in the file, from 0
    taken: TakenColumns
    evidence: Evidence = field(default_factory=Evidence)  #: what else is known of the local answers

    def first(self, n: int | None) -> Recorded:
        """The first n pairs; None takes all."""
        return Recorded(self.recording[:n], self.ids[:n], self.taken, self.evidence[:n])


@dataclass(frozen=True, slots=True)
class _Part:
    """The file of one side. `rows` are its rows in the order of the pairs."""

    side: SideName
    columns: Columns
    table: Table
    rows: NDArray[np.intp]

    def cells(self, column: str) -> list[Any]:
        known = self.table.columns[column]
        if len(self.rows) == len(known) and (self.rows == np.arange(len(known))).all():
            return known
        return [known[row] for row in self.rows.tolist()]

    def place(self, position: int, column: str) -> str:
        return self.table.place(int(self.rows[position]), column)

    def chosen(self, mask: NDArray[np.bool_]) -> _Part:
        return _Part(self.side, self.columns, self.table, self.rows[mask])


def read_recording(
    local: Path,
    remote: Path,
    local_columns: Columns = USUALLY,
    remote_columns: Columns = USUALLY,
    where: Where | None = None,
    matches: Matches = exact,
) -> Recorded:
    """Both models' answers to the same inputs.

    `matches`: whether an answer is the right one, where no column says so.

    Raises `RecordingError`, naming file, row and column, where a column is missing or several could be meant, rows do
    not pair up, a score is no finite number, the correctness of an answer cannot be read, or no pair is left.
    """
    sides: tuple[_Part, _Part] = (
        _open("local", local, local_columns, where),
        _open("remote", remote, remote_columns, where),
    )
    sides, paired_by = _paired(*sides)
    if where is not None:
        sides = _filtered(*sides, where)
    if not len(sides[0].rows):
        raise RecordingError(f"{local}: holds no rows")
    recording, alike = _recording(*sides, matches)
    taken = TakenColumns(sides[0].columns, sides[1].columns, paired_by, alike)
    return Recorded(recording, _ids(*sides), taken, _evidence(sides[0]))


def _evidence(local: _Part) -> Evidence:
    there = {name: local.cells(name) for name in EVIDENCE if name in local.table.columns}
    return evidence_of(there, local.place)


# which columns


def _open(side: SideName, path: Path, given: Columns, where: Where | None) -> _Part:
    names = column_names(path)
    columns = resolved(side, path, given, names)
    wanted = [getattr(columns, role.name) for role in fields(columns)]
    wanted += [name for name in EVIDENCE if side == "local" and name in names]
    wanted += [where.column] if where is not None and where.column in names else []
    table = read_table(path, list(dict.fromkeys(name for name in wanted if name)))
    return _Part(side, columns, table, np.arange(len(table)))


# which rows belong together


def _paired(local: _Part, remote: _Part) -> tuple[tuple[_Part, _Part], Literal["id", "position"]]:
    if local.columns.id is None or remote.columns.id is None:
        return _by_position(local, remote), "position"
    ids, others = _known_ids(local), _known_ids(remote)
    if ids == others:
        return (local, remote), "id"
    rows = {identity: row for row, identity in enumerate(others)}
    _refuse_alone(local, ids, rows, remote)
    _refuse_alone(remote, others, set(ids), local)
    order = np.fromiter((rows[identity] for identity in ids), np.intp, len(ids))
    return (local, _Part("remote", remote.columns, remote.table, order)), "id"


def _by_position(local: _Part, remote: _Part) -> tuple[_Part, _Part]:
    if len(local.rows) != len(remote.rows):
        longer, shorter = (local, remote) if len(local.rows) > len(remote.rows) else (remote, local)
        place = longer.place(len(shorter.rows), longer.columns.score or "")
        raise RecordingError(
            f"{place}: has no partner: {shorter.table.path} holds {len(shorter.rows)} rows, not {len(longer.rows)}; "
            "rows pair by position, for not both files have an id (--local-id-column, --remote-id-column)"
        )
    return local, remote


def _known_ids(part: _Part) -> list[str]:
    """The ids as text. Raises `RecordingError` where one is empty or occurs twice."""
    column = part.columns.id or ""
    ids = _texts(part.table.columns[column])
    if len(set(ids)) != len(ids) or "" in ids:
        first: dict[str, int] = {}
        for row, identity in enumerate(ids):
            if not identity:
                raise RecordingError(f"{part.table.place(row, column)}: the id is empty")
            if first.setdefault(identity, row) != row:
                there = part.table.line(first[identity])
                raise RecordingError(
                    f"{part.table.place(row, column)}: the id {identity!r} is there twice, see {there}"
                )
    return ids


def _refuse_alone(part: _Part, ids: list[str], others: Iterable[str], other: _Part) -> None:
    alone = set(ids) - set(others)
    if alone:
        row = next(row for row, identity in enumerate(ids) if identity in alone)
        place = part.table.place(row, part.columns.id or "")
        more = f", and {len(alone) - 1} more" if len(alone) > 1 else ""
        raise RecordingError(f"{place}: the id {ids[row]!r} is not in {other.table.path}{more}")


def _ids(local: _Part, remote: _Part) -> NDArray[np.str_]:
    for part in (local, remote):
        if part.columns.id is not None:
            return np.asarray(_texts(part.cells(part.columns.id)), dtype=np.str_)
    return local.rows.astype(np.str_)


def _filtered(local: _Part, remote: _Part, where: Where) -> tuple[_Part, _Part]:
    """The pairs that `where` selects. Where both files have the column, they must agree."""
    parts = [part for part in (local, remote) if where.column in part.table.columns]
    if not parts:
        names = column_names(local.table.path)
        raise RecordingError(
            f"{local.table.path}: has no column {where.column!r} for --where{nearest(where.column, names)}; "
            f"{there_are(names)}"
        )
    wanted = where.value.strip().casefold()
    masks = [
        np.array([text == wanted for text in _texts(part.cells(where.column), folded=True)], bool) for part in parts
    ]
    if len(masks) == 2 and (differs := np.flatnonzero(masks[0] != masks[1])).size:
        raise RecordingError(
            f"{parts[1].place(int(differs[0]), where.column)}: contradicts "
            f"{parts[0].place(int(differs[0]), where.column)}"
        )
    if not masks[0].any():
        there = ", ".join(sorted(set(_texts(parts[0].cells(where.column))))[:8])
        raise RecordingError(f"{parts[0].table.path}: no row has {where.column}={where.value}; there are {there}")
    return local.chosen(masks[0]), remote.chosen(masks[0])


# the values of the cells


def _text(cell: Any) -> str:  # noqa: ANN401  # any JSON value
    return "" if cell is None else str(cell).strip()


def _texts(cells: list[Any], *, folded: bool = False) -> list[str]:
    try:
        texts = list(map(str.strip, cells))
    except TypeError:  # not all are text
        texts = [_text(cell) for cell in cells]
    return list(map(str.casefold, texts)) if folded else texts


def _recording(local: _Part, remote: _Part, matches: Matches) -> tuple[Recording, tuple[int, int]]:
    """The recording, and how many answers of each side are wrong in their form only."""
    predictions, truths = _answers(local, remote)
    _refuse_other_truths(local, remote, truths)
    sides = [
        Side(_scores(part), _correct(part, predicted, truths, matches), predicted)
        for part, predicted in zip((local, remote), predictions, strict=True)
    ]
    alike = [
        0
        if part.columns.correct is not None or matches is not exact
        else _alike(side.correct, predicted, _truth_of(part, truths))
        for part, side, predicted in zip((local, remote), sides, predictions, strict=True)
    ]
    return Recording(sides[0], sides[1]), (alike[0], alike[1])


def _alike(correct: NDArray[np.bool_], predicted: Answers | None, truth: Answers) -> int:
    """How many answers are not the truth, but would be without letter case and white space around them."""
    if predicted is None or predicted.dtype.kind != "U":
        return 0
    wrong = np.flatnonzero(~correct)
    return sum(str(predicted[at]).strip().casefold() == str(truth[at]).strip().casefold() for at in wrong.tolist())


def _scores(part: _Part) -> NDArray[np.float64]:
    column = part.columns.score or ""
    cells = part.cells(column)
    try:
        scores = np.fromiter(map(_number, cells), np.float64, len(cells))
    except (ValueError, TypeError):
        scores = np.full(len(cells), np.nan)
    if not np.isfinite(scores).all():
        _refuse_score(part, column, cells)
    return scores


def _number(cell: Any) -> float:  # noqa: ANN401  # any JSON value
    if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):  # Python would take them for numbers
        raise TypeError
    return float(cell)


def _refuse_score(part: _Part, column: str, cells: list[Any]) -> None:
    for position, cell in enumerate(cells):
        try:
            finite = bool(np.isfinite(_number(cell)))
        except (ValueError, TypeError):
            finite = False
        if not finite:
            what = f"{cell!r} is not a finite number{number_hint(cell)}" if _text(cell) else _empty_score(part)
            raise RecordingError(f"{part.place(position, column)}: {what}")


def _empty_score(part: _Part) -> str:
    """A recording of `record` says which of its rows have none."""
    marked = MARK in column_names(part.table.path)
    return f"the score is empty{f'; --where {MARK}=true leaves such rows out' if marked else ''}"


Answers = NDArray[Any]


def _answers(local: _Part, remote: _Part) -> tuple[list[Answers | None], dict[SideName, Answers]]:
    """Predictions and truths of both sides, all as numbers or all as text, so that they can be compared."""
    wanted = [(part, part.columns.prediction) for part in (local, remote)]
    wanted += [(part, part.columns.truth) for part in (local, remote)]
    texts = [None if column is None else _filled(part, column) for part, column in wanted]
    numbers = [None if text is None else _numeric(text) for text in texts]
    numeric = all((text is None) == (known is None) for text, known in zip(texts, numbers, strict=True))
    arrays = numbers if numeric else [None if text is None else np.asarray(text, np.str_) for text in texts]
    truths = {part.side: truth for part, truth in zip((local, remote), arrays[2:], strict=True) if truth is not None}
    return arrays[:2], truths


def _filled(part: _Part, column: str) -> list[str]:
    texts = _texts(part.cells(column))
    if column == part.columns.truth and "" in texts:  # a model may answer nothing, but something must be right
        raise RecordingError(f"{part.place(texts.index(''), column)}: the truth is empty")
    return texts


def _numeric(texts: list[str]) -> Answers | None:
    """The texts as numbers, so that 1 and 1.0 are the same answer; None where not all are numbers."""
    try:
        numbers = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    if not (np.abs(numbers) < _EXACT).all():
        return None
    whole = numbers.astype(np.int64)
    return whole if (whole == numbers).all() else numbers


def _refuse_other_truths(local: _Part, remote: _Part, truths: dict[SideName, Answers]) -> None:
    """Refuse files that do not belong together: paired rows with different truths are not about the same input."""
    if len(truths) < 2:
        return
    differs = np.flatnonzero(truths["local"] != truths["remote"])
    if differs.size:
        at = int(differs[0])
        raise RecordingError(
            f"{remote.place(at, remote.columns.truth or '')}: the truth is {truths['remote'][at]!s}, but "
            f"{truths['local'][at]!s} at {local.place(at, local.columns.truth or '')}"
        )


def _correct(
    part: _Part, predicted: Answers | None, truths: dict[SideName, Answers], matches: Matches
) -> NDArray[np.bool_]:
    if part.columns.correct is not None:
        return _marks(part, part.columns.correct)
    if not truths:
        raise RecordingError(f"{part.table.path}: no column looks like a truth: {ask_for(part.side, 'truth')}")
    truth = _truth_of(part, truths)
    if matches is exact or predicted is None:
        return np.asarray(predicted == truth, dtype=bool)
    return np.fromiter(map(matches, predicted.tolist(), truth.tolist()), np.bool_, len(truth))


def _truth_of(part: _Part, truths: dict[SideName, Answers]) -> Answers:
    return truths.get(part.side, next(iter(truths.values())))  # one truth for both sides will do


def _marks(part: _Part, column: str) -> NDArray[np.bool_]:
    texts = _texts(part.cells(column), folded=True)
    unreadable = Counter(texts).keys() - _CORRECTNESS.keys()
    if unreadable:
        at = next(position for position, text in enumerate(texts) if text in unreadable)
        what = f"{texts[at]!r} is neither" if texts[at] else "it is empty, and must be"
        raise RecordingError(f"{part.place(at, column)}: {what} true, 1, yes nor false, 0, no")
    return np.fromiter(map(_CORRECTNESS.__getitem__, texts), np.bool_, len(texts))
