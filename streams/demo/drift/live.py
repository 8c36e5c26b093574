"""What the page of the drift example shows: the three pipelines so far, as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..digits import LABELS
from .heard import Heard, sent_until
from .playing import Played, Stage
from .report import WINDOW, Reference, Way, figures

#: requests from one point of a line to the next
STEP = 25


@dataclass(frozen=True, slots=True)
class Scene:
    """What stays as it is while the example runs."""

    reference: Reference
    says: Mapping[str, str]  #: by system, in a sentence, what it does about a broken promise
    pages: Mapping[str, str]  #: by system, the address of its worker's page


def document(stage: Stage, scene: Scene, seconds: float) -> dict[str, Any]:
    """The example after so many seconds: all systems are shown up to the same request."""
    count = stage.ended_in_order
    edges = np.searchsorted(stage.course.phase, np.arange(len(stage.course.names) + 1)).tolist()
    return {
        "promise": scene.reference.promise,
        "rungs": scene.reference.true_error.shape[1],
        "requests": len(stage.course),
        "sent": len(stage.sent_ms),
        "ended": count,
        "finished": stage.finished,
        "seconds": round(seconds, 1),
        "step": STEP,
        "window": WINDOW,
        "phases": [
            {"name": name, "begin": edges[number], "end": edges[number + 1]}
            for number, name in enumerate(stage.course.names)
        ],
        "systems": [_system(one, stage, scene, count) for one in stage.played],
    }


def _system(one: Played, stage: Stage, scene: Scene, count: int) -> dict[str, Any]:
    name = one.heard.name
    truth = [LABELS[label] for label in stage.course.pictures.labels[:count].tolist()]
    way = one.heard.way(truth, stage.sent_ms, one.labeller.given)
    return {
        "name": name,
        "says": scene.says[name],
        "page": scene.pages[name],
        **_lines(way, count),
        "notices": _notices(one.heard, stage),
        **asdict(figures(way, scene.reference.until(count))),
    }


def _lines(way: Way, count: int) -> dict[str, Any]:
    """One point after each `STEP` requests, and what is so now."""
    error = np.round(way.error_over_time(), 4)
    at = np.arange(STEP - 1, count, STEP)
    return {
        "error": error[at].tolist(),
        "rung": way.rung[at].tolist(),
        "error_now": float(error[-1]) if count else None,
        "rung_now": int(way.rung[-1]) if count else None,
    }


def _notices(heard: Heard, stage: Stage) -> list[dict[str, Any]]:
    """In their order; `at`: the last request that was sent by then."""
    return [
        {"at": sent_until(stage.sent_ms, notice.at_ms), "kind": notice.kind, "text": notice.text}
        for notice in sorted(heard.notices, key=lambda notice: notice.at_ms)
    ]
