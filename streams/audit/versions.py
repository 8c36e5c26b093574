"""The commands `audit history`, `set`, `pin` and `unpin`: which version of the thresholds is in force, and by whom."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.table import Table

from ...agents.terms import Ladder
from ...schemas.errors import ConfigurationError
from ...schemas.versions import Reason, ThresholdsEntry
from ..console.options import DONE, Config, Json
from ..console.output import tell, working
from ..console.signals import run_coroutine
from ..settings.file import Configuration, load_configuration
from ..versions.entries import next_entry
from ..versions.fold import Standing, fold, unfit

if TYPE_CHECKING:
    from ..settings.tables import Settings

Why = Annotated[str, Parameter(help="Why, for whoever reads the history.")]
By = Annotated[str, Parameter(help="Who says so. By default the user of this machine.")]


def history(*, config: Config = None, json: Json = False) -> int:
    """List every version of the thresholds that was chosen: which one is in force, who chose it, when and why.

    A void entry came second: another one was quicker, or a rung was pinned.
    """
    from ..versions.appending import read_versions

    configuration, ladder = followed(config)
    settings = configuration.settings
    with working("reading the topic"):
        entries = run_coroutine(read_versions(settings))
    standing = fold(entries, settings.name, ladder)
    tell(_document(standing, ladder), [_table(standing, ladder)], _notes(settings, standing, ladder), as_json=json)
    return DONE


def set_version(rung: str, /, *, why: Why, by: By = "", config: Config = None, json: Json = False) -> int:
    """Put a rung in force: the auditor goes on from there. A former version's name does, too: its rung is taken.

    Parameters
    ----------
    rung
        Number of the rung, 1 is the laxest, or the name of a version, as `audit history` prints both.
    """
    return _choose(config, "set", lambda standing, ladder: rung_of(rung, standing, ladder), by, why, as_json=json)


def pin(rung: str, /, *, why: Why, by: By = "", config: Config = None, json: Json = False) -> int:
    """Put a rung in force and hold it there, whatever the auditor finds, until `unpin`.

    Parameters
    ----------
    rung
        Number of the rung, 1 is the laxest, or the name of a version, as `audit history` prints both.
    """
    return _choose(config, "pin", lambda standing, ladder: rung_of(rung, standing, ladder), by, why, as_json=json)


def unpin(*, why: Why, by: By = "", config: Config = None, json: Json = False) -> int:
    """Let go of a pin: the rung stays in force, and the auditor may change it again."""
    return _choose(config, "unpin", lambda standing, _: standing.rung, by, why, as_json=json)


def followed(config: Any) -> tuple[Configuration, Ladder]:  # noqa: ANN401  # the command's option
    """The configuration and its ladder. Raises `ConfigurationError` where no worker would follow."""
    configuration = load_configuration(config)
    ladder = configuration.terms.ladder
    if not configuration.settings.follows or ladder is None:
        raise ConfigurationError(
            ["[thresholds] follow: is false, so no worker follows the topic: set it to true (docs/versions.md)"]
        )
    return configuration, ladder


def rung_of(text: str, standing: Standing, ladder: Ladder) -> int:
    """The rung that a number, or a version's name, names. Raises `ConfigurationError` where there is none."""
    if text == ladder.version:
        return ladder.start
    named = {entry.version: entry.rung for entry in standing.chain}
    rung = int(text) if text.isdecimal() else named.get(text, 0)
    if not 1 <= rung <= len(ladder.rungs):
        raise ConfigurationError(
            [f"RUNG: must be 1 to {len(ladder.rungs)}, or a version that was in force (got {text!r})"]
        )
    return rung


