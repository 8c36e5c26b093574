"""A fleet that tightens while it is tormented: a ladder, labels that come and go, and what must be true of versions.

Labels say for a while that answers with low scores are wrong, and then that all are right: the auditor tightens and
loosens again and again, while it is killed and frozen like any other process.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer
from bisupervised.agents.supervision.thresholds import Line, Part, Rung, Target, Thresholds, signed, write_thresholds
from bisupervised.agents.terms import Ladder
from bisupervised.schemas.closings import Closing
from bisupervised.schemas.codec import decode_facts, decode_result
from bisupervised.schemas.records import Facts, Source, Verdict
from bisupervised.streams.audit.recomputing import recompute
from bisupervised.streams.auditor.feed import Feed
from bisupervised.streams.auditor.trust import Reader
from bisupervised.streams.settings.broker import connection
from bisupervised.streams.settings.file import load_configuration
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.versions.appending import read_versions
from bisupervised.streams.versions.fold import Standing, fold

#: name of the thresholds file's own version
START = "made"
#: from lax to strict; both models are sure of an input by 0.5 to 1, evenly
RUNGS = ((0.52, 0.56), (0.54, 0.62), (0.56, 0.68), (0.58, 0.74), (0.6, 0.8))
STARTS_AT = 2  #: counted from 1
_PROMISE = 0.1
#: of so many drawn requests one after the other, those with low scores are wrong; of the next ones none is
_BAD, _GOOD = 150, 600
#: local score of those: a fifth is wrong then, of which the strictest rung rejects more than half
_WRONG_BELOW = 0.6
#: records of one batch of the local model, at most
_BATCH = 64
#: what a run must have none of
DEMANDS = (
    "two_in_a_batch",
    "not_in_the_topic",
    "other_thresholds",
    "void",
    "chosen_twice",
    "closings_missing",
    "closings_differing",
    "last_not_in_force",
    "recomputed_otherwise",
    "unlabelled",
)


def ladder_file(folder: Path) -> Path:
    """A thresholds file with rungs, as `calibrate` would have made it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "thresholds.json"
    rungs = tuple(
        Rung(*pair, 1 - pair[1], 1 - pair[1], 2 * pair[0] - 1, 0.9, certified=number == STARTS_AT)
        for number, pair in enumerate(RUNGS, start=1)
    )
    local, remote = RUNGS[STARTS_AT - 1]
    made = Thresholds(
        version=START,
        local=Line(local, "max_softmax"),
        remote=Line(remote, "max_softmax"),
        first="by hand",
        method="paper",
        target=Target("error", _PROMISE, 0.1),
        seed=0,
        parts={"report": Part(100, 0.3, 0.9, 0.95, 0.05, None)},
        made="2026-11-25T00:00:00Z",
        rungs=rungs,
    )
    write_thresholds(path, signed(made))
    return path


class Labeller:
    """Somebody who labels what is drawn, at once."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._known: set[Source] = set()
        self.unacknowledged = 0  #: votes that are not written yet
        self.quiet = False  #: he says no more

    def see(self, record: Any) -> None:  # aiokafka's ConsumerRecord has no types
        """A record of `audits`."""
        facts = decode_facts(record)
        if self.quiet or facts.source in self._known:
            return
        bad = len(self._known) % (_BAD + _GOOD) < _BAD
        self._known.add(facts.source)
        wrong = bad and facts.local is not None and (facts.local.score or 0.0) < _WRONG_BELOW
        vote = {"source": str(facts.source), "truth": int(wrong), "by": "script", "v": 1}
        self.unacknowledged += 1
        self._said.put_nowait(orjson.dumps(vote))

    async def run(self) -> None:
        """Write what was said, for ever."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers, enable_idempotence=True, linger_ms=10, request_timeout_ms=180_000
        )
        await producer.start()
        try:
            while True:
                ack = await producer.send("labels", await self._said.get())
                ack.add_done_callback(self._acknowledged)
        finally:
            await producer.stop()

    def _acknowledged(self, ack: asyncio.Future[Any]) -> None:
        ack.result()
        self.unacknowledged -= 1

    async def all_said(self, timeout_s: float) -> None:
        """Say no more, and wait until everything is written, but no longer than this."""
        self.quiet = True
        deadline = time.monotonic() + timeout_s
        while self.unacknowledged:
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.1)


class Judgement(NamedTuple):
    """What judged one answer."""

    which: str  #: local or remote
    version: str
    threshold: float | None


