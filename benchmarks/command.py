"""What every benchmark is as a command: a broker of its own, a table for people, JSON for the rest, missed targets."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from bisupervised.streams.broker import Broker
from rich.console import Console
from rich.table import Table

from .worker import ROOT

S = TypeVar("S")
R = TypeVar("R")


def command(
    name: str,
    about: str | None,
    sizes: tuple[S, S],
    measure: Callable[[str, S, Path, Console], R],
    as_table: Callable[[R], Table],
    faults: Callable[[R], list[str]],
) -> int:
    """`sizes`: of a real run, and of `--smoke`. Returns 0 when every target is met, or nothing was asked of them."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="in seconds, and no target is checked")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / f"{name}.json")
    told = parser.parse_args()
    say = Console()
    with tempfile.TemporaryDirectory() as folder, Broker() as broker:
        report: Any = measure(broker.bootstrap_servers, sizes[told.smoke], Path(folder), say)
    told.out.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(asdict(report), indent=2) + "\n")
    say.print(as_table(report))
    missed = [] if told.smoke else faults(report)
    if missed:
        say.print(f"missed: {', '.join(missed)}")
    return int(bool(missed))
