"""Material for a report: recordings drawn by chance, with text in every place that wants to run."""

from __future__ import annotations

import numpy as np
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.agents.supervision.thresholds import Rung
from bisupervised.streams.report.material import Answers, Material, Pair, Promise, Scores, Usage

SCRIPT = "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
#: ends a script element, ends a comment, turns the direction of what follows, and rings
ACTING = "</script><!-- \u202egnp.exe\u0007 -->"
HOSTILE = SCRIPT + ACTING


def drawn(n: int = 400, seed: int = 0) -> Recording:
    """Scores that tell something, with equal ones among them."""
    random = np.random.default_rng(seed)
    local, remote = random.uniform(0.4, 1, n).round(3), random.beta(8, 1, n).round(4)
    return Recording(Side(local, random.uniform(0, 1, n) < local), Side(remote, random.uniform(0, 1, n) < remote))


def answers_of(recording: Recording, text: str = "an input") -> Answers:
    """Answers of two classes, to inputs that hold this text."""
    n = len(recording)
    truths = tuple(f"{text} class {at % 2}" for at in range(n))
    return Answers(
        local=recording.local.correct,
        remote=recording.remote.correct,
        ids=tuple(f"{text} {at}" for at in range(n)),
        truths=truths,
        local_said=truths,
        remote_said=truths,
        local_scores=recording.local.scores,
        remote_scores=recording.remote.scores,
        inputs=lambda ids: {identity: f"{text} number {at}" for at, identity in enumerate(ids)},
    )


def material(recording: Recording | None = None, text: str = "reviews") -> Material:
    """All that a report may tell, with this text wherever text is somebody else's."""
    unseen = recording if recording is not None else drawn()
    pairs = [Pair(float(np.quantile(unseen.local.scores, at)), 0.7 + at / 10) for at in (0.2, 0.4, 0.6)]
    return Material(
        name=text,
        facts=(f"local {text}", f"remote {text}"),
        unseen=unseen,
        chosen=pairs[1],
        refused="",
        remote_score=text,
        labels={"choose": 800, "certify": 800, "report": 400},
        promises=(Promise("error", 0.2, 0.9), Promise("false_positive_rate", 0.1, 0.9)),
        scores=Scores(
            {"max_softmax": 0.7, text: 0.6}, "max_softmax", f"chosen: {text}", learned=False, learned_reason=text
        ),
        answers=answers_of(unseen, text),
        rungs=tuple(Rung(pair.local, pair.remote, 0.1, 0.1, 0.3, 0.9, pair is pairs[1]) for pair in pairs),
        notes=(text,),
        more_labels=6000,
        usage=Usage(0.002, 1_000_000, 0.042, 0.61),
        toml=f'[thresholds]\nfile = "{text}"\n',
    )