@dataclass
class Judgements:
    """What judged each outcome."""

    found: Counter[Judgement] = field(default_factory=Counter)
    #: by partition and by how long the local model's batch took, to the last bit: offset and version
    batches: dict[tuple[int, float], list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    version_of: dict[tuple[int, int], str] = field(default_factory=dict)  #: by place, the one that judged last
    first_of: dict[tuple[int, int], str] = field(default_factory=dict)  #: by place, the one that judged first

    def add(self, record: Any) -> None:  # aiokafka's ConsumerRecord has no types
        """One record of results or fallback."""
        if record.topic == "results":
            result = decode_result(record.value)
            if result.answered_by == "local":
                own = Verdict(result.prediction, result.score, result.threshold, latency_ms=result.latency_ms)
                self._add(result.source, result.thresholds, own, None)
            else:
                self._add(result.source, result.thresholds, result.local, result.threshold)
        else:
            facts = decode_facts(record)
            self._add(facts.source, facts.thresholds, facts.local, _second(facts))

    def _add(self, source: Source, version: str, local: Verdict | None, second: float | None) -> None:
        place = source.partition, source.offset
        self.version_of[place] = version
        self.first_of[place] = (local.thresholds if local is not None else "") or version
        if second is not None:
            self.found[Judgement("remote", version, second)] += 1
        if local is not None:
            first = local.thresholds or version
            self.found[Judgement("local", first, local.threshold)] += 1
            self.batches[source.partition, local.latency_ms].append((source.offset, first))

    def two_in_a_batch(self) -> int:
        """Batches of the local model that were judged by more than one version."""
        return sum(map(_differ, self.batches.values()))


def _second(facts: Facts) -> float | None:
    return None if facts.remote is None else facts.remote.threshold


def _differ(judged: list[tuple[int, str]]) -> bool:
    """Those far from each other are of two batches that took as long by chance."""
    return any(
        version != other and abs(offset - place) < _BATCH
        for number, (offset, version) in enumerate(judged)
        for place, other in judged[number + 1 :]
    )


async def settled(settings: Settings, timeout_s: float) -> None:
    """Wait until a closing has taken in all that is there. Raises `TimeoutError`."""
    reach = connection(settings.kafka)
    feed = Feed(reach, settings.topics.audits, settings.topics.labels)
    await feed.start()
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            ends, closings = await feed.ends(), await _closings(settings)
            if closings and closings[-1].taken == ends:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"no closing has taken in {ends}; the last one: {closings[-1:]}")
            await asyncio.sleep(1.0)
    finally:
        await feed.close()


async def lowered(config: Path, timeout_s: float) -> None:
    """Wait until no alarm raises the share of audits any more: no label is needed for that. Raises `TimeoutError`."""
    deadline = time.monotonic() + timeout_s
    while (entry := (await _standing(config)).entry) is not None and entry.raised:
        if time.monotonic() > deadline:
            raise TimeoutError(f"version {entry.version} still raises the share of audits")
        await asyncio.sleep(1.0)


async def _standing(config: Path) -> Standing:
    configuration = load_configuration(config)
    assert configuration.terms.ladder is not None
    settings = configuration.settings
    return fold(await read_versions(settings), settings.name, configuration.terms.ladder)


async def _closings(settings: Settings) -> list[Closing]:
    reader = Reader(connection(settings.kafka), settings.topics.trust, settings.name)
    await reader.start()
    try:
        begin, end = await reader.bounds()
        return [one.closing for one in await reader.read(begin, end)]
    finally:
        await reader.close()


@dataclass(frozen=True)
class Told:
    """What the topics say at the end."""

    standing: Standing
    ladder: Ladder
    closings: list[Closing]
    differing: int  #: closings that are found otherwise when all is reckoned again
    recomputed: str | None  #: version that is in force then


async def examined(
    config: Path, judgements: Judgements, probes: set[tuple[int, int]], labelled: Labeller
) -> dict[str, Any]:
    """What became of versions. `probes`: requests that came after everything."""
    configuration = load_configuration(config)
    settings, ladder = configuration.settings, configuration.terms.ladder
    assert ladder is not None
    standing = await _standing(config)
    closings, again = await _closings(settings), await recompute(settings)
    recomputed = None if again.now.ladder is None else again.now.ladder.version
    told = Told(standing, ladder, closings, len(again.differing), recomputed)
    return figures(told, judgements, probes) | {"unlabelled": labelled.unacknowledged}


def figures(told: Told, judgements: Judgements, probes: Collection[tuple[int, int]]) -> dict[str, Any]:
    """What became of versions, and what `DEMANDS` names."""
    standing, ladder, closings = told.standing, told.ladder, told.closings
    rungs = {ladder.version: ladder.start} | {entry.version: entry.rung for entry in standing.chain}
    chose = [one.ladder.chose for one in closings if one.ladder is not None and one.ladder.chose]
    last = [judgements.version_of.get(place) for place in probes]
    return {
        "in_force": standing.version,
        "chosen": len(standing.chain),
        "tightened": sum(entry.reason == "tighten" for entry in standing.chain),
        "loosened": sum(entry.reason == "loosen" for entry in standing.chain),
        "raised": sum(entry.raised for entry in standing.chain),
        "judged_by": len({one.version for one in judgements.found}),
        "batches": len(judgements.batches),
        "closings": len(closings),
        "auditors": len({one.by for one in closings}),
        "two_in_a_batch": judgements.two_in_a_batch(),
        "not_in_the_topic": sum(count for one, count in judgements.found.items() if one.version not in rungs),
        "other_thresholds": sum(
            count
            for one, count in judgements.found.items()
            if one.version in rungs and one.threshold != RUNGS[rungs[one.version] - 1][one.which == "remote"]
        ),
        "void": sum(fate == "void" for _, fate in standing.fates),
        "chosen_twice": int(chose != [entry.version for entry in standing.chain]),
        "closings_missing": int([one.number for one in closings] != list(range(1, len(closings) + 1))),
        "closings_differing": told.differing,
        "last_not_in_force": sum(version != standing.version for version in last) + (not last),
        "recomputed_otherwise": int(told.recomputed != standing.version),
    }
