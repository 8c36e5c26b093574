"""What a thresholds file means for the settings: it gives both thresholds, their version and the scores' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ...agents.answers import Output, unreadable
from ...agents.supervision.arbitration import JOINT
from ...agents.supervision.learned.deferral import LEARNED
from ...agents.supervision.thresholds import Thresholds, read_thresholds
from ...schemas.errors import ConfigurationError
from .keys.protocols import usual_output
from .terms import error_promised, start_of

#: what the file says, by table and key of the settings
Values = dict[tuple[str, str], Any]

#: stands in for both thresholds where the file cannot be read, so that nobody is told that they are missing
_STAND_IN: Values = {("local", "threshold"): 0.0, ("remote", "threshold"): 0.0}


def with_thresholds(document: dict[str, Any]) -> tuple[dict[str, Any], Thresholds | None, list[str]]:
    """The document with what its `[thresholds] file` gives, that file's content, and what contradicts it."""
    named = _table(document, "thresholds").get("file")
    if not isinstance(named, str) or not named:
        return document, None, []
    try:
        made = read_thresholds(Path(named))
    except ConfigurationError as error:
        return _filled(document, _STAND_IN), None, [f"[thresholds] file: {fault}" for fault in error.faults]
    faults = _contradictions(document, made) + _unreadable(document, made) + _off_the_ladder(document, made)
    return _filled(document, _gives(made, _pin(document)) | _names(made)), made, faults


def uncalibrated(document: dict[str, Any]) -> dict[str, Any]:
    """The document before there are thresholds: nothing of `[thresholds]` is read, nor what needs a file of them.

    No threshold has to be given.
    """
    remote = {key: value for key, value in _table(document, "remote").items() if key != "arbitration"}
    if remote.get("supervisor") == JOINT:  # which only a thresholds file can fit; it reads the remote's own score
        del remote["supervisor"]
        remote |= {"supervisor": remote["joint_of"]} if "joint_of" in remote else {}
    local = dict(_table(document, "local"))
    if local.get("supervisor") == LEARNED and local.get("output") != "scored":
        del local["supervisor"]
    audit = {key: value for key, value in _table(document, "audit").items() if key not in ("on_alarm", "alarm_share")}
    tables = {"local": local, "remote": remote, "audit": audit}
    known = {name: table for name, table in tables.items() if isinstance(document.get(name), dict)}
    return _filled(document | known | {"thresholds": {}}, _STAND_IN)


def _gives(made: Thresholds, pin: int = 0) -> Values:
    """Its pair, or that of the rung that is pinned: such a record must not be taken for one of the certified pair."""
    pinned = made.rungs[pin - 1] if 0 < pin <= len(made.rungs) else None
    return {
        ("local", "threshold"): pinned.local if pinned else made.local.threshold,
        ("remote", "threshold"): pinned.remote if pinned else made.remote.threshold,
        ("thresholds", "version"): f"{made.version}-pin-{pin}" if pinned else made.version,
    }


def _pin(document: dict[str, Any]) -> int:
    """The rung that the document pins; 0 for none, also where it is no number, which is told as what it is."""
    said = _table(document, "thresholds").get("pin", 0)
    try:
        return 0 if isinstance(said, bool) else int(said)
    except (TypeError, ValueError):
        return 0


def _off_the_ladder(document: dict[str, Any], made: Thresholds) -> list[str]:
    """What asks for rungs, where the file has none, or not that one."""
    pin, rungs = _pin(document), len(made.rungs)
    wants = {
        "[thresholds] follow": _table(document, "thresholds").get("follow") in (True, "true", "True", "1"),
        "[thresholds] pin": bool(pin),
        "[audit] on_alarm": _table(document, "audit").get("on_alarm") == "tighten",
    }
    if not rungs:
        text = "needs rungs, and [thresholds] file has none: make it with `bisupervised fit`"
        return [f"{key}: {text}" for key, wanted in wants.items() if wanted]
    if pin > rungs:
        return [f"[thresholds] pin: must be 0, or a rung of [thresholds] file, 1 to {rungs} (got {pin})"]
    if wants["[audit] on_alarm"] and error_promised(made) is None:
        text = "promises a false-positive rate alone, which stricter rungs raise; give `bisupervised fit` --max-error"
        return [f'[audit] on_alarm: "tighten" needs a promised error, and [thresholds] file {text}']
    if any(wants.values()) and not start_of(made):
        return ["[thresholds] file: its own pair is no rung of it, so there is nowhere to start: make it anew"]
    return []


def _names(made: Thresholds) -> Values:
    names: Values = {
        ("local", "supervisor"): made.local.score,
        ("remote", "supervisor"): made.remote.score,
        ("remote", "arbitration"): made.arbitration,
    }
    return names | ({("remote", "joint_of"): made.joint_of} if made.joint_of else {})


def _filled(document: dict[str, Any], values: Values) -> dict[str, Any]:
    """What the document says itself stays: where the two differ, it is a fault."""
    filled = dict(document)
    for (table, key), value in values.items():
        there = filled.get(table, {})
        if isinstance(there, dict):
            filled[table] = {key: value} | there
    return filled


def _contradictions(document: dict[str, Any], made: Thresholds) -> list[str]:
    faults = [
        f"[{table}] {key}: must be left out, for [thresholds] file gives it"
        for table, key in _gives(made)
        if key in _table(document, table)
    ]
    for (table, key), wanted in _names(made).items():
        name = _table(document, table).get(key, wanted)
        if name != wanted:
            faults.append(f"[{table}] {key}: must be {wanted!r}, as [thresholds] file was made for (got {name!r})")
    return faults


def _unreadable(document: dict[str, Any], made: Thresholds) -> list[str]:
    """What the settings say of the local model, where the learned score cannot be made of it."""
    if made.learned is None:
        return []
    said = _table(document, "local")
    usual = {"output": usual_output(str(said.get("protocol", ""))), "samples": 1, "labels": (), "features": False}
    local = usual | said
    try:
        known = msgspec.convert(local, _SaidOfLocal)
    except msgspec.ValidationError:  # is told as what it is
        return []
    labels = known.labels or None  # the model may name them
    faults = unreadable(made.learned, known.output, known.samples, labels, features=known.features)
    return [f"[local] {key}: {text}" for key, text in faults]


class _SaidOfLocal(msgspec.Struct):
    output: Output
    samples: int
    labels: tuple[Any, ...]
    features: bool


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    table = document.get(name)
    return table if isinstance(table, dict) else {}
