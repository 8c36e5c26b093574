"""The records of an audit: `audits`, one for each request that is drawn, and `labels`, what people say of it.

A trusted local answer whose request is drawn for the remote, too, first leaves a record in `shadows`, of the same form.
Whoever has asked the remote writes the one in `audits`.

A record of `audits` has the key and the value of the request, byte for byte, and two headers: `bisupervised`, what is
known about the request (`Facts`), and `bisupervised-audit`, how it ended (`Audit`).
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import Any, Literal

import msgspec

from .codec import DETAIL_CHARS, encode_facts, requested_ms
from .decoding import MOST_LEVELS, decoded, lies_deep
from .records import FACTS_HEADER, Facts, Incoming, Judged, Outgoing, Replayed, Result, Source, Verdict

#: header on a record of `audits`: how its request ended (`Audit`)
AUDIT_HEADER = "bisupervised-audit"
#: version of the structs below
VERSION = 1
#: bytes of a label's record: whoever may write labels must not fill the memory of those who read them
MOST_LABEL_BYTES = 65_536


#: accepted: without trust, outside every promise; rejected: by the second supervisor; failed: for any other reason
Ended = Literal["trusted", "accepted", "rejected", "failed"]
#: of asking the remote about a trusted local answer. missing: it has said nothing, and the facts have the reason
Shadow = Literal["answered", "missing"]


def _version() -> int:
    return VERSION


class Audit(msgspec.Struct, frozen=True, omit_defaults=True):
    """The header `bisupervised-audit`."""

    pipeline: str  #: name of the pipeline whose request it is
    ended: Ended  #: how it ended
    share: float  #: of all requests that is audited, 0..1
    answered_by: Literal["local", "remote"] | None = None  #: whose answer is in `results`; None where none is
    missing: str = ""  #: why the request itself is not here; '' where it is
    shadow_share: float = 0.0  #: of all requests that both models are to answer, 0..1; 0: none for that alone
    label: bool = True  #: a label is wanted: it is of `share`, and not only of `shadow_share`
    shadow: Shadow | None = None  #: what became of asking the remote all the same; None where that was not wanted
    extra: bool = False  #: its label is wanted for [audit] alarm_share alone: `share` would not have drawn it
    judged: Judged | None = None  #: what the second supervisor compared, where there is a joint model
    v: int = msgspec.field(default_factory=_version)  #: version of this struct


class Label(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a record in `labels`: what somebody says is right. Its last vote about a request counts."""

    source: str  #: the request: topic-partition-offset, as in `results` and `fallback`
    truth: Any  #: the right answer, any JSON value
    by: str  #: who says so
    second_look: bool = False  #: where it speaks against a promise, it counts when a second person has looked, too
    withdrawn: bool = False  #: who says so takes the former vote back; the truth means nothing then
    v: int = msgspec.field(default_factory=_version)  #: version of this struct


_encoder = msgspec.json.Encoder()
#: a worker writes a few of them, again and again
_encode_audit = lru_cache(maxsize=64)(_encoder.encode)
_audit_decoder = msgspec.json.Decoder(Audit)
_label_decoder = msgspec.json.Decoder(Label)


def decode_audit(document: bytes) -> Audit:
    """The header of a record of `audits`. Raises `msgspec.DecodeError`, also for another version."""
    audit = decoded(_audit_decoder, document)
    if audit.v != VERSION:
        raise msgspec.ValidationError(f"the audit is of version {audit.v}; {VERSION} is read here")
    return audit


def decode_label(value: bytes) -> Label:
    """The value of a record of `labels`. Raises `msgspec.DecodeError`, also for another version."""
    if len(value) > MOST_LABEL_BYTES:
        raise msgspec.ValidationError(f"the label has {len(value):,} bytes; {MOST_LABEL_BYTES:,} are read at most")
    label = decoded(_label_decoder, value)
    if lies_deep(label.truth):
        raise msgspec.ValidationError(f"more than {MOST_LEVELS} lists or objects of the truth lie in each other")
    if label.v != VERSION:
        raise msgspec.ValidationError(f"the label is of version {label.v}; {VERSION} is read here")
    return label


