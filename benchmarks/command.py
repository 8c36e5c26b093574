"""The command `python -m benchmarks.<name>`: options, figures as JSON, a table, missed targets."""

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
    """Run a benchmark that needs a broker. `sizes` are those of a real run and of `--smoke`.

    Returns 0 where every target is met; `--smoke` checks none.
    """

    def on_a_broker(chosen: Sizes, say: Console) -> Report:
        logging.getLogger("aiokafka").setLevel(logging.ERROR)  # it retries, and logs each try
        with tempfile.TemporaryDirectory() as folder, in_service(say, smoke=chosen is sizes[1]) as broker:
            return measure(broker.bootstrap_servers, chosen, Path(folder), say)

    return command_without_broker(name, manual, sizes, on_a_broker, as_table, faults)


def command_without_broker(
    name: str,
    manual: str | None,
    sizes: tuple[Sizes, Sizes],
    measure: Callable[[Sizes, Console], Report],
    as_table: Callable[[Report], Table],
    faults: Callable[[Report], list[str]],
) -> int:
    """Run a benchmark. Otherwise as `command`."""
    parser = argparse.ArgumentParser(description=manual, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="run in seconds, and check no target")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / f"{name}.json")
    asked = parser.parse_args()
    say = Console()
    report = measure(sizes[asked.smoke], say)
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
    """Write the figures as indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")
