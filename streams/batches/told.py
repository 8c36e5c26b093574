"""What the log of the batches tells people: the last word about each batch, and how one came about. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from rich.table import Table

from ...schemas.budget import NANO
from ...schemas.bulk import BatchCounts, BatchTold, BulkEntry
from ..console.output import counted

_OVER = "ended"
_NUMBERS = ("inputs", "answered", "fell back", "again", "cost", "age")


class Word(NamedTuple):
    """What an entry says of a batch."""

    batch: BatchTold
    partition: int
    at_ms: int  #: milliseconds since epoch
    by: str  #: which worker says so
    topic_id: str


class BatchLog:
    """Takes the entries of all partitions, those of each in their order."""

    def __init__(self) -> None:
        self.words: dict[str, Word] = {}  #: by the batch's id, the last one about each
        self.history: dict[str, list[Word]] = {}  #: all of them
        self.queue_tokens: dict[int, int] = {}  #: by partition, what its owner has learned; 0: nothing
        self.batch_tokens: dict[int, int] = {}  #: likewise

    def take(self, partition: int, at_ms: int, entry: BulkEntry) -> None:
        """The next entry of a partition."""
        told = {batch.id for batch in entry.batches}
        gone = [name for name, word in self.words.items() if _is_gone(word, partition, entry) and name not in told]
        for name in gone:
            del self.words[name]
        for batch in entry.batches:
            word = Word(batch, partition, at_ms, entry.by, entry.topic_id)
            self.words[batch.id] = word
            self.history.setdefault(batch.id, []).append(word)
        self.queue_tokens[partition] = entry.queue_tokens
        self.batch_tokens[partition] = entry.batch_tokens

    def find(self, name: str) -> Word | None:
        """The last word about the batch of this id, ours or the provider's; None where there is no such batch."""
        by_provider = (word for word in self.words.values() if name and word.batch.provider_id == name)
        return self.words.get(name) or next(by_provider, None)

    def latest(self, over: int) -> list[Word]:
        """All that are not over, and the last `over` ones that are, the oldest first."""
        words = sorted(self.words.values(), key=lambda word: (word.batch.closed_ms, word.batch.id))
        ended = [word for word in words if word.batch.state == _OVER]
        dropped = {word.batch.id for word in ended[: max(0, len(ended) - over)]}
        return [word for word in words if word.batch.id not in dropped]


def _is_gone(word: Word, partition: int, entry: BulkEntry) -> bool:
    """It was of a topic that was made anew, or an entry that tells all that are not over does not know it."""
    if word.partition != partition or word.batch.state == _OVER:
        return False
    return word.topic_id != entry.topic_id or entry.whole


def document(word: Word) -> dict[str, Any]:
    """A batch for scripts. Money is in the currency of the settings."""
    batch = word.batch
    told: dict[str, Any] = msgspec.to_builtins(batch)
    return {
        **{name: told.get(name, field) for name, field in _defaults().items()},
        "partition": word.partition,
        "most": batch.most / NANO,
        "leased_money": batch.leased_money / NANO,
        "counts": _counts(batch.counts),
        "at_ms": word.at_ms,
        "by": word.by,
    }


def _defaults() -> dict[str, Any]:
    empty = BatchTold("", 0, 0, "closed", "")
    return {name: msgspec.to_builtins(getattr(empty, name)) for name in BatchTold.__struct_fields__}


def _counts(counts: BatchCounts) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.structs.asdict(counts)
    return told | {"cost": counts.cost / NANO, "direct_cost": counts.direct_cost / NANO}


def table(words: Sequence[Word], now_ms: float) -> Table:
    """A row for each batch."""
    made = Table(title="Batches", title_justify="left")
    why = ("why",) * any(word.batch.why for word in words)
    for name in ("batch", "state", *_NUMBERS, "at the provider", *why):
        made.add_column(name, overflow="fold", justify="right" if name in _NUMBERS else "left", no_wrap=name == "batch")
    for word in words:
        batch, counts = word.batch, word.batch.counts
        made.add_row(
            batch.id,
            _state(batch),
            f"{batch.records:,}",
            f"{counts.answered:,}",
            f"{counts.fallen:,}",
            f"{counts.again:,}",
            f"{counts.cost / NANO:,.4g}",
            _age(batch, now_ms),
            batch.provider_id,
            *([batch.why] if why else []),
        )
    return made


def _state(batch: BatchTold) -> str:
    return "split" if batch.split else batch.state


