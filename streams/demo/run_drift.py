"""The drift example: digits get worse half way, and three ways to set thresholds go through it beside each other.

The models, their scores, the draw, the alarm and the ladder are those of a running system; the requests pass through
them in this process, without Kafka, so that three systems see the very same ones in seconds.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ...agents.auditing.draw import Draw
from ...agents.auditing.ladder import Ladder, Stay
from ...agents.auditing.rungs import AtRungs
from .digits import load_split, make_models
from .drift import DELTA, PHASES, PROMISE, calibrated, course, seen_at, taken_in_at
from .drift_report import Way, as_table, draw, figures
from .errors import DemoError
from .pipeline import PRICE

#: share of the requests that is audited, and shadowed
SHARE = 0.4
#: requests that come while the labeller decides about a right answer; about a wrong one three times as many
DELAY = 60
_NEEDED = {"sklearn": "scikit-learn", "torch": "torch", "matplotlib": "matplotlib"}


def run_drift(out: Path, *, seed: int) -> int:
    """Run the example, and write `drift.json` and `drift.png` below `out`. Raises `DemoError`."""
    missing = sorted(package for module, package in _NEEDED.items() if find_spec(module) is None)
    if missing:
        raise DemoError(f"the demo needs {', '.join(missing)}: pip install 'bisupervised[demo,plot]'")
    console, folder = Console(highlight=False), out / "demo"
    console.print("[bold]1[/] Two models, and a ladder of thresholds")
    split = load_split(seed)
    models, _ = make_models(folder, split, seed)
    made, start = calibrated(models, split.held_out, seed)
    console.print(f"  {len(made.rungs)} rungs, begun at rung {start + 1}: at most {PROMISE:.0%} wrong, delta {DELTA:g}")
    console.print(f"[bold]2[/] {sum(phase.requests for phase in PHASES):,} requests; half way the pictures get worse")
    requests = course(models, split.calibration, PHASES, seed)
    at = seen_at(made, requests.answers)
    ways = three_ways(made, start, at, drawn_of(len(requests), seed))
    names = [phase.name for phase in PHASES]
    found = [figures(way, at, requests.phase, names, PRICE) for way in ways]
    out.mkdir(parents=True, exist_ok=True)
    document = {"seed": seed, "promise": PROMISE, "share": SHARE, "ways": [asdict(one) for one in found]}
    (out / "drift.json").write_text(json.dumps(document, indent=2) + "\n")
    draw(out / "drift.png", ways, at, requests.phase, names, PROMISE)
    console.print(as_table(found, PROMISE))
    console.print(f"The picture: {out / 'drift.png'}. The same as JSON: {out / 'drift.json'}")
    return 0


def drawn_of(count: int, seed: int) -> NDArray[np.intp]:
    """The requests that are drawn, in order."""
    draw_of = Draw(SHARE, f"the example's secret, {seed}".encode(), "drift")
    drawn = draw_of.drawn("requests", 0, 0, count - 1)
    return np.array(sorted(number for number in drawn if number < count), dtype=np.intp)


def three_ways(made: Ladder, start: int, at: AtRungs, drawn: NDArray[np.intp]) -> list[Way]:
    """Fixed thresholds; the same with an audit that tells; and with one that tightens."""
    count = len(at.counts)
    fixed = np.full(count, start, dtype=np.intp)
    return [
        Way("fixed", fixed),
        _audited("told", made, start, at, drawn, moves=False),
        _audited("tightened", made, start, at, drawn, moves=True),
    ]


def _audited(name: str, made: Ladder, start: int, at: AtRungs, drawn: NDArray[np.intp], *, moves: bool) -> Way:
    rung, alarms = np.full(len(at.counts), start, dtype=np.intp), []
    state = made.start(start)
    for number, when in zip(drawn, taken_in_at(drawn, at.wrong[drawn, start], DELAY), strict=True):
        if when >= len(rung):
            break
        before = int(state.taken)
        state, decision = made.after(state, at[np.array(number)])
        if int(state.taken) <= before:  # evidence began anew
            alarms.append(int(when))
        if moves and not isinstance(decision, Stay):
            state = made.moved(state, decision.to)
            rung[when:] = decision.to
    shadows = int((~at.deferred[drawn, rung[drawn]]).sum()) if moves else 0
    return Way(name, rung, tuple(alarms), len(drawn), shadows)