def _choose(
    config: Any,  # noqa: ANN401  # the command's option
    reason: Reason,
    rung: Callable[[Standing, Ladder], int],
    by: str,
    why: str,
    *,
    as_json: bool,
) -> int:
    from ..versions.appending import append

    configuration, ladder = followed(config)
    settings, who = configuration.settings, by.strip() or getpass.getuser()
    if not why.strip():
        raise ConfigurationError(["--why: must say why"])

    def choose(standing: Standing) -> ThresholdsEntry:
        _check_pin(reason, standing)
        at_ms = round(time.time() * 1000)
        number = rung(standing, ladder)
        return next_entry(standing, settings.name, ladder, number, reason, by=who, at_ms=at_ms, why=why.strip())

    with working("writing the topic"):
        entry, standing = run_coroutine(append(settings, ladder, choose))
    held = ", and holds until `audit unpin`" if reason == "pin" else ""
    told = f"version {entry.version} is in force: rung {entry.rung} of {len(ladder.rungs)}{held}"
    tell(_said(entry, "in force"), [], [told, *_warnings(settings, standing)], as_json=as_json)
    return DONE


def _check_pin(reason: Reason, standing: Standing) -> None:
    if reason == "set" and standing.pinned and standing.entry is not None:
        text = f"rung {standing.rung} is pinned by {standing.entry.by}: `audit unpin` first, or `audit pin` another one"
        raise ConfigurationError([f"RUNG: {text}"])
    if reason == "unpin" and not standing.pinned:
        raise ConfigurationError(["nothing is pinned by the topic (`audit history` says what is in force)"])


def _warnings(settings: Settings, standing: Standing) -> list[str]:
    pinned = settings.thresholds.pin
    if not pinned:
        return []
    return [f"[thresholds] pin = {pinned} of these settings wins: workers that have it judge by that rung"]


def _notes(settings: Settings, standing: Standing, ladder: Ladder) -> list[str]:
    entry = standing.entry
    chosen = f"{entry.reason} by {entry.by}" if entry else "the file's own pair"
    told = [f"in force: {standing.version}, rung {standing.rung} of {len(ladder.rungs)}, {chosen}"]
    if entry is not None and (why := unfit(entry, ladder)):
        told.append(f"workers with these settings refuse it: {why}")
    others = sum(fate == "of another file" for _, fate in standing.fates)
    if others:
        told.append(f"{others:,} of another thresholds file are not for these settings")
    return told + _warnings(settings, standing)


def _document(standing: Standing, ladder: Ladder) -> dict[str, Any]:
    return {
        "version": standing.version,
        "rung": standing.rung,
        "pinned": standing.pinned,
        "ladder": msgspec.to_builtins(ladder),
        "versions": [_said(entry, fate) for entry, fate in standing.fates],
    }


def _said(entry: ThresholdsEntry, fate: str) -> dict[str, Any]:
    document: dict[str, Any] = {"why": "", "evidence": {}} | msgspec.to_builtins(entry)
    return document | {"fate": fate}


def _table(standing: Standing, ladder: Ladder) -> Table:
    table = Table(title="Versions of the thresholds", title_justify="left")
    for name in ("version", "rung", "thresholds", "error, calls", "chosen", "by", "at (UTC)", "why", ""):
        table.add_column(name, overflow="fold")
    first = ladder.rungs[ladder.start - 1]
    fate = "in force" if standing.entry is None else ""
    pair = f"{first.local:.4g}, {first.remote:.4g}"
    table.add_row(ladder.version, str(ladder.start), pair, _expected(ladder, ladder.start), "file", "", "", "", fate)
    for entry, fate in standing.fates:
        at = datetime.fromtimestamp(entry.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        pair = f"{entry.local:.4g}, {entry.remote:.4g}"
        expected = _expected(ladder, entry.rung) if entry.ladder == ladder.digest else ""
        words = (entry.version, str(entry.rung), pair, expected, entry.reason, entry.by, at, entry.why)
        table.add_row(*words, "" if fate == "former" else fate)
    return table


def _expected(ladder: Ladder, rung: int) -> str:
    """What the file expects of a rung: the share of wrong ones among the trusted, and of calls."""
    if not 1 <= rung <= len(ladder.rungs):
        return ""
    made = ladder.rungs[rung - 1]
    return ", ".join("-" if share is None else f"{share:.1%}" for share in (made.error, made.remote_fraction))
