"""One row of a recording: what both models said about an input, or why one of them did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import orjson

from ...agents.answers import Answer, Details
from ...agents.supervision.learned.deferral import length_of
from ...schemas.records import Facts, Outgoing
from .labelled import LabelledRecord

#: longest account of a failure that a row carries, characters
_DETAIL_CHARS = 300


@dataclass(frozen=True, slots=True)
class ScoreNames:
    """What the scores of the configuration are called."""

    local: str
    remote: str


@dataclass(frozen=True, slots=True)
class LocalSaid:
    """What came of asking the local model."""

    answer: Answer | Exception
    model: str
    latency_s: float  #: the input's share of the time that its batch took


@dataclass(frozen=True, slots=True)
class RemoteSaid:
    """What came of asking the remote."""

    prediction: Any = None  #: any JSON value
    score: float | None = None
    model: str = ""
    latency_s: float | None = None
    cost: float = 0.0
    details: Details | None = None
    error: str | None = None  #: reason code
    detail: str | None = None

    @classmethod
    def of(cls, outcome: Outgoing, details: Details | None) -> Self:
        """Of what the remote agent made of the record."""
        facts = outcome.about
        if not isinstance(facts, Facts):
            raise TypeError(f"the remote agent writes answers and fallbacks, not {outcome.to}")
        verdict = facts.remote
        if facts.reason is not None:
            cost = 0.0 if verdict is None else verdict.cost
            return cls(cost=cost, error=facts.reason, detail=facts.detail)
        if verdict is None:
            raise TypeError("an answer has a verdict")
        seconds = verdict.latency_ms / 1000.0
        detail = facts.detail  # why there is no score, where there is none
        return cls(verdict.prediction, verdict.score, verdict.model, seconds, verdict.cost, details, detail=detail)


def row_of(one: LabelledRecord, local: LocalSaid, remote: RemoteSaid | None, names: ScoreNames) -> dict[str, Any]:
    """The row. Every row has every key: readers look at the first one. `remote`: None where it was not asked."""
    answer, failed = _plain(local.answer)
    said = remote or RemoteSaid()
    other = Answer(said.prediction, said.score, details=said.details) if remote and said.error is None else None
    pair = answer is not None and answer.score is not None and said.score is not None
    row: dict[str, Any] = {
        "id": one.row.id,
        "row": one.row.number,
        "pair": pair,
        "truth": one.row.truth,
        "length": length_of(one.input),
        "cost": said.cost,
    }
    row |= _side("local", answer, names.local)
    row |= {
        "local_features": None if answer is None or answer.details is None else answer.details.features,
        "local_latency_s": None if answer is None else local.latency_s,
        "local_model": local.model,
        "local_error": None if failed is None else "model_error",
        "local_detail": failed,
    }
    row |= _side("remote", other, names.remote)
    return row | {
        "remote_latency_s": said.latency_s,
        "remote_model": said.model or None,
        "remote_error": said.error,
        "remote_detail": said.detail,
    }


def _side(side: str, answer: Answer | None, name: str) -> dict[str, Any]:
    prediction, score = (None, None) if answer is None else (answer.prediction, answer.score)
    details = Details() if answer is None or answer.details is None else answer.details
    return {
        f"{side}_prediction": prediction,
        f"{side}_score": score,
        f"{side}_scores": details.scores or ({} if score is None else {name: score}),
        f"{side}_probabilities": details.probabilities,
        f"{side}_labels": details.labels,
    }


def _plain(answer: Answer | Exception) -> tuple[Answer | None, str | None]:
    """The answer, or why there is none: an answer that JSON does not know is none."""
    if isinstance(answer, Exception):
        return None, repr(answer)[:_DETAIL_CHARS]
    try:
        orjson.dumps(answer.prediction)
    except TypeError as error:
        return None, f"the answer is no JSON: {error}"[:_DETAIL_CHARS]
    return answer, None
