"""The records of the topic `batches`: the log of the batches that the remote is asked in.

One worker owns a partition of `batched`, and it alone writes the partition of the same number here. An entry tells the
batches that have changed as they are now, so the last word about each is what is true of it. An entry that is `whole`
tells every batch that is not over: nothing before it is needed to go on.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .decoding import decoded

#: version of the structs below
VERSION = 1

#: closed: waits for its turn; creating: the provider is asked to create it, and may have done so; running: the provider
#: has it; settling: its answers go out; ended: every input has its outcome
BatchState = Literal["closed", "creating", "running", "settling", "ended"]


def _version() -> int:
    return VERSION


class BatchCounts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the inputs of a batch, and what it has cost."""

    answered: int = 0  #: went on to be judged
    fallen: int = 0  #: went to fallback
    again: int = 0  #: go into another batch
    calls: int = 0  #: inputs that the provider answered, whatever the answer was worth
    cost: int = 0  #: billionths of the currency's unit, at the price of batches
    direct_cost: int = 0  #: the same at the price of direct calls
    prompt_tokens: int = 0  #: that the provider read
    completion_tokens: int = 0  #: that it wrote

    def plus(self, other: BatchCounts) -> BatchCounts:
        """Both together."""
        return BatchCounts(*(mine + theirs for mine, theirs in zip(_counts(self), _counts(other), strict=True)))


def _counts(told: BatchCounts) -> tuple[int, ...]:
    return msgspec.structs.astuple(told)


class BatchTold(msgspec.Struct, frozen=True, omit_defaults=True):
    """One batch, as far as it has come. It holds a range of offsets of one partition of `batched`."""

    id: str  #: ours, unique
    first: int  #: offset of its first record
    end: int  #: offset after its last one
    state: BatchState  #: how far it has come
    interface: str  #: of the provider that it is for
    records: int = 0  #: inputs that are asked about
    bytes: int = 0  #: of their requests, as the provider counts them
    tokens: int = 0  #: that they will take, roughly
    most: int = 0  #: what it can cost at most, billionths of the currency's unit
    excluded: tuple[tuple[int, int], ...] = ()  #: offsets that are not in it, from and before: they had their outcome
    late: tuple[tuple[int, int], ...] = ()  #: likewise, and asked about: their deadline had passed
    gone: tuple[tuple[int, int], ...] = ()  #: likewise: their records were deleted before they had an outcome
    deadline_ms: int | None = None  #: no input without an outcome has an earlier deadline; None: none has one
    closed_ms: int = 0  #: when it was closed, milliseconds since epoch; so are the others
    tries: int = 0  #: times that the provider was asked to create it
    creating_ms: int = 0  #: when that was begun last
    unsure: int = 0  #: times that it may have been created and was not found: it may be paid once more for each
    provider_id: str = ""  #: the provider's name of it
    found: bool = False  #: the provider's was found, and its results have yet to show that it is this one
    others: tuple[str, ...] = ()  #: the provider's names of batches that were taken for it, and are not
    created_ms: int = 0  #: when the provider created it, by its clock
    expires_ms: int | None = None  #: when what is not answered expires, by its clock
    lease: str = ""  #: id of the lease in the budget's topic that pays for it; '' without a budget
    period: str = ""  #: of that lease
    leased_money: int = 0  #: what it holds, billionths of the currency's unit
    leased_calls: int = 0  #: and calls
    settled_to: int = 0  #: offset before which every input has its outcome; 0 before any
    counts: BatchCounts = BatchCounts()  #: what became of those so far
    reason: str = ""  #: for which all that is not answered falls back, where no provider is asked any more
    why: str = ""  #: in words: what went wrong last, or why it waits
    ended_ms: int = 0  #: when the last input had its outcome
    split: int = 0  #: batches that its inputs without an outcome are in since it ended; 0: it was not split


class BulkEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a record in `batches`. Its key is the pipeline's name."""

    pipeline: str  #: name of the pipeline
    topic_id: str  #: of `batched`; '' where the broker has none
    next: int  #: offset of `batched`: all before it is in a batch
    batches: tuple[BatchTold, ...] = ()  #: those that have changed; where `whole`, all that are not over
    whole: bool = False  #: it stands for itself
    queue_tokens: int = 0  #: tokens that the provider lets wait at once, as far as it was learned; 0: not known
    batch_tokens: int = 0  #: likewise, tokens that one batch may have
    by: str = ""  #: which worker wrote it, for people
    v: int = msgspec.field(default_factory=_version)  #: version of this struct


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(BulkEntry)


def encode_bulk(entry: BulkEntry) -> bytes:
    """The value of a record of `batches`."""
    return _encoder.encode(entry)


def decode_bulk(value: bytes) -> BulkEntry:
    """The value of a record of `batches`. Raises `msgspec.DecodeError`, also for another version."""
    entry = decoded(_decoder, value)
    if entry.v != VERSION:
        raise msgspec.ValidationError(f"the entry is of version {entry.v}, and {VERSION} is read here")
    return entry
