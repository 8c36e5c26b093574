"""The records, as frozen typed structs: a line and a unit per field.

A request's value travels verbatim. What is learned about it on the way (`Facts`) travels in one header,
`bisupervised`, so nothing is re-encoded and a replay is byte for byte. Only `results` has a value of our own.

Those made per event are `gc=False`: they hold JSON, which has no cycles, and the collector need not walk thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec

from .errors import REASONS

#: version of `Facts` and `Result`; workers accept their own version and both neighbours
VERSION = 2

#: header that carries `Facts` on doubtful, answers and fallback records
FACTS_HEADER = "bisupervised"
#: header on fallback records that repeats the reason, for filtering without parsing
REASON_HEADER = "bisupervised-reason"
#: header on a replayed request and on its outcome: that it is one, where it comes from, how often (`Replayed`)
REPLAY_HEADER = "bisupervised-replay"
#: headers of the W3C trace context, carried through to results
TRACE_HEADERS = ("traceparent", "tracestate")

#: where an outgoing record goes: a role, which the settings map to a topic name
Route = Literal["results", "doubtful", "answers", "fallback", "audits", "shadows", "batched"]
Headers = Sequence[tuple[str, bytes]]

#: what a reason looks like; not an enumeration, for a reader takes one that a later worker has added
REASON_PATTERN = "^[a-z][a-z0-9_]*$"
#: a reason as it is read: one of `REASONS`, or one that this version does not know yet
ReadReason = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": REASON_PATTERN, "examples": list(REASONS)})]


class Incoming(Protocol):
    """What an agent sees of a consumed record. aiokafka's `ConsumerRecord` is one as it stands."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...  # milliseconds since epoch
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where a request came from: the identity to deduplicate by and to be idempotent by."""

    topic: str  #: topic the request was produced to
    partition: int  #: its partition
    offset: int  #: its offset

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What one model said and what its supervisor thought of it."""

    prediction: Any  #: the model's answer, any JSON value
    score: float | None  #: the supervisor's score; higher is more trustworthy; None when there is none
    threshold: float | None = None  #: score below this is not trusted; None before the answer was judged
    trusted: bool = False  #: score >= threshold
    supervisor: str = ""  #: name of the score, such as max_softmax
    model: str = ""  #: name and version of the model that answered
    latency_ms: float = 0.0  #: milliseconds the model took, retries included
    cost: float = 0.0  #: what this answer cost, in the currency of the settings
    calls: int = 0  #: remote calls made for it, failed ones included
    repeated: bool = False  #: calls for it may have been made before, and their answers lost: by a crash or a rebalance
    cached: bool = False  #: an equal input had been answered: nothing was asked, and nothing paid
    thresholds: str = ""  #: version of the thresholds that judged it; '' where it is that of the record


def _version() -> int:
    return VERSION


class Facts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What is known about a request so far: the header `bisupervised`, which grows on the way."""

    source: Source  #: where the request came from
    # a factory: `omit_defaults` would leave out a plain default, and no reader could tell one version from another
    v: int = msgspec.field(default_factory=_version)  #: version of this struct
    id: str | int | None = None  #: the user's own id, for correlation only
    deadline_ms: int | None = None  #: milliseconds since epoch after which no call is paid
    local: Verdict | None = None  #: what the local model said
    remote: Verdict | None = None  #: what the remote model said
    thresholds: str = ""  #: version of the thresholds that judged it
    reason: ReadReason | None = None  #: why it fell back; None on the way there; later workers may know more reasons
    detail: str | None = None  #: one line for people about the reason
    agent: str = ""  #: agent that wrote this record
    value_omitted: int | None = None  #: bytes of a value that was too large to carry; None if carried
    requested_ms: int | None = None  #: timestamp of the request, milliseconds since epoch; None before version 2
    topic_id: str = ""  #: id that the broker gave the topic of the request; "" where it is not known


class Result(msgspec.Struct, frozen=True, gc=False):
    """The value of a record in `results`: one trusted answer."""

    source: Source  #: where the request came from; deduplicate by this
    prediction: Any  #: the trusted answer, any JSON value
    answered_by: Literal["local", "remote"]  #: which model gave it
    score: float  #: score of the supervisor that trusted it
    threshold: float  #: threshold it passed: score >= threshold
    v: int = msgspec.field(default_factory=_version)  #: version of this struct
    trusted: bool = True  #: False only in a degraded mode the user switched on
    id: str | int | None = None  #: the user's own id, for correlation only
    local: Verdict | None = None  #: the local verdict where the remote answered
    supervisor: str = ""  #: name of the score
    model: str = ""  #: name and version of the model that answered
    thresholds: str = ""  #: version of the thresholds
    requested_ms: int = 0  #: timestamp of the request, milliseconds since epoch
    latency_ms: float = 0.0  #: milliseconds the answering model took, retries included
    cost: float = 0.0  #: what it cost, in the currency of the settings
    remote: Verdict | None = None  #: the remote verdict where arbitration took the local answer instead
    arbitrated: bool = False  #: the remote was paid as well, and this local answer is likelier right
    repeated: bool = False  #: the remote may have been asked and paid before, and its answer lost
    cached: bool = False  #: the remote answer is that to an equal input: nothing was paid for it


class Judged(msgspec.Struct, frozen=True, gc=False):
    """What the second supervisor compared, with a joint model: maybe neither the remote's score nor its answer's."""

    score: float | None  #: compared with the threshold; None where there was nothing to compare
    local: bool = False  #: of the local answer, which arbitration takes for the likelier one


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One record to send: the single outcome of one incoming record."""

    to: Route
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int  #: of the request, milliseconds since epoch; what is too old for its topic is sent with that of now
    about: Facts | Result | None = None  #: what is encoded in it, for those who count; not sent
    judged: Judged | None = None  #: what the second supervisor compared, with a joint model; not sent


class Replayed(msgspec.Struct, frozen=True):
    """The header `bisupervised-replay`: this request has been in the fallback topic before."""

    job: str  #: name of the replay
    loop: int  #: how often it has been replayed, this time included
    source: Source  #: where the request of the former pass came from
    fallback: Source  #: the fallback record that was replayed
    reason: str  #: why it fell back
    requested_ms: int | None = None  #: timestamp of the first request, milliseconds since epoch; None before version 2
    mark: str = ""  #: by which an audit knows that it is no new request, 32 hex digits; '' without an audit
    v: int = 1  #: version of this struct
