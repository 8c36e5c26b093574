"""The thresholds file: both thresholds, how they were made, and a digest that tells when somebody changed them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...schemas.encodings import named, without_mark
from ...schemas.errors import ConfigurationError
from .joint import JointModel
from .learned.deferral import DeferralModel

#: version of the file's format that is written
FORMAT = 2
#: the first format, which is still read
_FIRST = 1
#: what it does not have
_LATER = ("also", "learned", "rungs")
_DIGEST_CHARS = 16


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One supervisor."""

    threshold: float  #: a score below this is not trusted
    score: str  #: name of the score
    model: str = ""  #: name and version of the model; '' where it was not told


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the second threshold promises."""

    kind: Literal["false_positive_rate", "error"]  #: of the right answers, rejected; or of the trusted ones, wrong
    value: float  #: 0..1
    delta: float | None = None  #: probability that the promise fails; None where nothing is promised


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What both thresholds do on one part of the sample. A rate over nothing is None."""

    n: int  #: labelled inputs
    remote_fraction: float | None  #: share that is paid for
    acceptance: float | None  #: share with a trusted answer
    accuracy: float | None  #: share of right ones among those
    error: float | None  #: share of wrong ones among those
    false_positive_rate: float | None  #: share of rejected ones among the right answers


class Rung(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pair of thresholds on the ladder from lax to strict: the cheapest one for its error level."""

    local: float  #: first threshold
    remote: float  #: second threshold
    level: float  #: the error that it was chosen for
    error: float | None  #: expected share of wrong ones among the trusted, on inputs that did not choose it
    remote_fraction: float | None  #: expected share that is paid for
    acceptance: float | None  #: expected share with a trusted answer
    certified: bool = False  #: whether it is the pair that the promise is about


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a worker needs, and everything a person asks about it later."""

    version: str  #: name that every record carries
    local: Line
    remote: Line
    first: str  #: what the first threshold is for, in words
    method: str  #: rule of the second threshold
    target: Target
    seed: int  #: of the split
    parts: dict[str, Part]  #: by name: choose, certify, report
    made: str  #: date and time, UTC, ISO 8601
    joint: JointModel | None = None  #: estimates how likely each answer is right, where that is used
    joint_of: str = ""  #: name of the remote's own score, which the joint model reads; '' where there is none
    arbitration: bool = False  #: the likelier of the two answers is taken
    also: Target | None = None  #: what is promised besides, where both rates are
    learned: DeferralModel | None = None  #: makes the local score, where that is the learned one
    rungs: tuple[Rung, ...] = ()  #: from lax to strict, the certified pair among them
    format: int = FORMAT
    digest: str = ""  #: SHA-256 over all the rest, 16 hex digits


def signed(thresholds: Thresholds) -> Thresholds:
    """The same with its digest, and with a version made of date and digest where it has none."""
    digest = _digest(thresholds)
    if not thresholds.version:
        thresholds = msgspec.structs.replace(thresholds, version=f"{thresholds.made[:10]}-{digest[:8]}")
    return msgspec.structs.replace(thresholds, digest=_digest(thresholds))


def write_thresholds(path: Path, thresholds: Thresholds) -> None:
    """Write the file, whole or not at all. Raises `OSError`."""
    staged = path.with_name(f"{path.name}.new")
    try:
        staged.write_bytes(msgspec.json.format(msgspec.json.encode(thresholds), indent=2) + b"\n")
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def read_thresholds(path: Path) -> Thresholds:
    """Read and check it. Raises `ConfigurationError` where it is missing, damaged or changed by hand."""
    try:
        document = path.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"cannot read the thresholds file {str(path)!r}: {error.strerror}"]) from error
    try:
        thresholds = msgspec.json.decode(without_mark(document), type=Thresholds)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = f"it is {name}" if (name := named(document)) else error
        raise ConfigurationError([f"{str(path)!r} is no thresholds file: {why}"]) from error
    if thresholds.format not in (_FIRST, FORMAT):
        known = f"this version reads {_FIRST} and {FORMAT}"
        raise ConfigurationError([f"{str(path)!r} has the format {thresholds.format}; {known}"])
    if thresholds.digest != _digest(thresholds):
        raise ConfigurationError(
            [
                f"{str(path)!r} was changed after it was made: its digest does not fit. Calibrate again, or give "
                "thresholds of your own as [local] threshold and [remote] threshold"
            ]
        )
    return thresholds


def _digest(thresholds: Thresholds) -> str:
    document: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(thresholds, digest=""))
    if thresholds.format == _FIRST and not any(document[name] for name in _LATER):
        document = {name: value for name, value in document.items() if name not in _LATER}
    canonical = msgspec.json.encode(document, order="sorted")
    return hashlib.sha256(canonical).hexdigest()[:_DIGEST_CHARS]
