"""What the records of `audits` say of outcomes of each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest
from bisupervised.agents.auditing.draw import Draw
from bisupervised.schemas.audits import AUDIT_HEADER, Audit, decode_audit, is_marked, judged_by, replay_mark
from bisupervised.schemas.codec import decode_facts, facts_of, fall_back, forward, header, publish, without_value
from bisupervised.schemas.records import REPLAY_HEADER, Facts, Incoming, Outgoing, Replayed, Result, Source, Verdict
from bisupervised.streams.flow import request_facts
from bisupervised.streams.plane.window.slots import Slot
from bisupervised.streams.worker.auditing import Auditing
from support.records import Record

SECRET = b"only the fleet knows"
EVERY = Draw(1.0, SECRET, "shop")
LOCAL = Verdict("cat", 0.6, 0.8, supervisor="max_softmax", model="small:1", latency_ms=2.0)
REMOTE = Verdict("dog", 0.9, 0.7, trusted=True, supervisor="max_softmax", model="large", cost=0.002)
SOURCE = Source("requests", 1, 17)
REQUEST = b'{"id": 7, "input": "a picture"}'


def auditing(draw: Draw = EVERY, *, local: bool = True) -> Auditing:
    def known(record: Incoming) -> Facts:
        return msgspec.structs.replace(request_facts(record), topic_id="id")

    return Auditing(draw, SECRET, "shop", known if local else facts_of, reads_requests=local)


def request(offset: int = 17, headers: Sequence[tuple[str, bytes]] = ()) -> Record:
    return Record(REQUEST, offset, "requests", 1, key=b"k", headers=list(headers))


def result(answered_by: str = "local", **changed: object) -> Result:
    made = Result(SOURCE, "cat", answered_by, 0.9, 0.8, thresholds="v1", model="small:1")  # type: ignore[arg-type]  # one of two
    return msgspec.structs.replace(made, requested_ms=5, **changed)


def told(outgoing: Outgoing | None) -> tuple[Facts, Audit]:
    assert outgoing is not None
    record = Record(outgoing.value, 0, "audits", 0, headers=list(outgoing.headers))
    document = header(outgoing.headers, AUDIT_HEADER)
    assert document is not None
    return decode_facts(record), decode_audit(document)


def test_a_trusted_local_answer() -> None:
    record = request()
    made = auditing().of(record, publish(record, result()))
    facts, audit = told(made)
    assert made is not None
    assert (made.to, made.key, made.value) == ("audits", b"k", REQUEST)
    assert audit == Audit("shop", "trusted", 1.0, answered_by="local")
    assert (facts.source, facts.topic_id, facts.thresholds, facts.requested_ms) == (SOURCE, "id", "v1", 5)
    assert facts.local is not None
    assert (facts.local.prediction, facts.local.score, facts.local.trusted) == ("cat", 0.9, True)
    assert facts.remote is None


def test_a_trusted_local_answer_goes_to_the_remote_first_where_there_is_a_shadow_share() -> None:
    record = request()
    shadowing = auditing(Draw(0.25, SECRET, "shop", 1.0))
    made = shadowing.of(record, publish(record, result()))
    facts, audit = told(made)
    assert made is not None
    assert (made.to, made.key, made.value) == ("shadows", b"k", REQUEST)
    label = Draw(0.25, SECRET, "shop").drawn("id", 1, 17, 17) & {17}
    assert audit == Audit("shop", "trusted", 0.25, answered_by="local", shadow_share=1.0, label=bool(label))
    assert facts.local is not None
    assert facts.local.prediction == "cat"
    small = shadowing.refused(record, publish(record, result()), "too large")
    assert small is not None
    assert (small.to, told(small)[1].missing) == ("audits", "too large")


def test_what_ends_in_another_way_needs_no_shadow() -> None:
    draw = Draw(0.0, SECRET, "shop", 1.0)
    record = request()
    untrusted = auditing(draw).of(record, publish(record, result(trusted=False)))
    failed = auditing(draw).of(record, fall_back(record, Facts(SOURCE), "model_error", "it raises", "local"))
    forwarded = forward(record, "answers", doubtful_facts())
    of_remote = Record(forwarded.value, 3, "answers", 1, key=b"k", headers=list(forwarded.headers))
    trusted = auditing(draw, local=False).of(of_remote, publish(of_remote, result("remote", local=LOCAL)))
    for made in (untrusted, failed, trusted):
        assert made is not None
        assert made.to == "audits"
        assert not told(made)[1].label


def doubtful_facts() -> Facts:
    return Facts(SOURCE, id=7, local=LOCAL, remote=REMOTE, topic_id="id", requested_ms=5, thresholds="v1")


def judged(outcome: Callable[[Record], Outgoing]) -> tuple[Facts, Audit]:
    forwarded = forward(request(), "answers", doubtful_facts())
    record = Record(forwarded.value, 3, "answers", 1, key=b"k", headers=list(forwarded.headers))
    return told(auditing(local=False).of(record, outcome(record)))


def test_a_trusted_remote_answer_has_both_verdicts() -> None:
    made = result("remote", prediction="dog", model="large", local=LOCAL, cost=0.002)
    facts, audit = judged(lambda record: publish(record, made))
    assert (audit.ended, audit.answered_by) == ("trusted", "remote")
    assert facts.local == LOCAL
    assert facts.remote is not None
    assert (facts.remote.prediction, facts.remote.cost, facts.remote.trusted) == ("dog", 0.002, True)


def test_an_arbitrated_answer_is_the_local_one() -> None:
    doubted = msgspec.structs.replace(LOCAL, thresholds="v0")
    facts, audit = judged(lambda record: publish(record, result(local=doubted, remote=REMOTE, arbitrated=True)))
    assert audit.answered_by == "local"
    assert facts.remote == REMOTE
    assert facts.local is not None
    assert facts.local.prediction == "cat"
    assert judged_by(facts) == "v0, then v1"


def test_an_answer_without_trust_is_outside_the_promise() -> None:
    _, audit = judged(lambda record: publish(record, result(trusted=False)))
    assert audit.ended == "accepted"


@pytest.mark.parametrize(
    ("reason", "ended"),
    [("low_confidence", "rejected"), ("no_confidence", "rejected"), ("timeout", "failed"), ("too_large", "failed")],
)
def test_what_falls_back(reason: str, ended: str) -> None:
    facts, audit = judged(lambda record: fall_back(record, facts_of(record), reason, "why", "remote"))  # type: ignore[arg-type]  # one of the reasons
    assert audit == Audit("shop", ended, 1.0)  # type: ignore[arg-type]  # one of the ends
    assert (facts.reason, facts.local, facts.topic_id) == (reason, LOCAL, "id")


def test_a_request_that_fails_at_once_is_audited_too() -> None:
    record = request()
    facts, audit = told(auditing().of(record, fall_back(record, Facts(SOURCE), "invalid_request", "no JSON", "local")))
    assert (audit.ended, facts.reason, facts.topic_id) == ("failed", "invalid_request", "id")


def test_a_request_that_fallback_cannot_carry_is_missing_here_too() -> None:
    record = request()
    made = auditing().of(record, without_value(record, Facts(SOURCE), "too large", "local"))
    _, audit = told(made)
    assert made is not None
    assert made.value == b""
    assert (audit.ended, audit.missing) == ("failed", "the request was too large to carry")


def test_the_smaller_one_has_neither_the_request_nor_the_answers() -> None:
    record = request()
    made = auditing().refused(record, publish(record, result()), "the broker refuses the record: too large")
    facts, audit = told(made)
    assert made is not None
    assert (made.key, made.value) == (None, b"")
    assert audit.missing == "the broker refuses the record: too large"
    assert facts.local is not None
    assert (facts.local.prediction, facts.local.score) == (None, 0.9)


# which are drawn


def slots(records: Sequence[Record], outcome: Callable[[Record], Outgoing] | None = None) -> list[Slot]:
    made = outcome or (lambda record: publish(record, result(source=Source("requests", 1, record.offset))))
    return [Slot(record, record.offset, 1, called=False, leads=True, outcome=made(record)) for record in records]


def positions(of: Auditing, given: list[Slot]) -> list[int]:
    return [given.index(slot) for slot in of.drawn(given, 0, 100, in_order=False)]


def test_those_are_drawn_that_the_draw_says_and_that_end_here() -> None:
    draw = Draw(0.3, SECRET, "shop")
    records = [request(offset) for offset in range(40, 90)]
    expected = [p for p, record in enumerate(records) if record.offset in draw.drawn("id", 1, 40, 89)]
    assert expected
    assert positions(auditing(draw), slots(records)) == expected
    assert positions(auditing(draw), slots(records[::-1])) == [49 - p for p in reversed(expected)]
    passed_on = slots(records, lambda record: forward(record, "doubtful", Facts(SOURCE)))
    assert positions(auditing(draw), passed_on) == positions(auditing(draw), []) == []


def test_further_on_the_source_is_what_is_drawn() -> None:
    """At `answers` a record lies at another offset, and is drawn exactly where its request is."""
    draw = Draw(0.3, SECRET, "shop")
    sources = range(40, 90)
    records = [
        Record(REQUEST, place, "answers", 1, headers=list(forward(request(offset), "answers", facts).headers))
        for place, offset in enumerate(sources)
        for facts in [Facts(Source("requests", 1, offset), topic_id="id", requested_ms=5)]
    ]
    expected = [p for p, offset in enumerate(sources) if offset in draw.drawn("id", 1, 40, 89)]
    assert positions(auditing(draw, local=False), slots(records)) == expected


# the share after an alarm

RAISED = "4-rung-4-raised-0123456789"
USUAL_DRAW, RAISED_DRAW = Draw(0.2, SECRET, "shop", 0.3), Draw(0.6, SECRET, "shop", 0.6)


def raising(*, local: bool) -> Auditing:
    def known(record: Incoming) -> Facts:
        return msgspec.structs.replace(request_facts(record), topic_id="id")

    known_by = known if local else facts_of
    return Auditing(USUAL_DRAW, SECRET, "shop", known_by, reads_requests=local, raised=RAISED_DRAW)


@pytest.mark.parametrize(("version", "draw"), [(RAISED, RAISED_DRAW), ("3-rung-4-0123456789", USUAL_DRAW)])
def test_the_version_that_judged_first_says_how_many_are_drawn_however_a_request_ends(version: str, draw: Draw) -> None:
    """So neither outcome is drawn more often than the other: of two versions the second one changes nothing."""
    offsets = range(40, 140)
    hits = draw.drawn("id", 1, 40, 139)
    expected = [p for p, offset in enumerate(offsets) if offset in hits]
    requests_ = [request(offset) for offset in offsets]

    def at_once(record: Record) -> Outgoing:
        return publish(record, result(source=Source("requests", 1, record.offset), thresholds=version))

    trusted = slots(requests_, at_once)
    assert [trusted.index(slot) for slot in raising(local=True).drawn(trusted, 40, 140, in_order=True)] == expected
    doubted = msgspec.structs.replace(LOCAL, thresholds=version)

    def later(record: Record) -> Outgoing:
        facts = facts_of(record)
        return publish(record, result("remote", source=facts.source, local=doubted, thresholds="another"))

    answers = [
        Record(REQUEST, place, "answers", 1, headers=list(forward(one, "answers", facts).headers))
        for place, one in enumerate(requests_)
        for facts in [Facts(Source("requests", 1, one.offset), local=LOCAL, topic_id="id", thresholds=version)]
    ]
    judged_twice = slots(answers, later)
    assert [
        judged_twice.index(slot) for slot in raising(local=False).drawn(judged_twice, 0, 100, in_order=True)
    ] == expected
    rejected = slots(
        answers, lambda record: fall_back(record, facts_of(record), "low_confidence", "low", "remote_supervisor")
    )
    assert [rejected.index(slot) for slot in raising(local=False).drawn(rejected, 0, 100, in_order=True)] == expected


def test_a_record_says_the_share_and_whether_its_label_is_wanted_for_that_alone() -> None:
    of = raising(local=True)
    found = []
    for offset in range(200):
        record = request(offset)
        made = result(source=Source("requests", 1, offset), thresholds=RAISED)
        (slot,) = slots([record], lambda record, made=made: publish(record, made))  # type: ignore[misc]  # a default binds it
        if of.drawn([slot], offset, offset + 1, in_order=True):
            assert slot.outcome is not None
            found.append((offset, told(of.of(record, slot.outcome))[1]))
    assert {(audit.share, audit.shadow_share, audit.label) for _, audit in found} == {(0.6, 0.6, True)}
    wanted_anyway = {offset for offset, _ in found if USUAL_DRAW.wants_label("id", 1, offset)}
    assert {offset for offset, audit in found if not audit.extra} == wanted_anyway
    record = request()
    (slot,) = slots([record])
    assert slot.outcome is not None
    assert not told(of.of(record, slot.outcome))[1].extra, "another version draws as ever"


def replay(secret: bytes | None, value: bytes = REQUEST) -> Record:
    former = Replayed("monday", 1, SOURCE, Source("fallback", 1, 5), "timeout", 5)
    if secret is not None:
        former = msgspec.structs.replace(former, mark=replay_mark(secret, former, b"k", value))
    return request(headers=[(REPLAY_HEADER, msgspec.json.encode(former))])


@pytest.mark.parametrize(
    ("record", "drawn"),
    [
        (replay(SECRET), False),
        (replay(None), True),  # anybody can write the header: nobody evades the draw by it
        (replay(b"another"), True),
        (replay(SECRET, b"of another request"), True),
        (request(headers=[(REPLAY_HEADER, b"damaged")]), True),
    ],
)
def test_a_replay_was_drawn_in_its_first_life_and_nobody_evades_the_draw(record: Record, drawn: bool) -> None:
    assert bool(auditing().drawn(slots([record]), 0, 100, in_order=True)) == drawn


def test_a_mark_is_of_one_replay() -> None:
    former = Replayed("monday", 1, SOURCE, Source("fallback", 1, 5), "timeout", 5)
    marked = msgspec.structs.replace(former, mark=replay_mark(SECRET, former, b"k", REQUEST))
    assert is_marked(SECRET, marked, b"k", REQUEST)
    for changed in (
        msgspec.structs.replace(marked, loop=2),
        msgspec.structs.replace(marked, source=Source("requests", 1, 18)),
        msgspec.structs.replace(marked, mark=""),
        msgspec.structs.replace(marked, mark="ü"),
    ):
        assert not is_marked(SECRET, changed, b"k", REQUEST)
    assert not is_marked(SECRET, marked, None, REQUEST)
    assert not is_marked(SECRET, marked, b"k", None)