def _age(batch: BatchTold, now_ms: float) -> str:
    """From when it was closed until it was over, or until now."""
    until = batch.ended_ms or now_ms
    return span((until - batch.closed_ms) / 1000.0) if batch.closed_ms else ""


def span(seconds: float) -> str:
    """A time as people say it: 42 s, 12 min, 5.3 h."""
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def notes(log: BatchLog, now_ms: float, late_s: float) -> list[str]:
    """What all batches come to, in lines."""
    words = [word.batch for word in log.words.values()]
    under_way = [batch for batch in words if batch.state != _OVER]
    over = sum(batch.state == _OVER and not batch.split for batch in words)
    counts = sum_of([batch.counts for batch in words])
    told = [
        f"{counted(len(under_way), 'batch') if len(under_way) == 1 else f'{len(under_way):,} batches'} under way with "
        f"{counted(sum(batch.records for batch in under_way), 'input')}; {over:,} over",
        f"{counts.answered:,} answered, {counts.fallen:,} fell back, {counts.again:,} went into another batch",
        f"cost {counts.cost / NANO:,.4f}; direct calls would have cost {counts.direct_cost / NANO:,.4f}",
    ]
    late = sum(now_ms - batch.closed_ms > late_s * 1000 for batch in under_way)
    unsure = sum(batch.unsure for batch in words)
    queue = max(log.queue_tokens.values(), default=0)
    most = max(log.batch_tokens.values(), default=0)
    told += [f"{late:,} late: closed more than {span(late_s)} ago"] * bool(late)
    told += [f"{unsure:,} may have been paid twice: see docs/batches.md"] * bool(unsure)
    told += [f"the provider lets about {queue:,} tokens wait at once, as was learned"] * bool(queue)
    return told + [f"one batch holds about {most:,} tokens at most, as was learned"] * bool(most)


def sum_of(counts: Sequence[BatchCounts]) -> BatchCounts:
    """All together."""
    total = BatchCounts()
    for one in counts:
        total = total.plus(one)
    return total


def sheet(word: Word, now_ms: float) -> Table:
    """All about one batch."""
    batch, counts = word.batch, word.batch.counts
    made = Table(title=f"Batch {batch.id}", title_justify="left", show_header=False)
    made.add_column()
    made.add_column(overflow="fold")
    rows = [
        ("state", f"split into {batch.split}: its inputs are in batches of their own" if batch.split else batch.state),
        ("inputs", f"{batch.records:,}: offsets {batch.first} to {batch.end - 1} of partition {word.partition}"),
        ("left out", ", ".join(f"{first} to {end - 1}" for first, end in batch.excluded)),
        ("gone", ", ".join(f"{first} to {end - 1}" for first, end in batch.gone)),
        ("size", f"{batch.bytes:,} bytes, about {batch.tokens:,} tokens"),
        ("interface", batch.interface),
        ("at the provider", batch.provider_id),
        ("taken for it before", ", ".join(batch.others)),
        ("closed", at(batch.closed_ms)),
        ("created", f"{at(batch.created_ms)}, at try {batch.tries}" if batch.created_ms else ""),
        ("expires", at(batch.expires_ms or 0)),
        ("over", at(batch.ended_ms)),
        ("age", _age(batch, now_ms)),
        ("outcomes", f"{counts.answered:,} answered, {counts.fallen:,} fell back, {counts.again:,} into another batch"),
        ("tokens used", f"{counts.prompt_tokens:,} read, {counts.completion_tokens:,} written"),
        ("cost", f"{counts.cost / NANO:,.6g}, at most {batch.most / NANO:,.6g}"),
        ("by direct calls", f"{counts.direct_cost / NANO:,.6g}"),
        ("may be paid twice", str(batch.unsure or "")),
        ("why", batch.why),
    ]
    for name, said in rows:
        if said:
            made.add_row(name, said)
    return made


def story(words: Sequence[Word]) -> Table:
    """What was said of a batch, one line a change."""
    made = Table(title="What was said of it", title_justify="left")
    for name in ("at (UTC)", "state", "settled to", "at the provider", "by", "why"):
        made.add_column(name, overflow="fold")
    for word in words:
        batch = word.batch
        settled = str(batch.settled_to or "")
        made.add_row(at(word.at_ms), _state(batch), settled, batch.provider_id, word.by, batch.why)
    return made


def at(ms: int) -> str:
    """A time in UTC; '' for none."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S") if ms else ""
