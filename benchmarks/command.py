"""What `python -m benchmarks.<name>` does, for benchmarks that need a broker."""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from .process import ROOT
from .service import in_service

Sizes = TypeVar("Sizes")
Report = TypeVar("Report")


def command(
    name: str,
    manual: str | None,
    sizes: tuple[Sizes, Sizes],
    measure: Callable[[str, Sizes, Path, Console], Report],
    as_table: Callable[[Report], Table],
    faults: Callable[[Report], list[str]],
) -> int:
    """`sizes` are those of a real run and of `--smoke`. 0 when every target is met, or nothing was asked of them."""
    parser = argparse.ArgumentParser(description=manual, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="in seconds, and no target is checked")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / f"{name}.json")
    asked = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # it tries again, and says so each time
    say = Console()
    with tempfile.TemporaryDirectory() as folder, in_service(say, smoke=asked.smoke) as broker:
        report = measure(broker.bootstrap_servers, sizes[asked.smoke], Path(folder), say)
    write(asked.out, asdict(report))  # type: ignore[call-overload]  # a dataclass, which no TypeVar can say
    say.print(as_table(report))
    faulty = [] if asked.smoke else faults(report)
    if faulty:
        say.print(f"missed: {', '.join(faulty)}")
    return int(bool(faulty))


def missed(held: Mapping[str, bool]) -> list[str]:
    """The names of the targets that were not met."""
    return [name for name, kept in held.items() if not kept]


def write(path: Path, figures: dict[str, Any]) -> None:
    """As JSON, for people as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
