"""Labelled inputs: a file of rows, or a folder of images with a file of labels. All is checked before anything is paid.

A file is read twice, so that it need not fit into memory: `look` checks every row, `Labelled.records` gives them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from ...agents.auditing.drawn import Matches
from ...agents.auditing.matching import exact
from ...schemas.codec import Request, RequestFormat, decode_request
from ...schemas.errors import BiSupervisedError
from ..offline.recordings.columns import USUAL
from ..offline.recordings.labels import look_at_labels
from ..tools.rows import Candidate, Row, read_rows

#: names of a file of labels that lies in a folder of images
LABELS_FILES = ("labels.csv", "labels.jsonl", "labels.parquet")
#: stands where the topic of a request stands otherwise: a row's idempotency key is made of it
SOURCE = "labelled"


class LabelledError(BiSupervisedError):
    """The labelled inputs cannot be used. The message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the inputs are read."""

    shape: RequestFormat
    labels: Path | None = None  #: file of the labels, where they do not stand in the rows
    truth_column: str | None = None
    id_column: str | None = None  #: of the file of labels
    as_text: bool = False  #: every cell of a .csv is text
    matches: Matches = exact  #: whether a label is the right answer


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One input, as far as it is kept in memory."""

    number: int  #: from 1
    id: str
    truth: Any  #: any JSON value; the label itself where labels are known
    digest: bytes  #: of its id and its value


@dataclass(frozen=True, slots=True)
class LabelledRecord:
    """One input with its value."""

    row: LabelledRow
    candidate: Candidate  #: as the agents see it: without the truth
    input: Any  #: the model's input


@dataclass(frozen=True, slots=True)
class Labelled:
    """Inputs without a fault."""

    path: Path
    reading: Reading
    truth: str  #: the field of each row that holds the truth; '' where a file of labels does
    rows: Sequence[LabelledRow]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """Of all inputs and their truths."""
        told = blake2b(digest_size=16)
        for row in self.rows:
            told.update(row.digest + orjson.dumps(row.truth))
        return told.hexdigest()

    def records(self) -> Iterator[LabelledRecord]:
        """The inputs in their order, read again. Raises `LabelledError` where the file has changed meanwhile."""
        read = read_rows(self.path, self.reading.shape, None, as_text=self.reading.as_text)
        for row, again in zip(self.rows, read, strict=False):
            request = _request(again, self.reading.shape)
            value = _without(request, self.truth)
            if _digest(row.id, value) != row.digest:
                raise LabelledError(f"{self.path}, {again.place}: has changed since it was checked")
            candidate = Candidate(value, SOURCE, 0, row.number - 1)
            yield LabelledRecord(row, candidate, decode_request(candidate, self.reading.shape).input)


@dataclass(slots=True)
class _Look:
    """What a look at the inputs has found so far."""

    path: Path
    reading: Reading
    known: Mapping[str, Any]  #: the labels by their text; empty where they are not known
    truths: Mapping[str, Any] | None  #: by id, where a file of labels has them
    truth: str = ""
    rows: list[LabelledRow] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)  #: of each id
    with_id: bool | None = None

    def take(self, number: int, row: Row) -> None:
        if row.fault:
            self._fault(row, row.fault)
            return
        request = _request(row, self.reading.shape)
        if not number or (self.truths is None and not self.truth):
            self._find_truth(request)
        identity = self._identity(number, row, request)
        if identity is None:
            return
        truth = self._truth(row, request, identity)
        if truth is not None:
            digest = _digest(identity, _without(request, self.truth))
            self.rows.append(LabelledRow(number + 1, identity, truth, digest))

    def _fault(self, row: Row, text: str) -> None:
        self.faults.append(f"{self.path}, {row.place}: {text}")

    def _find_truth(self, request: Request) -> None:
        """The field that holds the truth. Raises `LabelledError` where none does, or several could."""
        if self.truths is not None:
            return
        names = list(request.document) if isinstance(request.document, dict) else []
        given = self.reading.truth_column
        found = [name for name in ([given] if given else USUAL["truth"]) if name in names]
        there = f"there are {', '.join(names)}" if names else "its rows are no objects"
        if len(found) != 1:
            what = f"could be any of {', '.join(found)}" if found else f"has no column with the right answer; {there}"
            raise LabelledError(f"{self.path}: {what}: say which with --truth-column, or name a file with --labels")
        if found[0] == self.reading.shape.input:
            raise LabelledError(f"{self.path}: {found[0]!r} cannot be the model's input and the right answer at once")
        self.truth = found[0]

    def _identity(self, number: int, row: Row, request: Request) -> str | None:
        """The id; where no row has one, its number. None where it is a fault."""
        given = None if request.id is None else str(request.id).strip()
        self.with_id = bool(given) if self.with_id is None else self.with_id
        if bool(given) != self.with_id:
            self._fault(row, "has no id, and others have one" if self.with_id else "has an id, and others have none")
            return None
        identity = given or str(number + 1)
        if (first := self.places.setdefault(identity, row.place)) != row.place:
            self._fault(row, f"the id {identity!r} is there twice, see {first}")
            return None
        return identity

    def _truth(self, row: Row, request: Request, identity: str) -> Any:  # noqa: ANN401  # any JSON value
        if self.truths is not None:
            truth = self.truths.get(identity)
            missing = f"no label names it (id {identity!r})"
        else:
            truth = request.document.get(self.truth) if isinstance(request.document, dict) else None
            missing = f"has no {self.truth}"
        if truth is None or truth == "":
            self._fault(row, missing)
            return None
        if not self.known:
            return truth
        label = self._label_of(truth)
        if label is None:
            self._fault(row, f"{str(truth)[:40]!r} is none of the labels {', '.join(self.known)}")
        return label

    def _label_of(self, truth: Any) -> Any:  # noqa: ANN401  # any JSON values
        same = self.known.get(str(truth))
        if same is not None:
            return same
        return next((label for label in self.known.values() if self.reading.matches(label, truth)), None)


