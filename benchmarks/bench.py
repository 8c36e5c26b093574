"""`make bench`: run every benchmark, one after the other, on one embedded broker.

Writes all figures to `build/bench.json`, all tables to `docs/benchmark-figures.md`, and the goals and the contest to
`BENCHMARKS.md`. Exits 1 where a target is missed, and names it. `--only contest` runs one benchmark. `--smoke` takes
seconds and checks no target. Neither changes a page.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from rich.console import Console
from rich.table import Table

from . import goals
from .command import write
from .machine import machine, versions
from .process import ROOT
from .service import in_service

#: modules of this package, in the order in which they run
BENCHMARKS = ("contest", "model", "latency", "whole", "memory", "idle", "partitions", "draw")
PAGE, FIGURES = ROOT / "BENCHMARKS.md", ROOT / "docs" / "benchmark-figures.md"
#: the benchmark whose table stands on the first page
_FIRST = "contest"
#: figures that are repeated at the top of `build/bench.json`
HEADLINES = (
    "local_path_vs_bare",
    "local_path_vs_quixstreams",
    "local_path_vs_faststream",
    "model_vs_torch",
    "latency_ms",
    "remote_efficiency",
    "memory_growth",
)


class Benchmark(Protocol):
    """What each module of a benchmark has."""

    SMOKE: Any

    def Sizes(self) -> Any: ...  # noqa: ANN401, N802  # a class of the module, of fields of its own
    def measure(self, servers: str, sizes: Any, folder: Path, say: Console) -> Any: ...  # noqa: ANN401  # its report
    def as_table(self, report: Any) -> Table: ...  # noqa: ANN401
    def faults(self, report: Any) -> list[str]: ...  # noqa: ANN401


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of one benchmark."""

    name: str
    figures: dict[str, Any]
    table: Table
    missed: list[str]
    took_s: float


def run(names: Sequence[str], say: Console, *, smoke: bool) -> list[Measured]:
    """Run these benchmarks, one after the other."""
    told = []
    with in_service(say, smoke=smoke) as broker:
        for name in names:
            say.rule(name)
            told.append(_run(name, broker.bootstrap_servers, say, smoke=smoke))
            say.print(told[-1].table)
    return told


def _run(name: str, servers: str, say: Console, *, smoke: bool) -> Measured:
    benchmark = cast(Benchmark, import_module(f"{__package__}.{name}"))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = benchmark.measure(servers, benchmark.SMOKE if smoke else benchmark.Sizes(), Path(folder), say)
    missed = [] if smoke else benchmark.faults(report)
    return Measured(name, asdict(report), benchmark.as_table(report), missed, time.monotonic() - began)


def figures(told: Sequence[Measured], only: str | None = None, *, smoke: bool = False) -> dict[str, Any]:
    """The document: machine and versions, the headlines, then all figures of each benchmark under its name."""
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": _command(only, smoke=smoke),
        "smoke": smoke,
        "machine": machine(),
        "versions": versions(),
        "took_s": {each.name: round(each.took_s, 1) for each in told},
        "missed": [name for each in told for name in each.missed],
    }
    for each in told:
        found |= {name: each.figures[name] for name in HEADLINES if name in each.figures}
    found |= {each.name: each.figures for each in told}
    return found | {"goals": {row.goal.name: row.value for row in goals.reached(found)}}


def as_markdown(told: Sequence[Measured], found: dict[str, Any]) -> str:
    """The text between the marks of a page: the goals, and the table of each of these benchmarks."""
    here = found["machine"]
    libraries = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    parts = [
        f"`{found['command']}`, {found['date']}. {here['cores']} cores of {here['processor']}, shared by all that "
        f"runs, the broker included; {here['memory_gb']:g} GB, {here['system']}. {libraries}.",
        _verdict(found),
    ]
    rows = goals.reached(found)
    tables = [*([goals.as_table(rows)] if rows else []), *(each.table for each in told)]
    for table in tables:
        parts += [f"### {table.title}", markdown(table)]
    return "\n\n".join(parts)


def _verdict(found: dict[str, Any]) -> str:
    if found["smoke"]:
        return "A smoke run: these figures say nothing."
    if found["missed"]:
        return f"Missed: {', '.join(f'`{name}`' for name in found['missed'])}."
    return "Every target is met."


def markdown(table: Table) -> str:
    """A table of rich in Markdown."""
    rows = zip(*(column.cells for column in table.columns), strict=True)
    lines = [[str(column.header) for column in table.columns], ["---"] * len(table.columns), *map(list, rows)]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def fill(page: Path, text: str) -> None:
    """Put the text between the page's two marks."""
    filled, found = re.subn(
        r"(<!-- bench -->\n).*?(\n<!-- end of bench -->)",
        lambda m: m[1] + text + m[2],
        page.read_text(),
        flags=re.DOTALL,
    )
    if not found:
        sys.exit(f"{page.name} has no place for the tables: <!-- bench --> and <!-- end of bench -->")
    page.write_text(filled)


def _command(only: str | None, *, smoke: bool) -> str:
    options = [*(["--only", only] if only else []), *(["--smoke"] if smoke else [])]
    return " ".join(["python -m benchmarks.bench", *options]) if options else "make bench"


def main() -> int:
    """Returns 0 where every target is met; `--smoke` checks none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=BENCHMARKS, help="run this one alone")
    parser.add_argument("--smoke", action="store_true", help="run in seconds, and check no target")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.json")
    parser.add_argument(
        "--page", type=Path, help="page to write all tables to; docs/benchmark-figures.md where all ran"
    )
    asked = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # it retries, and logs each try
    say = Console()
    told = run([asked.only] if asked.only else BENCHMARKS, say, smoke=asked.smoke)
    found = figures(told, asked.only, smoke=asked.smoke)
    write(asked.out, found)
    whole = not (asked.only or asked.smoke)
    if whole:
        fill(PAGE, as_markdown([each for each in told if each.name == _FIRST], found))
    if whole or asked.page:
        fill(asked.page or FIGURES, as_markdown(told, found))
    say.print(goals.as_table(goals.reached(found)))
    if found["missed"]:
        say.print(f"missed: {', '.join(found['missed'])}")
    return int(bool(found["missed"]))


if __name__ == "__main__":
    sys.exit(main())
