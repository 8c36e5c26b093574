"""The one codec. Our own structs go through msgspec, other people's JSON through orjson."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec
import orjson

from .decoding import decoded
from .encodings import NotText, json_of, verbatim
from .errors import InvalidRequest, Reason
from .field_paths import Steps, find, is_plain, path_of, steps_of
from .records import (
    FACTS_HEADER,
    REASON_HEADER,
    REPLAY_HEADER,
    TRACE_HEADERS,
    VERSION,
    Facts,
    Headers,
    Incoming,
    Outgoing,
    Replayed,
    Result,
    Route,
    Source,
)


class _Versioned(msgspec.Struct, gc=False):
    """As much of `Facts` as can be read of any version."""

    v: int = VERSION


_encoder = msgspec.json.Encoder()
_facts_decoder = msgspec.json.Decoder(Facts)
_result_decoder = msgspec.json.Decoder(Result)
_version_decoder = msgspec.json.Decoder(_Versioned)
_replayed_decoder = msgspec.json.Decoder(Replayed)

#: longest `detail` carried in a header, characters
DETAIL_CHARS = 300
#: bytes of the longest trace header that a record without its value still carries
_TRACE_BYTES = 1024
#: bytes of the longest replay header that a record without its value still carries
_REPLAY_BYTES = 2048
_ID_TYPES = (str, int)
#: the largest number that every reader of JSON takes for the same
_LATEST_MS = 2**53
#: where change events (Debezium) and CloudEvents carry what they are about
_ENVELOPES = (("payload", "after"), ("after",), ("payload",), ("data",), ("value",))
#: fields that a message names of an object in which one is missing
_NAMES_TOLD = 8
#: headers that a pass writes on its records; those of a former pass go
OUR_HEADERS = (FACTS_HEADER, REASON_HEADER)
#: headers of a request that its result carries, too
_CARRIED = (*TRACE_HEADERS, REPLAY_HEADER)


class EventReader(Protocol):
    """What makes a document of bytes that are no JSON."""

    waits_for: str  #: why records wait for a schema; '' where none do

    def wait(self) -> tuple[int, float] | None:
        """Records that wait for a schema, and for how many seconds already; None for a format without schemas."""

    def read(self, value: bytes) -> Any:  # noqa: ANN401  # what the format says
        """The document. Raises `InvalidRequest`."""

    async def ready(self, values: Iterable[bytes]) -> None:
        """All of them can be read, or are known to be unreadable. It may take as long as a registry is down."""


@dataclass(frozen=True, slots=True)
class RequestFormat:
    """Which parts of a request's JSON value mean what. Names are fields, or ways to them (`field_paths`); '' for none.

    Raises `ValueError` for what is no name.
    """

    input: str = "input"  #: field with the model's input; '' takes the whole value
    id: str = "id"  #: field with the user's id
    deadline_ms: str = "deadline_ms"  #: field with the deadline, milliseconds since epoch
    deadline_header: str = "bisupervised-deadline-ms"  #: header with the same, which wins
    id_header: str = ""  #: header with the user's id, which wins over the field
    reader: EventReader | None = field(default=None, repr=False)  #: of bytes that are no JSON; None where they are
    #: the ways to input, id and deadline; made here, once
    ways: tuple[Steps, Steps, Steps] = field(init=False, repr=False, compare=False)
    #: one of them is no top-level field, or the bytes are no JSON
    special: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = (self.input, self.id, self.deadline_ms)
        inputs, identity, deadline = map(steps_of, names)
        special = self.reader is not None or not all(map(is_plain, names))
        object.__setattr__(self, "ways", (inputs, identity, deadline))  # frozen
        object.__setattr__(self, "special", special)

    @property
    def trouble(self) -> str:
        """Why records wait for their schema; '' where none do."""
        if self.reader is None or not self.reader.waits_for:
            return ""
        _, seconds = self.reader.wait() or (0, 0.0)
        return f"records wait for {self.reader.waits_for} (for {seconds:.0f} s)"

    async def ready(self, records: Iterable[Incoming]) -> None:
        """`decode_request` can read all of these, or knows that it cannot. It waits while a schema registry is down."""
        if self.reader is not None:
            await self.reader.ready([record.value for record in records if record.value is not None])


class Request(msgspec.Struct, frozen=True, gc=False):
    """A parsed request. One is made per event."""

    document: Any  #: the whole JSON value
    input: Any  #: the part that is the model's input
    id: str | int | None  #: the user's id
    deadline_ms: int | None  #: milliseconds since epoch


def source_of(record: Incoming) -> Source:
    """The identity of a record of `requests`."""
    return Source(record.topic, record.partition, record.offset)


def replayed(record: Incoming) -> Replayed | None:
    """What a replay wrote on a request; None where it is none, or the header is unreadable: then it is not ours."""
    document = header(record.headers, REPLAY_HEADER) if record.headers else None
    try:
        return None if document is None else decoded(_replayed_decoder, document)
    except msgspec.DecodeError:
        return None


def request_ms(record: Incoming) -> int:
    """When a record of `requests` was requested first: its own timestamp, unless a replay says what it was."""
    former = replayed(record)
    if former is None or former.requested_ms is None or not 0 <= former.requested_ms <= _LATEST_MS:
        return record.timestamp
    return former.requested_ms


def decode_request(record: Incoming, shape: RequestFormat) -> Request:
    """Parse a record of `requests`.

    An id that is neither text nor a whole number of 64 bits is kept as the text that stands there.
    Raises `InvalidRequest` for a tombstone, for bytes that are not JSON (or what else the format says), and for a
    missing input.
    """
    if record.value is None:
        raise InvalidRequest("a request has a value; this record is a tombstone")
    if shape.special:
        return _decode_special(record, record.value, shape)
    try:
        document = json_of(record.value)  # not `_json`: this runs per event, and a call is one
    except (NotText, orjson.JSONDecodeError) as error:
        raise _no_json(error) from error
    if not isinstance(document, dict):
        if shape.input:
            raise InvalidRequest(f"the value is not a JSON object with a field {shape.input!r}")
        return Request(document, document, _identity(record, None, shape), _deadline(record, None, shape))
    if shape.input and shape.input not in document:
        raise InvalidRequest(f"the value has no field {shape.input!r}{_further_in(document, shape.input)}")
    model_input = document[shape.input] if shape.input else document
    identity = document.get(shape.id) if shape.id else None
    if identity is not None and type(identity) not in _ID_TYPES:  # not isinstance: to Python, true is a number
        identity = verbatim(record.value, shape.id)
    if not record.headers and shape.deadline_ms not in document:
        return Request(document, model_input, identity, None)
    in_value = document.get(shape.deadline_ms) if shape.deadline_ms else None
    return Request(document, model_input, _identity(record, identity, shape), _deadline(record, in_value, shape))


class Requests(NamedTuple):
    """Some records of `requests`, parsed."""

    parsed: list[Request]  #: of those that can be, in their order
    faults: dict[int, InvalidRequest]  #: of the others, by their position among all


def decode_requests(records: Iterable[Incoming], shape: RequestFormat) -> Requests:
    """`decode_request` of each. What it finds in most records is read here at once: this runs per event."""
    parsed: list[Request] = []
    faults: dict[int, InvalidRequest] = {}
    plainly = shape.input != "" and not shape.special
    for place, record in enumerate(records):
        request = _plain(record, shape) if plainly and not record.headers else None
        if request is None:
            try:
                request = decode_request(record, shape)
            except InvalidRequest as error:
                faults[place] = error
                continue
        parsed.append(request)
    return Requests(parsed, faults)


def _plain(record: Incoming, shape: RequestFormat) -> Request | None:
    """A request without a deadline; None where a closer look is needed."""
    try:
        document = orjson.loads(record.value)  # type: ignore[arg-type]  # None is no JSON either
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict or shape.input not in document or shape.deadline_ms in document:
        return None
    identity = document.get(shape.id) if shape.id else None
    if identity is not None and type(identity) not in _ID_TYPES:
        return None
    return Request(document, document[shape.input], identity, None)


def _json(value: bytes) -> Any:  # noqa: ANN401  # any JSON value
    try:
        return json_of(value)
    except (NotText, orjson.JSONDecodeError) as error:
        raise _no_json(error) from error


def _no_json(error: Exception) -> InvalidRequest:
    return InvalidRequest(f"the value is not JSON{', it' if isinstance(error, NotText) else ':'} {error}")


def _decode_special(record: Incoming, value: bytes, shape: RequestFormat) -> Request:
    """The same where a part of a request stands further in, or the bytes are no JSON."""
    document = _json(value) if shape.reader is None else shape.reader.read(value)
    to_input, to_id, to_deadline = shape.ways
    try:
        model_input = find(document, to_input)
    except LookupError as error:
        raise InvalidRequest(f"the value has no field {shape.input!r}{_reached(document, to_input)}") from error
    identity = _or_none(document, to_id)
    if identity is not None and type(identity) not in _ID_TYPES:
        identity = verbatim(value, *to_id) if shape.reader is None else orjson.dumps(identity, default=str).decode()
    in_value = _or_none(document, to_deadline)
    return Request(document, model_input, _identity(record, identity, shape), _deadline(record, in_value, shape))


def _identity(record: Incoming, in_value: str | int | None, shape: RequestFormat) -> str | int | None:
    named = header(record.headers, shape.id_header) if shape.id_header else None
    return in_value if named is None else named.decode(errors="replace")


def _or_none(document: Any, steps: Steps) -> Any:  # noqa: ANN401  # any JSON value
    try:
        return find(document, steps) if steps else None
    except LookupError:
        return None


def _reached(document: Any, steps: Steps) -> str:  # noqa: ANN401  # any JSON value
    """How far the way goes, and what is there instead."""
    if isinstance(document, dict) and (whole := ".".join(steps)) in document:
        return f"; a field of that name has a dot in it: write it as {path_of((whole,))!r}"
    for count in range(len(steps) - 1, 0, -1):
        there = _or_none(document, steps[:count])
        if there is not None:
            return f"; {path_of(steps[:count])} {_described(there)}"
    return f"; the value {_described(document)}"


def _described(there: Any) -> str:  # noqa: ANN401  # any JSON value
    if isinstance(there, dict):
        names = sorted(there)[:_NAMES_TOLD]
        more = ", …" if len(there) > len(names) else ""
        return f"has {', '.join(names)}{more}" if names else "is an empty object"
    if isinstance(there, list):
        return f"is a list of {len(there)}"
    return "is no object"


def _further_in(document: dict[str, Any], name: str) -> str:
    """Where the field is, if the request is wrapped in an event of others; '' where it is not."""
    for way in _ENVELOPES:
        inner: Any = document
        for step in way:
            inner = inner.get(step) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and name in inner:
            return f"; there is {path_of((*way, name))!r}: name it so, or take the request out of its envelope"
    return ""


def _deadline(record: Incoming, in_value: Any, shape: RequestFormat) -> int | None:  # noqa: ANN401  # any JSON value
    named: Any = header(record.headers, shape.deadline_header) if shape.deadline_header else None
    if named is None:
        named = in_value
    if named is None:
        return None
    try:
        deadline_ms = int(named)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest("the deadline is not a whole number of milliseconds since epoch") from error
    if abs(deadline_ms) > _LATEST_MS:
        raise InvalidRequest("the deadline is no time of this world")
    return deadline_ms


def header(headers: Headers, name: str) -> bytes | None:
    """The last header of this name, or None."""
    for key, value in reversed(headers):
        if key == name:
            return value
    return None


def decode_facts(record: Incoming) -> Facts:
    """Read the facts off a record of `doubtful`, `answers` or `fallback`. They always say when it was requested.

    Raises `InvalidRequest` where the header is missing, damaged, or more than one version away.
    """
    document = header(record.headers, FACTS_HEADER)
    if document is None:
        raise InvalidRequest(f"the record has no header {FACTS_HEADER!r}")
    try:
        facts = decoded(_facts_decoder, document)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the header {FACTS_HEADER!r} is damaged: {error}") from error
    if not reads(facts.v):
        raise InvalidRequest(f"the header is of version {facts.v}; this worker reads {VERSION} and its neighbours")
    if facts.requested_ms is None:  # of version 1, whose records have the timestamp of their request
        facts = msgspec.structs.replace(facts, requested_ms=record.timestamp)
    return facts


def reads(version: int) -> bool:
    """Whether records of this version are read here: of our own version, and of both neighbours."""
    return abs(version - VERSION) <= 1


def foreign_version(record: Incoming) -> int | None:
    """The version of a record's facts where it is one that `reads` refuses; None where it is not, or there are none.

    Such a record is no bad one: a worker of another version can read it. What is damaged is `decode_facts`'s matter.
    """
    document = header(record.headers, FACTS_HEADER)
    if document is None:
        return None
    try:
        version = decoded(_version_decoder, document).v
    except msgspec.DecodeError:
        return None
    return None if reads(version) else version


def facts_of(record: Incoming) -> Facts:
    """The facts a record carries; where it carries none that can be read, its own place as the source."""
    try:
        return decode_facts(record)
    except InvalidRequest:
        return Facts(source_of(record), requested_ms=record.timestamp)


def encode_facts(facts: Facts) -> bytes:
    """The header `bisupervised` for these facts, in our version whoever wrote the record they were read from."""
    if facts.v != VERSION:
        facts = msgspec.structs.replace(facts, v=VERSION)
    return _encoder.encode(facts)


def decode_result(value: bytes) -> Result:
    """Read the value of a record of `results`. Raises `msgspec.DecodeError`, also where it is more than one version
    away.
    """
    result = decoded(_result_decoder, value)
    if not reads(result.v):
        raise msgspec.ValidationError(
            f"the result is of version {result.v}; {VERSION} and its neighbours are read here"
        )
    return result


#: from a result to the value of its record; it raises `TypeError`, `ValueError` or `OverflowError` where there is none
EncodeResult = Callable[[Result], bytes]


def encode_result(result: Result) -> bytes:
    """The value of a record of `results`."""
    return _encoder.encode(result)


def encode_results(results: Sequence[Result], encode: EncodeResult = encode_result) -> list[bytes]:
    """The value of each. Raises what `encode` raises for any of them."""
    if encode is encode_result:
        return _lines(results)
    return [encode(result) for result in results]


def _lines(documents: Sequence[msgspec.Struct]) -> list[bytes]:
    # in one call: no document holds a line's end. Of a list: msgspec 0.22 never frees the iterator of anything else
    return _encoder.encode_lines(list(documents)).split(b"\n")[:-1]


def forward(record: Incoming, to: Route, facts: Facts) -> Outgoing:
    """The same record with its facts, on its way to `doubtful` or `answers`: key and value verbatim."""
    return _forwarded(record, to, facts, encode_facts(facts))


def forward_all(records: Iterable[Incoming], to: Route, facts: Sequence[Facts]) -> list[Outgoing]:
    """`forward` for each record and its facts, which are of our version."""
    each = zip(records, facts, _lines(facts), strict=True)
    return [_forwarded(record, to, known, document) for record, known, document in each]


def _forwarded(record: Incoming, to: Route, facts: Facts, document: bytes) -> Outgoing:
    headers = _with_facts(record.headers, document)
    return Outgoing(to, record.key, record.value, headers, requested_ms(record, facts), facts)


def requested_ms(record: Incoming, facts: Facts) -> int:
    """When the request was made, milliseconds since epoch. Before version 2 its timestamp went along from topic to
    topic.
    """
    return record.timestamp if facts.requested_ms is None else facts.requested_ms


def fall_back(record: Incoming, facts: Facts, reason: Reason, detail: str, agent: str) -> Outgoing:
    """A complete fallback record: the original bytes, all that is known, and why."""
    when = requested_ms(record, facts)
    ended = msgspec.structs.replace(facts, reason=reason, detail=detail[:DETAIL_CHARS], agent=agent, requested_ms=when)
    headers = _with_facts(record.headers, encode_facts(ended))
    headers.append((REASON_HEADER, reason.encode()))
    return Outgoing("fallback", record.key, record.value, headers, when, ended)


def without_value(record: Incoming, facts: Facts, detail: str, agent: str) -> Outgoing:
    """A fallback record in place of one that is too large to carry: all but the value, which stays at the source."""
    when, omitted = requested_ms(record, facts), len(record.value or b"")
    known = msgspec.structs.replace(facts, value_omitted=omitted, requested_ms=when)
    ended = msgspec.structs.replace(known, reason="too_large", detail=detail[:DETAIL_CHARS], agent=agent)
    traced = [(name, value) for name, value in _traced(record.headers) if len(value or b"") <= _TRACE_BYTES]
    headers = [*traced, *_replay_header(record.headers)]  # the latter bounds the loops
    headers += [(FACTS_HEADER, encode_facts(ended)), (REASON_HEADER, b"too_large")]
    return Outgoing("fallback", record.key, b"", headers, when, ended)


def _replay_header(headers: Headers) -> list[tuple[str, bytes]]:
    document = header(headers, REPLAY_HEADER)
    return [] if document is None or len(document) > _REPLAY_BYTES else [(REPLAY_HEADER, document)]


def publish(record: Incoming, result: Result, encode: EncodeResult = encode_result) -> Outgoing:
    """A record of `results`: the original key, trace context and replay header, a value of our own."""
    return _published(record, result, encode(result))


def publish_all(
    records: Iterable[Incoming], results: Sequence[Result], encode: EncodeResult = encode_result
) -> list[Outgoing]:
    """`publish` for each record and its result."""
    each = zip(records, results, encode_results(results, encode), strict=True)
    return [_published(record, result, value) for record, result, value in each]


def _published(record: Incoming, result: Result, value: bytes) -> Outgoing:
    headers = record.headers
    return Outgoing(
        "results",
        record.key,
        value,
        [pair for pair in headers if pair[0] in _CARRIED] if headers else (),
        result.requested_ms or record.timestamp,
        result,
    )


def _traced(headers: Headers) -> Headers:
    return [pair for pair in headers if pair[0] in TRACE_HEADERS] if headers else ()


def _with_facts(headers: Headers, document: bytes) -> list[tuple[str, bytes]]:
    kept = [pair for pair in headers if pair[0] not in OUR_HEADERS]  # those of a former life of the record go
    kept.append((FACTS_HEADER, document))
    return kept
