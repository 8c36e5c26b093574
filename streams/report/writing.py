"""The report as one file: frame, sections and tables put together, with a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import os
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import msgspec

from ...agents.supervision.evaluation import Evaluation, evaluate
from ...agents.supervision.supervisor import Supervisor
from ...agents.supervision.thresholds import Rung
from ..console.output import writing
from ..offline.fitting import Fit
from . import sections
from .from_fit import Background, material_of
from .grid import Grid, make_grid
from .markup import foreign, share, text
from .material import Material, Pair

_HERE = files(__package__) / "static"
_SHARED = files(f"{__package__.rpartition('.')[0]}.web") / "static"  # the look and the icon of the worker's page


def write_report(fit: Fit, background: Background, path: Path) -> None:
    """Write the report of a fit. Raises `OutputError` where that fails: then nothing is written."""
    write_page(report(material_of(fit, background)), path)


def write_page(page: str, path: Path) -> None:
    """Write the file, whole or not at all. Raises `OutputError` where it cannot be written."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.new")
    with writing(path):
        try:
            staged.write_text(page, encoding="utf-8")
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)


def report(material: Material) -> str:
    """The whole page."""
    start = material.chosen
    grid = make_grid(material.unseen, [start, *map(_pair, material.rungs)])
    style = _read(_SHARED, "base.css") + _read(_HERE, "report.css")
    script = _read(_HERE, "report.js")
    measured = evaluate(material.unseen, Supervisor("", start.local), Supervisor("", start.remote))
    return Template(_read(_HERE, "report.html")).substitute(
        policy=_policy(style, script),
        title=f"{text(material.name)} · report",
        icon=quote(_read(_SHARED, "icon.svg")),
        style=style,
        name=foreign(material.name),
        facts=" · ".join(map(foreign, material.facts)),
        state=sections.state(material),
        headline=_headline(measured),
        promise=sections.promise(material, measured),
        reliability=sections.scores_mean(material),
        scores=sections.candidates(material),
        mistakes=sections.errors(material),
        ladder=sections.ladder(material),
        footer=_footer(material),
        data=_embedded(_data(material, grid)),
        script=script,
    )


def _read(folder: Any, name: str) -> str:  # noqa: ANN401  # a resource, on disk or in an archive
    return str((folder / name).read_text(encoding="utf-8"))


def _policy(style: str, script: str) -> str:
    """What the browser lets in: this style and this script, by their digests, and pictures that are in the page."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _embedded(document: dict[str, Any]) -> str:
    """JSON that cannot end the element it stands in."""
    told = msgspec.json.encode(document).decode()
    return told.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _pair(rung: Rung) -> Pair:
    return Pair(rung.local, rung.remote)


def _data(material: Material, grid: Grid) -> dict[str, Any]:
    usage = material.usage
    return {
        "grid": grid.as_json(),
        "start": grid.place(material.chosen),
        "certified": material.certified,
        "promises": [
            {"kind": one.kind, "at_most": one.at_most, "promised": material.certified} for one in material.promises
        ],
        "rungs": [grid.place(_pair(rung)) for rung in material.rungs],
        "usage": {
            "price": usage.price,
            "requests": usage.requests,
            "local_s": usage.local_s,
            "remote_s": usage.remote_s,
        },
    }


def _headline(measured: Evaluation) -> str:
    return (
        f'With <b class="calls">{share(measured.remote_fraction)}</b> of the calls, '
        f'<b class="right">{share(measured.accuracy)}</b> of the trusted answers are right.'
    )


def _footer(material: Material) -> str:
    return (
        f"Curves and figures are measured on {len(material.unseen):,} labelled inputs that decided nothing. "
        "A month is as many requests as you type in."
    )
