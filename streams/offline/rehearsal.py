"""A rehearsal: recorded predictions through Kafka, the three agents and HTTP, held against the offline decision.

The broker (where none is given), the server that answers from the recording, and the worker are processes of
their own. Topics have names of this run's own and are deleted afterwards.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console

from ...schemas.codec import decode_facts, decode_result
from ..console.output import as_text, progress_console, tell, writing
from ..console.signals import interruptible, run_coroutine
from ..sandbox.broker import Broker, BrokerError
from ..sandbox.end_to_end import read_meter, stream
from ..sandbox.processes import ProcessError, start_server, start_worker, wait_until_ready
from ..settings.broker import connection
from ..settings.file import load_settings
from ..settings.tables import Settings
from ..topics.creating import create_topics
from . import recorded
from .recordings.pairs import Recorded
from .rehearsal_report import Bill, Outcome, Report, as_json, as_table, make_report
from .rules import Rule

_ROLES = ("requests", "doubtful", "answers", "results", "fallback")
_MODEL = "recorded"
#: calls under way at once where no limit says less
_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the pipeline meets in a rehearsal."""

    latency_ms: float = 0.0  #: median of a remote call
    limit: float = math.inf  #: calls per second that the remote lets through
    price: float = 0.0  #: of one call, in a currency of the user's choice
    bootstrap_servers: str | None = None  #: None starts the embedded broker

    @property
    def in_flight(self) -> int:
        """Calls under way at once: about what the limit lets through at this latency, and some more."""
        if math.isinf(self.limit):
            return _IN_FLIGHT
        return max(2, min(_IN_FLIGHT, math.ceil(1.5 * self.limit * (self.latency_ms / 1000 + 0.02))))


def rehearse(given: Recorded, rule: Rule, conditions: Conditions, console: Console) -> Report:
    """Run the recording through the pipeline and compare. What happens on the way is told on `console`.

    Raises `ProcessError` and `BrokerUnreachable` where something does not start or cannot be reached.
    """
    reports: list[Report] = []

    def story(processes: ExitStack) -> int:
        folder = processes.enter_context(tempfile.TemporaryDirectory(prefix="bisupervised-rehearsal-"))
        reports.append(_run(given, rule, conditions, Path(folder), console, processes))
        return 0

    interruptible(story, lambda: console.print("stopping what was started"))
    return reports[0]


def _run(
    given: Recorded, rule: Rule, conditions: Conditions, folder: Path, console: Console, processes: ExitStack
) -> Report:
    """The whole story, in order."""
    decisions = rule.decide(given.recording)
    arrays = folder / "recording.npz"
    recorded.save(given.recording, arrays)
    environment = {recorded.VARIABLE: str(arrays)}
    servers = conditions.bootstrap_servers or _start_broker(console, processes)
    url = start_server(_server_options(conditions), folder, processes, environment)
    config = folder / "bisupervised.toml"
    config.write_text(to_toml(_tables(servers, url, rule, conditions), name=f"rehearsal-{uuid4().hex[:8]}"))
    settings = load_settings(config, {})
    run_coroutine(create_topics(settings))
    if conditions.bootstrap_servers:  # the embedded one leaves nothing behind
        processes.callback(lambda: run_coroutine(_delete_topics(settings)))
    with console.status("  the worker starts"):
        worker = start_worker(config, folder, processes, environment)
        run_coroutine(wait_until_ready(settings, worker, folder))
    console.print(f"  {len(decisions):,} events in, results and fallback out")
    events = {str(row): orjson.dumps({"id": name, "input": [row]}) for row, name in enumerate(given.ids.tolist())}
    outcomes, seconds = run_coroutine(stream(settings, events, worker, (from_result, from_fallback), console))
    if worker.returncode:
        log = (folder / "worker.log").read_text(errors="replace").splitlines()[-15:]
        raise ProcessError("\n".join([f"the worker ended with status {worker.returncode}. The end of its log:", *log]))
    meter = run_coroutine(read_meter(url))
    bill = Bill(int(meter["calls"]), int(meter["refused"]), meter["cost"])
    return make_report(decisions, given.ids.tolist(), outcomes, bill, seconds)


def _start_broker(console: Console, processes: ExitStack) -> str:
    broker = Broker()
    processes.callback(broker.stop)
    try:
        broker.start(lambda told: console.print(f"  {told}"))
    except BrokerError as error:
        raise ProcessError(str(error)) from error
    console.print(f"  Apache Kafka listens on {broker.bootstrap_servers}")
    return broker.bootstrap_servers


async def _delete_topics(settings: Settings) -> None:
    admin = AIOKafkaAdminClient(**connection(settings.kafka).options())
    await admin.start()
    try:
        await admin.delete_topics([getattr(settings.topics, role) for role in _ROLES])
    finally:
        await admin.close()


def _server_options(conditions: Conditions) -> dict[str, object]:
    return {
        "--model": f"{recorded.__name__}:remote",
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
        "topics": {"partitions": min(4, conditions.in_flight)},  # each may have a call under way
        "local": {"model": f"{recorded.__name__}:local", "output": "scored"},
        "remote": {
            "url": url,
            "model": _MODEL,
            "datatype": "INT64",
            "output": "scored",
            "output_name": recorded.PREDICTION,
            "score_output": recorded.SCORE,
            "batch_size": 1,  # a call is an input, which makes the bill easy to read
            "batch_wait_ms": 0,
            "in_flight": conditions.in_flight,
            "tries": 1000,  # a limit costs time in a rehearsal, never an answer
            "deadline_s": 3600.0,
            "price_per_call": conditions.price,
        },
    }
    for table, keys in rule.settings().items():
        tables.setdefault(table, {}).update(keys)
    return tables


def to_toml(tables: Mapping[str, Mapping[str, Any]], *, name: str) -> str:
    """The settings as TOML; topics are called after `name`. JSON's strings, numbers and lists are TOML's too."""
    topics = {role: f"{name}-{role}" for role in _ROLES}
    lines = [f"name = {json.dumps(name)}"]
    for table, keys in {**tables, "topics": topics | dict(tables.get("topics", {}))}.items():
        lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def from_result(record: Any) -> Outcome:  # noqa: ANN401  # aiokafka has no types
    """An outcome from a record of `results`."""
    result = decode_result(record.value)
    return Outcome(record.key.decode(), result.answered_by, result.prediction, result.score, cost=result.cost)


def from_fallback(record: Any) -> Outcome:  # noqa: ANN401  # aiokafka has no types
    """An outcome from a record of `fallback`, with the answer that was rejected."""
    facts = decode_facts(record)
    judged = facts.remote
    if judged is None:
        return Outcome(record.key.decode(), None, reason=facts.reason)
    return Outcome(record.key.decode(), None, judged.prediction, judged.score, facts.reason, judged.cost)


def run_rehearsal(given: Recorded, rule: Rule, conditions: Conditions, *, as_document: bool, out: Path | None) -> int:
    """The command: rehearse, print, write. Returns 1 where the pipeline decided otherwise, lost or repeated."""
    told = progress_console()
    told.print(f"  {given.taken}", markup=False, soft_wrap=True)
    report = rehearse(given, rule, conditions, told)
    document = as_json(report) | {"settings": rule.settings(), "taken": str(given.taken)}
    tell(document, [as_table(report)], report.first_mismatches, as_json=as_document)
    if out is not None:  # last: what took minutes is on the screen, should the file not be writable
        with writing(out):
            out.write_text(as_text(document) + "\n")
    return 0 if report.sound else 1
