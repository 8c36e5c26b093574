"""The file of a recording: a line per labelled input, written as answers come, and what ties it to where it comes from.

    pairs.jsonl        a JSON object a line
    pairs.about.json   of which inputs, settings and models: another run may only go on where these are the same

Rows are written in units, those of one remote call, by one write each. A kill may leave the last unit torn: it is cut
off, and asked again as a whole, so that its call has the idempotency key that it had. At the end rows are put in order.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import msgspec
import orjson

from ...schemas.budget import NANO
from ...schemas.errors import BiSupervisedError, ConfigurationError

FORMAT = 1


class PairsError(BiSupervisedError):
    """The file of the recording cannot be used. The message names it and says why."""


class About(msgspec.Struct, frozen=True):
    """Where a recording comes from."""

    inputs: int
    labelled: str  #: digest of the inputs and their truths
    settings: dict[str, str]  #: by key: a digest of its value, for a value may be secret
    local_model: str  #: name and version
    unit: int  #: rows that are asked about in one call, at most
    local_only: bool
    format: int = FORMAT

    def differences(self, other: About) -> list[str]:
        """What is not as it was in `other`, in words."""
        keys = sorted(key for key in {*self.settings, *other.settings} if self._value(key) != other._value(key))
        if self.unit != other.unit and self.local_only == other.local_only:
            keys.append("remote.batch_size")
        models = f"the local model was {other.local_model}, and is {self.local_model}"
        told = {
            "the labelled inputs have changed": self.labelled != other.labelled or self.inputs != other.inputs,
            f"other settings: {', '.join(keys)}": bool(keys),
            models: self.local_model != other.local_model,
            "it was made with --local-only" if other.local_only else "it was made without --local-only": (
                self.local_only != other.local_only
            ),
            f"its format is {other.format}, and this version writes {FORMAT}": other.format != FORMAT,
        }
        return [text for text, differs in told.items() if differs]

    def _value(self, key: str) -> str | None:
        return self.settings.get(key)


@dataclass(slots=True)
class Tally:
    """What the rows say, added up."""

    rows: int = 0
    pairs: int = 0
    billed: int = 0  #: nano-units of money: parts of a float would not add up
    local_failed: int = 0
    remote_failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  #: why the remote gave no answer
    models: set[str] = field(default_factory=set)  #: of the remote, that have answered

    @property
    def cost(self) -> float:
        return self.billed / NANO

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows += 1
        self.pairs += bool(row["pair"])
        self.billed += round(row["cost"] * NANO)
        self.local_failed += row["local_error"] is not None
        if row["remote_error"] is not None:
            self.remote_failed += 1
            self.reasons[row["remote_error"]] += 1
        if row["remote_model"]:
            self.models.add(row["remote_model"])


def about_path(out: Path) -> Path:
    """The file beside it."""
    return out.with_suffix(".about.json")


def _write_about(path: Path, about: About) -> None:
    """Write it, whole or not at all. Raises `PairsError` where that fails."""
    staged = path.with_name(f"{path.name}.new")
    try:
        staged.write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n")
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise PairsError(f"{path}: cannot be written: {error.strerror or error}") from error


def inputs_of(out: Path) -> int | None:
    """How many inputs a recording is to hold; None where the file beside it does not tell."""
    try:
        return msgspec.json.decode(about_path(out).read_bytes(), type=About).inputs
    except (OSError, msgspec.DecodeError):
        return None


class Pairs:
    """The file, open: who has it open is the only one."""

    def __init__(self, path: Path, about: About, descriptor: int) -> None:
        self.path = path
        self.tally = Tally()
        self.units: set[int] = set()  #: that are whole in the file
        self._about = about
        self._file = descriptor

    @classmethod
    @contextmanager
    def opened(cls, path: Path, about: About) -> Iterator[Self]:
        """Begin a recording, or go on with one. Raises `PairsError` where another run writes it, and
        `ConfigurationError` where it is of something else.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise PairsError(f"{path}: cannot be written: {error.strerror or error}") from error
        try:
            _lock(path, descriptor)
            pairs = cls(path, about, descriptor)
            pairs._resume()
            yield pairs
        finally:
            os.close(descriptor)

    @property
    def complete(self) -> bool:
        return self.tally.rows == self._about.inputs

    def write(self, unit: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append the rows of a unit. Raises `PairsError` where that fails, as on a full disk."""
        lines = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        try:
            while lines:
                lines = lines[os.write(self._file, lines) :]
        except OSError as error:
            raise PairsError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        self._take(unit, rows)

    def _take(self, unit: int, rows: Sequence[Mapping[str, Any]]) -> None:
        self.units.add(unit)
        for row in rows:
            self.tally.add(row)

    def finish(self) -> None:
        """Put the rows in the order of the inputs: what is made of them does not depend on who was quick."""
        places = sorted((orjson.loads(line)["row"], start, len(line)) for start, line in self._lines())
        if all(before < after for (_, before, _), (_, after, _) in pairwise(places)):
            return
        staged = self.path.with_name(f"{self.path.name}.new")
        try:
            with staged.open("wb") as file:
                file.writelines(os.pread(self._file, size, start) for _, start, size in places)
                file.flush()
                os.fsync(file.fileno())
            staged.replace(self.path)
        except OSError as error:
            staged.unlink(missing_ok=True)
            raise PairsError(f"{self.path}: cannot be put in order: {error.strerror or error}") from error

    def _resume(self) -> None:
        path, beside = self.path, about_path(self.path)
        size = os.fstat(self._file).st_size
        if not size:
            _write_about(beside, self._about)
            return
        try:
            before = msgspec.json.decode(beside.read_bytes(), type=About)
        except (OSError, msgspec.DecodeError) as error:
            text = f"--out: {path} is there, and {beside.name}, which says of what, cannot be read; take another --out"
            raise ConfigurationError([text]) from error
        if differences := self._about.differences(before):
            text = f"--out: {path} is a recording of something else: {'; '.join(differences)}"
            raise ConfigurationError([f"{text}. Take another --out, or remove it to begin anew"])
        if (end := self._read_units(size)) < size:
            os.ftruncate(self._file, end)

    def _read_units(self, size: int) -> int:
        """Take what is whole. Returns the offset behind it: what follows, if anything does, is one torn unit."""
        end, unit, rows = 0, -1, list[dict[str, Any]]()
        for number, (start, line) in enumerate(self._lines(), 1):
            behind = start + len(line)
            row = _row(line)
            if row is None and behind == size:
                break
            if row is None or len(rows) >= self._about.unit:
                text = f"{self.path}, line {number}: is not what was written there; take another --out"
                raise PairsError(text)
            if not rows:
                unit = (row["row"] - 1) // self._about.unit
            rows.append(row)
            if [each["row"] for each in rows] == self._wanted(unit):
                self._take(unit, rows)
                end, rows = behind, []
        return end

    def _wanted(self, unit: int) -> list[int]:
        first = unit * self._about.unit
        return list(range(first + 1, min(first + self._about.unit, self._about.inputs) + 1))

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Every line with its offset."""
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            start = 0
            for line in file:
                yield start, line
                start += len(line)


def _lock(path: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise PairsError(f"{path}: another run is writing it") from error


def _row(line: bytes) -> dict[str, Any] | None:
    """None for a line that is torn."""
    try:
        row = orjson.loads(line) if line.endswith(b"\n") else None
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("row"), int) else None
