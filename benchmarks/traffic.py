"""Requests for a worker that runs all agents, of which a fifth goes to the remote, and the count of their outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from bisupervised.schemas.codec import decode_facts, decode_result
from bisupervised.schemas.records import Source
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.topics.reading import read_all
from numpy.typing import NDArray

#: one of so many requests is doubtful
DOUBTFUL_ONE_IN = 5


class EchoModel:
    """A model that takes no time: its answers are its inputs, which are probabilities."""

    def __call__(self, inputs: Sequence[Any]) -> NDArray[np.float64]:
        """Probabilities of two classes."""
        return np.asarray(inputs, dtype=np.float64)


#: the table `[local]` with which one in `DOUBTFUL_ONE_IN` requests of `mixed` goes to the remote
LOCAL = {"model": "benchmarks.traffic:EchoModel", "threshold": 0.8}


def mixed(count: int, padding: int = 0) -> Iterator[bytes]:
    """Requests for `EchoModel`, each with so many bytes of text that nobody reads."""
    for number in range(count):
        sure = 0.95 if number % DOUBTFUL_ONE_IN else 0.5
        yield orjson.dumps({"id": number, "input": [1 - sure, sure], "text": "x" * padding})


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The numbers of inputs and of outcomes."""

    inputs: int
    records: int  #: of results and fallback, committed
    sources: int  #: different inputs that they belong to

    @property
    def exact(self) -> bool:
        """Whether each input has exactly one outcome."""
        return self.inputs == self.records == self.sources


async def outcomes(settings: Settings, inputs: int) -> Outcomes:
    """Count the outcomes: read results and fallback to their ends, as a downstream service would."""
    seen = set[tuple[int, int]]()
    records = 0

    def take(source: Source) -> None:
        nonlocal records
        records += 1
        seen.add((source.partition, source.offset))

    await read_all(settings, settings.topics.results, lambda record: take(decode_result(record.value).source))
    await read_all(settings, settings.topics.fallback, lambda record: take(decode_facts(record).source))
    return Outcomes(inputs, records, len(seen))
