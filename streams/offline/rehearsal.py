"""A rehearsal: recorded predictions go through Kafka, the three agents and HTTP; offline decisions are the yardstick.

The broker (where none is given), the server that answers from the recording, and the worker are processes of their own.
Each run has its own topics and deletes them afterwards.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from rich.console import Console

from ..console.output import as_text, progress_console, tell, writing
from ..console.signals import interruptible, run_coroutine
from ..sandbox.broker import last_lines
from ..sandbox.end_to_end import run_events
from ..sandbox.processes import ProcessError, start_broker, start_server, start_worker
from ..settings.file import load_settings
from ..settings.tables import Settings
from ..topics.admin import admin_of
from ..topics.creating import create_topics
from . import recorded_models
from .recordings.pairs import Recorded
from .rehearsal_report import RehearsalReport, as_table, make_report
from .rules import Rule

_ROLES = ("requests", "doubtful", "answers", "results", "fallback")
_MODEL = "recorded"
#: most calls under way at once
_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Conditions:
    """The broker and the remote model of a rehearsal."""

    latency_ms: float = 0.0  #: median of a remote call
    limit: float = math.inf  #: calls per second that the remote lets through
    price: float = 0.0  #: of one call, in a currency of the user's choice
    bootstrap_servers: str | None = None  #: None starts the embedded broker

    @property
    def in_flight(self) -> int:
        """Calls under way at once: half as many again as the limit lets through at this latency."""
        if math.isinf(self.limit):
            return _IN_FLIGHT
        return max(2, min(_IN_FLIGHT, math.ceil(1.5 * self.limit * (self.latency_ms / 1000 + 0.02))))


def rehearse(given: Recorded, rule: Rule, conditions: Conditions, console: Console) -> RehearsalReport:
    """Run the recording through the pipeline and compare. Progress goes to `console`.

    Raises `BrokerError`, `ProcessError` and `BrokerUnreachable` where something does not start or cannot be reached.
    """
    reports: list[RehearsalReport] = []

    def story(processes: ExitStack) -> int:
        folder = processes.enter_context(tempfile.TemporaryDirectory(prefix="bisupervised-rehearsal-"))
        reports.append(_run(given, rule, conditions, Path(folder), console, processes))
        return 0

    interruptible(story, lambda: console.print("stopping what was started"))
    return reports[0]


def _run(
    given: Recorded, rule: Rule, conditions: Conditions, folder: Path, console: Console, processes: ExitStack
) -> RehearsalReport:
    """The whole story, in order."""
    decisions = rule.decide(given.recording)
    arrays = folder / "recording.npz"
    recorded_models.save(given.recording, arrays)
    environment = {recorded_models.VARIABLE: str(arrays)}
    servers = conditions.bootstrap_servers or _start_broker(console, processes)
    url = start_server(_server_options(conditions), folder, processes, environment)
    config = folder / "bisupervised.toml"
    config.write_text(to_toml(_tables(servers, url, rule, conditions), name=f"rehearsal-{uuid4().hex[:8]}"))
    settings = load_settings(config, {})
    run_coroutine(create_topics(settings))
    if conditions.bootstrap_servers:  # the embedded one leaves nothing behind
        processes.callback(lambda: run_coroutine(_delete_topics(settings)))
    with console.status("  the worker starts"):
        worker = start_worker(config, settings, folder, processes, environment)
    console.print(f"  {len(decisions):,} events in, results and fallback out")
    events = {str(row): orjson.dumps({"id": name, "input": [row]}) for row, name in enumerate(given.ids.tolist())}
    run = run_coroutine(run_events(settings, events, worker, url, console))
    if worker.returncode:
        what = f"the worker ended with status {worker.returncode}. The end of its log:"
        raise ProcessError(f"{what}\n{last_lines(folder / 'worker.log', 15)}")
    return make_report(decisions, given.ids.tolist(), run)


def _start_broker(console: Console, processes: ExitStack) -> str:
    servers = start_broker(processes, console)
    console.print(f"  Apache Kafka listens on {servers}")
    return servers


async def _delete_topics(settings: Settings) -> None:
    async with admin_of(settings) as admin:
        await admin.delete_topics([getattr(settings.topics, role) for role in _ROLES])


def _server_options(conditions: Conditions) -> dict[str, object]:
    return {
        "--model": f"{recorded_models.__name__}:remote",
        "--name": _MODEL,
        "--features": 1,
        "--latency-ms": conditions.latency_ms,
        "--limit": conditions.limit,
        "--price": conditions.price,
        "--seed": 0,
    }


def _tables(servers: str, url: str, rule: Rule, conditions: Conditions) -> dict[str, dict[str, object]]:
    """The configuration of the worker, by table."""
    tables: dict[str, dict[str, object]] = {
        "kafka": {"bootstrap_servers": servers},
        "topics": {"partitions": min(4, conditions.in_flight)},  # each partition may have a call under way
        "local": {"model": f"{recorded_models.__name__}:local", "output": "scored"},
        "remote": {
            "url": url,
            "model": _MODEL,
            "datatype": "INT64",
            "output": "scored",
            "output_name": recorded_models.PREDICTION,
            "score_output": recorded_models.SCORE,
            "batch_size": 1,  # a call is an input, which makes the bill easy to read
            "batch_wait_ms": 0,
            "in_flight": conditions.in_flight,
            "tries": 1000,  # a limit may cost a rehearsal time, but no answer
            "deadline_s": 3600.0,
            "price_per_call": conditions.price,
        },
    }
    for table, keys in rule.settings().items():
        tables.setdefault(table, {}).update(keys)
    return tables


def to_toml(tables: Mapping[str, Mapping[str, Any]], *, name: str) -> str:
    """The settings as TOML. `name` begins the topics' names. JSON's strings, numbers and lists are TOML's too."""
    topics = {role: f"{name}-{role}" for role in _ROLES}
    lines = [f"name = {json.dumps(name)}"]
    for table, keys in {**tables, "topics": topics | dict(tables.get("topics", {}))}.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def run_rehearsal(given: Recorded, rule: Rule, conditions: Conditions, *, as_document: bool, out: Path | None) -> int:
    """The command: rehearse, print, write. Returns 1 where a decision differs, or an event is lost or repeated."""
    console = progress_console()
    console.print(f"  {given.taken}", markup=False, soft_wrap=True)
    report = rehearse(given, rule, conditions, console)
    document = asdict(report) | {"settings": rule.settings(), "taken": str(given.taken)}
    tell(document, [as_table(report)], report.first_mismatches, as_json=as_document)
    if out is not None:  # last: where the file cannot be written, the figures are on the screen
        with writing(out):
            out.write_text(as_text(document) + "\n")
    return 0 if report.sound else 1
