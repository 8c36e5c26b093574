"""What both demos share: the terms of the remote model, the worker's start, the run, the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from ..console.signals import interruptible, run_coroutine
from ..sandbox.end_to_end import run_events
from ..sandbox.outcomes import Outcome
from ..sandbox.processes import Process, page_address, start_worker
from ..settings.file import load_settings
from ..settings.tables import Settings
from ..topics.creating import create_topics
from .report import Baselines, DemoReport, make_report

#: what a remote call costs, in some currency, and how many calls a second are let through
PRICE = 0.002
CALLS_PER_SECOND = 150
#: median of a remote call
LATENCY_MS = 120.0
#: a little more than the remote lets through at this latency, so that its limit is met and obeyed
IN_FLIGHT = 24


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent, what the right answers are, and how well each model does alone."""

    events: dict[str, bytes]  #: id -> value, in the order they are sent
    truth: dict[str, str]  #: id -> the right answer
    baselines: Baselines


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A running worker and what belongs to it."""

    config: Path
    settings: Settings
    worker: Process
    page: str  #: its address, or where to look


def run_interruptible(story: Callable[[Console, ExitStack], int]) -> int:
    """Run a demo. Whatever it starts is ended on every way out, Ctrl-C included."""
    console = Console(highlight=False)
    return interruptible(
        lambda processes: story(console, processes),
        lambda: console.print("stopping the worker, the remote and the broker"),
    )


def start_pipeline(folder: Path, toml: str, processes: ExitStack, env: Mapping[str, str] | None = None) -> Pipeline:
    """Write the configuration, make the topics, and start the worker. Configuration and log go into the folder."""
    config = folder / "bisupervised.toml"
    config.write_text(toml)
    settings = load_settings(config, {})
    run_coroutine(create_topics(settings))
    worker = start_worker(config, settings, folder, processes, env)
    return Pipeline(config, settings, worker, page_address(folder / "worker.log") or "none, see worker.log")


def run_workload(
    workload: Workload, pipeline: Pipeline, server_url: str, console: Console
) -> tuple[DemoReport, list[Outcome]]:
    """Send every event, read every outcome, and count."""
    run = run_coroutine(run_events(pipeline.settings, workload.events, pipeline.worker, server_url, console))
    return make_report(workload.truth, run, workload.baselines, PRICE), run.outcomes


def write_json(path: Path, report: DemoReport, more: Mapping[str, object]) -> None:
    """Write the report, and what else belongs into the file."""
    path.write_text(json.dumps(asdict(report) | dict(more), indent=2) + "\n")


def exit_status(report: DemoReport, worker: Process) -> int:
    """0 where every event has one outcome and the worker ended well, else 1."""
    return 0 if report.sound and not worker.returncode else 1
