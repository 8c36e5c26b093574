"""What a replay does with each record of the fallback topic, and what it keeps about its progress. No I/O.

A replayed record is a new request. It loses the header `bisupervised`, which holds what the former pass found out, and
gets the header `bisupervised-replay`, which says where it comes from and how often it was replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from ...schemas.audits import replay_mark
from ...schemas.codec import OUR_HEADERS, facts_of, header, replayed, request_ms, requested_ms
from ...schemas.errors import BiSupervisedError
from ...schemas.records import REASON_HEADER, REPLAY_HEADER, Incoming, Replayed, Source
from .job import Send

#: times that one record may be replayed, by default
LOOPS = 3
_VERSION = 1

Choice = Literal["replayed", "not_chosen", "over_loops"]


class ReplayOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """The options of a replay. They are kept with the job, so that a later run does the same."""

    to: str  #: topic that records are sent to
    reasons: tuple[str, ...] = ()  #: only records of these reasons; () takes all
    since: str = ""  #: as the user typed it
    since_ms: int = 0  #: requests of this time or later, milliseconds since epoch
    limit: int | None = None  #: records to replay at most
    loops: int = LOOPS  #: times one record may be replayed


class Counts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the records so far."""

    replayed: int = 0
    not_chosen: int = 0  #: of another reason, or older
    over_loops: int = 0  #: replayed as often as allowed already
    gone: int = 0  #: the value was too large for the fallback record, and is no longer at the source
    another: int = 0  #: the same, and another request lies at the source, whose topic was made anew
    refused: int = 0  #: by the broker, most of them as too large for the topic with the replay header
    deleted: int = 0  #: offsets of the snapshot that retention deleted before they were read
    aged: int = 0  #: replayed with the time of now: with the request's the target topic might delete them unread

    def plus(self, other: Counts) -> Counts:
        """The sum, field by field."""
        names = self.__struct_fields__
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})


class Mark(msgspec.Struct, frozen=True):
    """The metadata that is committed with the offset of one partition."""

    end: int  #: end of the snapshot: records from this offset on do not belong to the job
    topic_id: str  #: id of the fallback topic
    options: ReplayOptions = msgspec.field(name="wish")  #: under the name that it always had in commits
    counts: Counts = Counts()  #: of this partition
    v: int = _VERSION


class ReplayError(BiSupervisedError):
    """This replay cannot be run. The message says why, and what to do."""


_decoder = msgspec.json.Decoder(Mark)


def encode_mark(mark: Mark) -> str:
    """The mark as text, for a commit."""
    return msgspec.json.encode(mark).decode()


def decode_mark(metadata: str, name: str) -> Mark:
    """The mark in a commit. Raises `ReplayError` where something else wrote the commit."""
    try:
        mark = _decoder.decode(metadata)
    except msgspec.DecodeError as error:
        raise ReplayError(
            f"the group of replay {name!r} holds offsets that no replay wrote: take another name"
        ) from error
    if mark.v != _VERSION:
        raise ReplayError(f"replay {name!r} was begun by another version of this program: finish it with that one")
    return mark


def former_loops(record: Incoming) -> int:
    """How often this record was replayed before; 0 where the header is unreadable, for then it is not ours."""
    former = replayed(record)
    return 0 if former is None else max(0, former.loop)


def choose(record: Incoming, options: ReplayOptions) -> Choice:
    """Whether the job replays a record of the fallback topic."""
    reason = (header(record.headers, REASON_HEADER) or b"").decode(errors="replace")
    if options.reasons and reason not in options.reasons:
        return "not_chosen"
    if options.since_ms and requested_ms(record, facts_of(record)) < options.since_ms:
        return "not_chosen"
    return "over_loops" if former_loops(record) >= options.loops else "replayed"


def again(
    fallen: Incoming,
    original: Incoming,
    options: ReplayOptions,
    job: str,
    targets: int,
    audit_secret: bytes | None = None,
) -> Send:
    """The request to send: key, value and headers of `original`, and the replay header, which also says when it was
    requested: whoever sends it may have to give it a younger timestamp.

    `original` is the fallback record itself, or the request at its source where the fallback record has no value.
    `targets`: number of partitions of the topic it is sent to. `audit_secret`: that of `[audit]`, where there is one,
    by which workers know that it is no new request.
    """
    facts = facts_of(fallen)
    source, asked_ms = facts.source, requested_ms(fallen, facts)
    reason = (header(fallen.headers, REASON_HEADER) or b"").decode(errors="replace")
    place = Source(fallen.topic, fallen.partition, fallen.offset)
    replayed = Replayed(job, former_loops(original) + 1, source, place, reason, asked_ms)
    if audit_secret is not None:
        mark = replay_mark(audit_secret, replayed, original.key, original.value)
        replayed = msgspec.structs.replace(replayed, mark=mark)
    kept = [pair for pair in original.headers if pair[0] not in (*OUR_HEADERS, REPLAY_HEADER)]
    kept.append((REPLAY_HEADER, msgspec.json.encode(replayed)))
    # back into its own partition, so that records of one key stay together whatever partitioner the user has
    partition = source.partition if source.topic == options.to and 0 <= source.partition < targets else None
    return Send(options.to, partition, original.key, original.value, kept, asked_ms)


def is_its_request(original: Incoming, fallen: Incoming, topic_id: str) -> bool:
    """Whether what lies at the source of a fallback record without its value is the request that fell back.

    `topic_id`: of the topic of requests now. Records of version 1 do not say which topic they came from: there, and
    where a broker has no ids, the time and the length tell.
    """
    facts = facts_of(fallen)
    if facts.topic_id and topic_id:
        return facts.topic_id == topic_id
    same_time = request_ms(original) == requested_ms(fallen, facts)
    return same_time and len(original.value or b"") == facts.value_omitted


@dataclass(frozen=True, slots=True)
class Taken:
    """What one step of a replay does with one partition."""

    chosen: Sequence[Incoming]  #: to be replayed, in order
    offset: int  #: everything below it is done
    counts: Counts  #: of this step


def take(records: Iterable[Incoming], position: int, mark: Mark, room: int | None) -> Taken:
    """Choose among the next records of one partition.

    `position`: the reader's offset. `room`: replays left of the limit, None without one. Stops before the first record
    beyond the limit, and at the end of the snapshot.
    """
    chosen: list[Incoming] = []
    counted = dict.fromkeys(("replayed", "not_chosen", "over_loops"), 0)
    for record in records:
        if record.offset >= mark.end:
            break
        choice = choose(record, mark.options)
        if choice == "replayed":
            if room is not None and len(chosen) >= room:
                return Taken(chosen, record.offset, Counts(**counted))
            chosen.append(record)
        counted[choice] += 1
    return Taken(chosen, min(position, mark.end), Counts(**counted))