def encode_label(label: Label) -> bytes:
    """The value of a record of `labels`."""
    return _encoder.encode(label)


def audit_record(record: Incoming, facts: Facts, audit: Audit, to: Literal["audits", "shadows"] = "audits") -> Outgoing:
    """A record of `audits`, or of `shadows`: key and value of the request verbatim."""
    headers = [(FACTS_HEADER, encode_facts(facts)), (AUDIT_HEADER, _encode_audit(audit))]
    return Outgoing(to, record.key, record.value, headers, requested_ms(record, facts), facts)


def audit_without_value(facts: Facts, audit: Audit, why: str) -> Outgoing:
    """The same without the request, which stays at its source, and without the answers, which may be as large."""
    known = msgspec.structs.replace(facts, local=_scored(facts.local), remote=_scored(facts.remote), id=None)
    missing = msgspec.structs.replace(audit, missing=why[:DETAIL_CHARS])
    headers = [(FACTS_HEADER, encode_facts(known)), (AUDIT_HEADER, _encoder.encode(missing))]
    return Outgoing("audits", None, b"", headers, facts.requested_ms or 0, known)


def _scored(verdict: Verdict | None) -> Verdict | None:
    return None if verdict is None else msgspec.structs.replace(verdict, prediction=None)


def facts_of_result(result: Result, known: Facts) -> Facts:
    """What is known about a request whose answer is this result; `known`: what was known before."""
    by_local = result.answered_by == "local"
    verdict = Verdict(
        prediction=result.prediction,
        score=result.score,
        threshold=result.threshold,
        trusted=result.trusted,
        supervisor=result.supervisor,
        model=result.model,
        latency_ms=result.latency_ms,
        cost=result.cost,
        repeated=result.repeated,
        cached=result.cached,
        thresholds=result.local.thresholds if by_local and result.local is not None else "",
    )
    return msgspec.structs.replace(
        known,
        id=result.id,
        local=verdict if by_local else result.local,
        remote=result.remote if by_local else verdict,
        thresholds=result.thresholds,
        requested_ms=result.requested_ms or known.requested_ms,
    )


def judged_by(facts: Facts) -> str:
    """The version of the thresholds that judged a request; where they changed on the way, both: no statistics of either
    may count it, for no one pair of thresholds decided. '' where none judged it.
    """
    local = facts.local.thresholds if facts.local is not None else ""
    return facts.thresholds if local in ("", facts.thresholds) else f"{local}, then {facts.thresholds}"


def judged_first(about: Facts | Result) -> str:
    """The version of the thresholds that judged the local answer, which decides by which share its request is drawn: so
    what becomes of it later changes nothing about that. '' where none judged it.
    """
    return (about.local.thresholds if about.local is not None else "") or about.thresholds


# replays


def replay_mark(secret: bytes, replay: Replayed, key: bytes | None, value: bytes | None) -> str:
    """What only who has the audit's secret can write on a replay: that this request is one, of this value.

    32 hex digits. A request that bears it was drawn, or not, in its first life.
    """
    signing = hashlib.blake2b(secret, digest_size=32, person=b"audit replay").digest()
    signed = msgspec.structs.replace(replay, mark="")
    digest = hashlib.blake2b(_encoder.encode(signed), key=signing, digest_size=16)
    for part in (key, value):
        digest.update(b"\0" if part is None else hashlib.blake2b(part, digest_size=32).digest())
    return digest.hexdigest()


def is_marked(secret: bytes, replay: Replayed, key: bytes | None, value: bytes | None) -> bool:
    """Whether a replay bears that mark."""
    return hmac.compare_digest(replay.mark.encode(), replay_mark(secret, replay, key, value).encode())


def place_of(text: str) -> Source | None:
    """The request that a label names as topic-partition-offset; None where it names none."""
    topic, _, rest = text.rpartition("-")
    topic, _, partition = topic.rpartition("-")
    if not topic or not partition.isdecimal() or not rest.isdecimal():
        return None
    return Source(topic, int(partition), int(rest))
