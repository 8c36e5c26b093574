"""A file of labels: the right answers to requests of a running system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .columns import USUAL, nearest, there_are, usually_called
from .files import RecordingError, column_names, read_table

#: usual names of the column with the source of a request, topic-partition-offset, which is unique
SOURCES = ("source",)


@dataclass(frozen=True, slots=True)
class Labels:
    """The right answer to each request, by its source or by the user's own id as text."""

    by: Literal["source", "id"]
    truths: dict[str, Any]  #: any JSON value
    taken: str  #: the columns that were read


def read_labels(path: Path, id_column: str | None, source_column: str | None, truth_column: str | None) -> Labels:
    """Read a file of labels: .csv, .jsonl or .parquet. Where it has both source and id, the source is used.

    Raises `RecordingError`, naming file, row and column, for a missing column, an empty cell, and an id or source that
    occurs twice.
    """
    labels, faults = look_at_labels(path, id_column, source_column, truth_column)
    if faults:
        raise RecordingError(faults[0])
    return labels


def look_at_labels(
    path: Path, id_column: str | None, source_column: str | None, truth_column: str | None
) -> tuple[Labels, list[str]]:
    """The same with every fault of its rows, each with its place, in their order."""
    names = column_names(path)
    truth = _column(path, names, truth_column, USUAL["truth"], "--truth-column")
    source = None if id_column else _column(path, names, source_column, SOURCES, "--source-column")
    key = source or _column(path, names, id_column, USUAL["id"], "--id-column")
    if truth is None or key is None:
        what = "a truth: say which with --truth-column" if truth is None else "an id: say which with --id-column"
        raise RecordingError(f"{path}: no column looks like {what}; {there_are(names)}")
    table = read_table(path, [key, truth])
    truths: dict[str, Any] = {}
    faults: list[str] = []
    for row, (name, right) in enumerate(zip(table.columns[key], table.columns[truth], strict=True)):
        text = "" if name is None else str(name).strip()
        if not text or right is None or right == "":
            faults.append(f"{table.place(row, truth if text else key)}: is empty")
        elif text in truths:
            faults.append(f"{table.place(row, key)}: {text!r} is there twice")
        else:
            truths[text] = right
    by: Literal["source", "id"] = "source" if source else "id"
    return Labels(by, truths, f"{by} = {key}, truth = {truth}"), faults


def _column(path: Path, names: Sequence[str], given: str | None, usual: Sequence[str], option: str) -> str | None:
    if given is not None and given not in names:
        missing = f"has no column {given!r}{nearest(given, names)}; {there_are(names)}"
        raise RecordingError(f"{path}: {missing}: say which with {option}")
    found = [given] if given is not None else usually_called(usual, names)
    if len(found) > 1:
        raise RecordingError(f"{path}: could be any of {', '.join(found)}: say which with {option}")
    return found[0] if found else None
