"""Issue reports in a folder that the user names: read, split in three, and each put into the one text that models get.

The first line of a text is the project, the second one the title; the body follows. The small model looks at the title
alone. Reports may hold anything: nothing at all, any language, hundreds of thousands of characters.
"""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from .errors import DemoError
from .thresholds import Split

LABELS = ("bug", "feature", "question")
#: files of the folder: the second one is optional
TRAINING_FILE, TEST_FILE = "issues_train.csv", "issues_test.csv"
_COLUMNS = frozenset({"repo", "label", "title", "body"})
#: bytes of the largest event that is sent: a broker takes a record of 1 MiB, with its headers, and no larger one
MOST_BYTES = 900_000
#: labels that make the thresholds, and at most this share of what is not held out
_CALIBRATION, _MOST_CALIBRATION = 300, 0.3
#: share that is held out where there is no test file
_HELD_OUT = 1 / 3
_FEWEST = 200


@dataclass(frozen=True, slots=True)
class IssueReport:
    """One report and what kind it is."""

    repo: str
    title: str
    body: str
    label: str  #: one of `LABELS`

    @property
    def text(self) -> str:
        """What models get."""
        return f"{_one_line(self.repo)}\n{_one_line(self.title)}\n{self.body}"


@dataclass(frozen=True, slots=True)
class IssueText:
    """A text, taken apart. Any text is one: what is missing is empty."""

    repo: str
    title: str
    body: str


def parted(text: object) -> IssueText:
    """The parts of what a model gets; of what is no text, its words. Half a surrogate becomes a question mark."""
    lines = str(text).encode("utf-8", "replace").decode().split("\n", 2)
    return IssueText(*[*lines, "", ""][:3])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def event(identity: str, report: IssueReport) -> bytes:
    """The value of a request. A text too long for a Kafka record is cut: no reader looks that far."""
    text = report.text
    while len(value := orjson.dumps({"id": identity, "input": text})) > MOST_BYTES:
        text = text[: len(text) * MOST_BYTES // (len(value) + 1)]
    return value


def load_issues(folder: Path, seed: int) -> Split[list[IssueReport]]:
    """The same seed gives the same split. Where there is no test file, a third of the other one is held out.

    Raises `DemoError`.
    """
    learned = _shuffled(read_reports(folder / TRAINING_FILE), seed)
    if (folder / TEST_FILE).exists():
        held_out = read_reports(folder / TEST_FILE)
    else:
        kept = len(learned) - round(len(learned) * _HELD_OUT)
        learned, held_out = learned[:kept], learned[kept:]
    if len(learned) < _FEWEST or not held_out:
        raise DemoError(f"{folder} has {len(learned)} reports to learn from: the demo needs {_FEWEST} or more")
    cut = len(learned) - min(_CALIBRATION, round(len(learned) * _MOST_CALIBRATION))
    return Split(learned[:cut], learned[cut:], held_out)


def _shuffled(reports: Sequence[IssueReport], seed: int) -> list[IssueReport]:
    return random.Random(seed).sample(reports, len(reports))


def read_reports(path: Path) -> list[IssueReport]:
    """All reports of a file. Raises `DemoError`, which names what is wrong with it."""
    before = csv.field_size_limit(sys.maxsize)  # a body may be longer than the module takes by itself
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            rows = csv.DictReader(lines)
            if missing := sorted(_COLUMNS - set(rows.fieldnames or ())):
                raise DemoError(f"{path}: has no column {', '.join(missing)}")
            return [_report(path, number, row) for number, row in enumerate(rows, start=1)]
    except OSError as error:
        raise DemoError(f"{path}: cannot be read: {error.strerror or error}") from error
    except csv.Error as error:
        raise DemoError(f"{path}: is no CSV: {error}") from error
    finally:
        csv.field_size_limit(before)


def _report(path: Path, number: int, row: dict[str, str | None]) -> IssueReport:
    label = (row["label"] or "").strip().lower()
    if label not in LABELS:
        raise DemoError(f"{path}: report {number}: its label is none of {', '.join(LABELS)} (got {label!r})")
    return IssueReport(row["repo"] or "", row["title"] or "", row["body"] or "", label)
