"""What goes through a worker that runs all its agents, and what became of it: a fifth is for the remote."""

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


class Told:
    """A model that costs nothing: its inputs are the probabilities that it answers with."""

    def __call__(self, inputs: Sequence[Any]) -> NDArray[np.float64]:
        """Probabilities of two classes."""
        return np.asarray(inputs, dtype=np.float64)


#: the table `[local]` under which one in `DOUBTFUL_ONE_IN` of `mixed` goes to the remote
LOCAL = {"model": "benchmarks.traffic:Told", "threshold": 0.8}


def mixed(count: int, padding: int = 0) -> Iterator[bytes]:
    """Requests for `Told`, with so many bytes of text that nobody reads."""
    for number in range(count):
        sure = 0.95 if number % DOUBTFUL_ONE_IN else 0.5
        yield orjson.dumps({"id": number, "input": [1 - sure, sure], "text": "x" * padding})


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How inputs and outcomes compare."""

    inputs: int
    records: int  #: of results and fallback, committed
    sources: int  #: different inputs that they belong to

    @property
    def exact(self) -> bool:
        """Each input has its one outcome."""
        return self.inputs == self.records == self.sources


async def outcomes(settings: Settings, inputs: int) -> Outcomes:
    """Read results and fallback to their ends, as a downstream service would."""
    seen = set[tuple[int, int]]()
    records = 0

    def take(source: Source) -> None:
        nonlocal records
        records += 1
        seen.add((source.partition, source.offset))

    await read_all(settings, settings.topics.results, lambda record: take(decode_result(record.value).source))
    await read_all(settings, settings.topics.fallback, lambda record: take(decode_facts(record).source))
    return Outcomes(inputs, records, len(seen))
