"""What an auditor knows is a function of the topics and the closings alone, wherever another auditor takes over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bisupervised.agents.auditing.ledger.ledger import Ledger, resumed
from bisupervised.agents.auditing.matching import exact
from bisupervised.agents.auditing.votes import Ballot
from bisupervised.schemas.audits import decode_label
from bisupervised.schemas.closings import Closing, Taken, decode_closing, encode_closing
from hypothesis import given
from hypothesis import strategies as st
from support.audited import PIPELINE, audit, drawn, label, rules
from support.plain_account import Promise, Terms, account
from support.records import Record

PARTITIONS = 2
BEGIN = Taken({"0": 0, "1": 0}, 0)


@dataclass
class Topics:
    """What both topics hold."""

    audits: list[list[Record]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    labels: list[Record] = field(default_factory=list)

    @property
    def end(self) -> Taken:
        return Taken({str(number): len(records) for number, records in enumerate(self.audits)}, len(self.labels))

    def between(self, begin: Taken, end: Taken) -> tuple[list[Record], list[Record]]:
        """Records of both."""
        found = [r for n, of in enumerate(self.audits) for r in of[begin.audits[str(n)] : end.audits[str(n)]]]
        return found, self.labels[begin.labels : end.labels]


# what happens: a request ends, somebody votes, time passes, the auditor closes
ENDS = st.tuples(
    st.just("ends"),
    st.integers(0, PARTITIONS - 1),
    st.sampled_from(("trusted", "rejected", "accepted", "failed")),
    st.sampled_from(("cat", "dog")),
    st.sampled_from((None, "cat", "dog")),
    st.sampled_from(("t1", "t1", "t2", "")),
    st.sampled_from(("", "", "", "too large")),
)
VOTES = st.tuples(
    st.just("votes"),
    st.integers(0, PARTITIONS - 1),
    st.integers(0, 12),
    st.sampled_from(("cat", "dog", "cow")),
    st.sampled_from(("ann", "bob")),
    st.booleans(),
    st.booleans(),
)
PASSES = st.tuples(st.just("passes"), st.sampled_from((1, 10, 400, 1200)))
CLOSES = st.tuples(st.just("closes"), st.booleans())
STORY = st.lists(st.one_of(ENDS, ENDS, VOTES, VOTES, PASSES, CLOSES), max_size=60)


def played(story: Sequence[tuple[object, ...]], classes: tuple[str, ...]) -> tuple[Topics, list[Closing], Ledger]:
    """What the topics hold at the end, and the closings of one auditor that lived through all of it."""
    topics, now_ms = Topics(), 10_000
    closings: list[Closing] = []
    terms = rules(classes=classes)
    ledger, read = Ledger(PIPELINE, terms, BEGIN), BEGIN
    for kind, *what in [*story, ("closes", True)]:
        match kind, what:
            case "ends", [partition, ended, local, remote, version, missing]:
                of = topics.audits[partition]  # type: ignore[call-overload]  # a number
                of.append(
                    audit(
                        len(of),
                        now_ms,
                        partition=partition,  # type: ignore[arg-type]  # as they were drawn
                        ended=ended,  # type: ignore[arg-type]
                        by="local" if remote is None else "remote",
                        local=local,
                        remote=remote,
                        version=version,  # type: ignore[arg-type]
                        missing=missing,  # type: ignore[arg-type]
                    )
                )
            case "votes", [partition, offset, truth, by, second_look, withdrawn]:
                source = f"requests-{partition}-{offset}"
                flags = {"second_look": second_look, "withdrawn": withdrawn and not second_look}
                topics.labels.append(label(len(topics.labels), now_ms, source, truth, str(by), **flags))
            case "passes", [ms]:
                now_ms += ms  # type: ignore[operator]  # a number
            case _, [whole]:
                step(ledger, topics, read, topics.end, now_ms, terms)
                closings.append(ledger.closing(len(closings) + 1, whole=bool(whole)))
                read = topics.end
    return topics, closings, ledger


def step(ledger: Ledger, topics: Topics, begin: Taken, end: Taken, at_ms: int, terms: object) -> None:
    audits, labels = topics.between(begin, end)
    for record in audits:
        ledger.take_audit(record)
    for record in labels:
        ledger.take_label(record)
    ledger.close(end, at_ms, terms)  # type: ignore[arg-type]  # the same rules


@given(STORY, st.sampled_from(((), ("cat", "dog"))))
def test_who_takes_over_at_any_closing_reckons_the_same(
    story: list[tuple[object, ...]], classes: tuple[str, ...]
) -> None:
    """To the bit: also where the topics begin only where the closing says that they are needed from."""
    topics, closings, _ = played(story, classes)
    terms = rules(classes=classes)
    for begin in (closing for closing in closings if closing.whole):
        audits, labels = topics.between(begin.since, begin.taken)
        ledger = resumed(decode_closing(encode_closing(begin)), terms, audits, labels)
        assert ledger.closing(begin.number, whole=True) == begin
        read = begin.taken
        for closing in closings[begin.number :]:
            step(ledger, topics, read, closing.taken, closing.at_ms, terms)
            assert ledger.closing(closing.number, whole=closing.whole) == closing
            read = closing.taken


@given(STORY)
def test_in_one_closing_it_is_the_account_of_all_records(story: list[tuple[object, ...]]) -> None:
    """What was built to be looked at once says the same of what was labelled in time."""
    topics, closings, _ = played([event for event in story if event[0] not in ("closes", "passes")], ())
    told = {one.version: one for one in closings[-1].versions}
    ballots: dict[str, Ballot] = {}
    for record in topics.labels:
        vote = decode_label(record.value or b"")
        ballots.setdefault(vote.source, Ballot()).take(vote)
    ordered = sorted((r for of in topics.audits for r in of), key=lambda r: (r.timestamp, r.partition, r.offset))
    for version, one in told.items():
        requests = [made for record in ordered if (made := drawn(record, version)) is not None]
        promises = (Promise("error", 0.1),) if version == "t1" else ()
        known = account(requests, ballots, closings[-1].at_ms, Terms(promises, 1000.0), exact)
        for count in ("drawn", "evidence", "labelled", "outstanding", "disputed", "late", "missing"):
            assert getattr(one, count) == getattr(known, count), count
        for told_share, share in (
            (one.error, known.error),
            (one.false_positive_rate, known.false_positive_rate),
            (one.local_error, known.local_error),
            (one.remote_error, known.remote_error_where_asked),
        ):
            assert (told_share.wrong, told_share.labels) == (share.wrong, share.labels)
            assert (told_share.lower, told_share.upper) == (share.lower, share.upper)
        assert len(one.alarms) == len(promises)


@given(STORY, st.data())
def test_how_closings_cut_the_topics_changes_nothing_where_labels_stand(
    story: list[tuple[object, ...]], data: st.DataObject
) -> None:
    """Votes that nobody changes, in time: any cut says the same in the end."""
    events = [event for event in story if event[0] == "ends"]
    topics, (whole,), _ = played(events, ())
    sources = [f"requests-{n}-{r.offset}" for n, of in enumerate(topics.audits) for r in of]
    chosen = data.draw(st.permutations(sources))[: data.draw(st.integers(0, len(sources)))]
    topics.labels = [label(number, 10_000, source, "cat") for number, source in enumerate(chosen)]
    everything = Ledger(PIPELINE, rules(), BEGIN)
    step(everything, topics, BEGIN, topics.end, 10_000, rules())
    cut, read = Ledger(PIPELINE, rules(), BEGIN), BEGIN
    seen = Taken(topics.end.audits, 0)
    for end in (seen, *(Taken(seen.audits, n) for n in range(1, len(chosen) + 1)), topics.end):
        step(cut, topics, read, end, 10_000, rules())
        read = end
    assert cut.closing(1, whole=True).digest == everything.closing(1, whole=True).digest
    assert whole.number == 1
