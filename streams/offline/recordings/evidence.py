"""What a recording holds of the local answers besides one score, read from columns with fixed names.

    local_scores          every score that fits, by name: {"max_softmax": 0.9, "pcs": 0.8}
    local_probabilities   of the classes, in the order of `local_labels`: [0.9, 0.1]
    local_labels          the names of the classes; the same in every row
    local_features        what the model puts out besides, numbers: [0.31, -1.2, 0.05]
    length                of the input: characters of a text, elements of an array

None of them is needed. In CSV such a cell is JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ....agents.supervision.choosing.evidence import Evidence
from ....agents.supervision.learned.deferral import MOST_FEATURES, Features
from .files import RecordingError

SCORES, PROBABILITIES, LABELS, FEATURES, LENGTH = EVIDENCE = (
    "local_scores",
    "local_probabilities",
    "local_labels",
    "local_features",
    "length",
)

Cells = list[Any]
Place = Callable[[int, str], str]


def evidence_of(columns: Mapping[str, Cells], place: Place) -> Evidence:
    """The evidence in these columns, those that are there. An empty column is none.

    Raises `RecordingError`, which names the row by `place`, for a cell that is no such thing, or not like the others.
    """
    there = {name: _parsed(name, cells, place) for name, cells in columns.items() if any(map(_filled, cells))}
    lengths = _numbers(LENGTH, there[LENGTH], place) if LENGTH in there else None
    probabilities = _table(there[PROBABILITIES], place) if PROBABILITIES in there else None
    labels = _labels(there[LABELS], place) if LABELS in there else ()
    if probabilities is not None and labels and probabilities.shape[1] != len(labels):
        raise RecordingError(f"{place(0, LABELS)}: {len(labels)} labels for {probabilities.shape[1]} probabilities")
    scores = _scores(there[SCORES], place) if SCORES in there else {}
    features = _features(there[FEATURES], place) if FEATURES in there else None
    return Evidence(scores, probabilities, labels, lengths, features)


def _filled(cell: Any) -> bool:  # noqa: ANN401  # any JSON value
    return cell is not None and cell != ""


def _parsed(name: str, cells: Cells, place: Place) -> Cells:
    """The cells, those of CSV as the JSON that they hold."""
    parsed = []
    for row, cell in enumerate(cells):
        try:
            parsed.append(orjson.loads(cell) if isinstance(cell, str) and cell else cell)
        except orjson.JSONDecodeError as error:
            raise RecordingError(f"{place(row, name)}: is not JSON: {error}") from error
    return parsed


def _scores(cells: Cells, place: Place) -> dict[str, NDArray[np.float64]]:
    """Those that every row has: a score that is missing for one input cannot judge it."""
    for row, cell in enumerate(cells):
        if not isinstance(cell, dict):
            raise RecordingError(f'{place(row, SCORES)}: must be scores by name, as in {{"max_softmax": 0.9}}')
    names = [name for name in cells[0] if all(name in cell for cell in cells)]
    tables = {name: _numbers(SCORES, [cell[name] for cell in cells], place) for name in names}
    return {name: scores for name, scores in tables.items() if np.isfinite(scores).all()}


def _numbers(column: str, cells: Cells, place: Place) -> NDArray[np.float64]:
    """(n,); NaN where there is none."""
    for row, cell in enumerate(cells):
        if _filled(cell) and (isinstance(cell, bool) or not isinstance(cell, int | float)):
            raise RecordingError(f"{place(row, column)}: {cell!r} is not a number")
    return np.array([float(cell) if _filled(cell) else np.nan for cell in cells], dtype=np.float64)


def _table(cells: Cells, place: Place) -> NDArray[np.float64]:
    classes = len(cells[0]) if isinstance(cells[0], list) else 0
    for row, cell in enumerate(cells):
        if not isinstance(cell, list) or len(cell) != classes or classes < 2:
            raise RecordingError(f"{place(row, PROBABILITIES)}: must be as many probabilities as elsewhere, 2 or more")
    try:
        table = np.array(cells, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RecordingError(f"{place(0, PROBABILITIES)}: holds something that is no number") from error
    strays = ~(np.isfinite(table) & (table >= 0.0) & (table <= 1.0)).all(axis=1)
    if strays.any():
        raise RecordingError(f"{place(int(strays.argmax()), PROBABILITIES)}: probabilities lie in 0..1")
    return table


def _features(cells: Cells, place: Place) -> Features | None:
    """(n, k); None where a row has none: a score that reads them cannot judge it."""
    if not all(map(_filled, cells)):
        return None
    wide = len(cells[0]) if isinstance(cells[0], list) else 0
    for row, cell in enumerate(cells):
        if not isinstance(cell, list) or len(cell) != wide or not 1 <= wide <= MOST_FEATURES:
            most = f"1 to {MOST_FEATURES:,} numbers, as many as elsewhere"
            raise RecordingError(f"{place(row, FEATURES)}: must be {most}")
    try:
        table = np.array(cells, dtype=np.float64).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise RecordingError(f"{place(0, FEATURES)}: holds something that is no number") from error
    return table if np.isfinite(table).all() else None


def _labels(cells: Cells, place: Place) -> tuple[Any, ...]:
    for row, cell in enumerate(cells):
        if not isinstance(cell, list) or cell != cells[0]:
            raise RecordingError(f"{place(row, LABELS)}: must be the names of the classes, the same in every row")
    return tuple(cells[0])
