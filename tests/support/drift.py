"""Three made-up pipelines of the drift example, half way through."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from bisupervised.streams.demo.digits import Digits
from bisupervised.streams.demo.drift.heard import Ended, Heard, Notice
from bisupervised.streams.demo.drift.live import Scene
from bisupervised.streams.demo.drift.pictures import Course
from bisupervised.streams.demo.drift.playing import Labeller, Played, Stage
from bisupervised.streams.demo.drift.report import Reference

NAMES = ("before", "worse", "well again")
PHASE = np.repeat([0, 1, 2], [300, 600, 300])
#: of three rungs in each phase
TRUE = np.array([[0.1, 0.05, 0.01], [0.3, 0.2, 0.1], [0.1, 0.05, 0.01]])
REFERENCE = Reference(PHASE, NAMES, 0.1, TRUE)
SYSTEMS = ("fixed", "told", "tightened")
SCENE = Scene(
    REFERENCE,
    {name: f"{name}: what it does about a promise that is broken." for name in SYSTEMS},
    {name: f"http://127.0.0.1:1/{name}" for name in SYSTEMS},
)
NOTICES = {
    "fixed": [],
    "told": [Notice(400, "alarm", "the promise is broken"), Notice(600, "alarm", "the promise is broken")],
    "tightened": [Notice(420, "alarm", "the promise is broken"), Notice(430, "tighten", "tightens to rung 3: doubt")],
}


def made_stage(count: int) -> Stage:
    """So many of 1,200 requests have ended, one a millisecond; every fifth is wrong where inputs are worse."""
    digits = Digits(np.zeros((len(PHASE), 64), np.float32), np.ones(len(PHASE), np.intp))
    no_settings: Any = SimpleNamespace()
    played = [Played(no_settings, _heard(name, count), Labeller(())) for name in SYSTEMS]
    return Stage(played, Course(digits, PHASE, NAMES), sent_ms=[float(number) for number in range(count)])


def _heard(name: str, count: int) -> Heard:
    heard = Heard(name, lambda _: None, rungs={"made": 2, "next": 3}, notices=list(NOTICES[name]))
    for number in range(count):
        tightened = name == "tightened" and number > 430
        wrong = PHASE[number] == 1 and number % (20 if tightened else 5) == 0
        version, by = ("next", "remote") if tightened else ("made", "local")
        heard.ended[number] = Ended(version, by, "2" if wrong else "1", 0.002 if tightened else 0.0)
    return heard
