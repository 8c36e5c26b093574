"""Several answers to one question: their agreement is the score where a model gives no other."""

from __future__ import annotations

from collections.abc import Sequence

from ..answers import read_samples
from .protocol import Reply, Usage


def sample_keys(key: str, samples: int) -> list[str]:
    """An idempotency key per sample: under one key a server would give the first answer again."""
    return [key] if samples == 1 else [f"{key}~{number}" for number in range(1, samples + 1)]


def agreed(replies: Sequence[Reply]) -> Reply:
    """One reply from several to the same inputs: the most frequent answers, their shares, all tokens together."""
    by_input = zip(*(reply.answers for reply in replies), strict=True)
    samples = [[answer.prediction for answer in answers] for answers in by_input]
    return Reply(read_samples(samples, len(samples)), replies[0].model, _summed([reply.usage for reply in replies]))


def _summed(usages: Sequence[Usage | None]) -> Usage | None:
    known = [usage for usage in usages if usage is not None]
    return Usage(*map(sum, zip(*known, strict=True))) if known else None