def look(path: Path, reading: Reading, labels: Sequence[Any]) -> tuple[Labelled, list[str]]:
    """The inputs, and every fault of theirs with its line. `labels`: those that are known; empty where none are.

    Raises `LabelledError`, `RowsError` and `RecordingError` where the file as a whole cannot be used.
    """
    faults: list[str] = []
    truths = None
    if (file := _labels_file(path, reading)) is not None:
        found, faults = look_at_labels(file, reading.id_column, None, reading.truth_column)
        if found.by != "id":
            raise LabelledError(f"{file}: names its rows by their source: say with --id-column which column is the id")
        truths = found.truths
    seen = _Look(path, reading, {str(label): label for label in labels}, truths, faults=faults)
    for number, row in enumerate(read_rows(path, reading.shape, None, as_text=reading.as_text)):
        seen.take(number, row)
    if truths is not None:
        seen.faults += [f"{file}: the label of {name!r} names no input" for name in truths if name not in seen.places]
    if not seen.rows and not seen.faults:
        raise LabelledError(f"{path}: holds no inputs")
    return Labelled(path, reading, seen.truth, tuple(seen.rows)), seen.faults


def never_right(labelled: Labelled, labels: Mapping[str, Sequence[Any]], matches: Matches = exact) -> list[str]:
    """Why a model could only be wrong. `labels`: of each model whose labels are known, by what names them."""
    truths = {str(row.truth) for row in labelled.rows}
    return [
        fault for named, theirs in labels.items() for fault in _foreign(labelled.path, truths, named, theirs, matches)
    ]


def _foreign(path: Path, truths: set[str], named: str, labels: Sequence[Any], matches: Matches) -> Iterator[str]:
    theirs = {str(label) for label in labels}
    by_fold = {_folded(truth): truth for truth in sorted(truths - theirs)}
    alike = [label for label in sorted(theirs - truths) if _folded(label) in by_fold]
    for label in alike if matches is exact else ():
        truth = by_fold[_folded(label)]
        only = 'differ in letter case or white space only; write both alike, or say [audit] matches = "normalised"'
        yield f"{named}: {label!r} and the right answer {truth!r} {only}"
    right = theirs & truths or alike or any(matches(label, truth) for label in theirs for truth in truths)
    if theirs and truths and not right:
        told = ", ".join(map(str, labels))
        yield f"{named} {told}: none of them is a right answer in {path}, so that model could only be wrong"


def _folded(label: str) -> str:
    return label.strip().casefold()


def _labels_file(path: Path, reading: Reading) -> Path | None:
    """The named one, or one that lies in the folder of images. None: the rows hold their labels."""
    if reading.labels is not None or not path.is_dir():
        return reading.labels
    there = [path / name for name in LABELS_FILES if (path / name).is_file()]
    if len(there) != 1:
        what = f"holds {', '.join(each.name for each in there)}" if there else "holds no labels.csv"
        raise LabelledError(f"{path}: {what}: name the file with the right answers with --labels")
    return there[0]


def _request(row: Row, shape: RequestFormat) -> Request:
    return decode_request(Candidate(row.value), shape)


def _without(request: Request, truth: str) -> bytes:
    """The value without the right answer: no model may see it."""
    document = request.document
    if isinstance(document, dict) and truth in document:
        document = {name: value for name, value in document.items() if name != truth}
    return orjson.dumps(document)


def _digest(identity: str, value: bytes) -> bytes:
    return blake2b(identity.encode() + b"\0" + value, digest_size=12).digest()
