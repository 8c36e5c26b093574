"""What an auditor remembers: which votes count for a request, and when requests and votes are forgotten."""

from __future__ import annotations

from bisupervised.agents.auditing.ledger.ledger import Ledger
from bisupervised.agents.auditing.ledger.memory import Memory, Request, Vote
from bisupervised.schemas.audits import Label
from bisupervised.schemas.closings import Taken
from bisupervised.schemas.records import Source
from support.audited import PIPELINE, audit, label, rules

WITHIN_MS = 100
END = Taken({"0": 50, "1": 60}, 70)


def request(offset: int, at_ms: int, source: str = "", partition: int = 0) -> Request:
    """A settled one."""
    return Request(source or f"requests-{partition}-{offset}", partition, offset, at_ms, "t1", None)


def vote(offset: int, at_ms: int, source: str, truth: str = "cat", *, counts: bool = True) -> Vote:
    return Vote(source, offset, at_ms, Label(source, truth, f"person {offset}"), counts)


def test_votes_without_a_request_are_strangers_until_it_comes_or_they_are_forgotten() -> None:
    memory = Memory()
    early, alien = vote(0, 10, "requests-0-0"), vote(1, 20, "requests-0-9")
    for one in (early, alien):
        memory.hold(one)
    assert (memory.strangers, early.known, alien.known) == (2, False, False)
    memory.add(request(0, 30))
    assert (memory.strangers, early.known, alien.known) == (1, True, False)
    late = vote(2, 40, "requests-0-0")
    memory.hold(late)
    assert (memory.strangers, late.known) == (1, True)
    assert memory.forget_votes(10) == [early]
    assert memory.strangers == 1
    assert memory.forget_votes(20) == [alien]
    assert memory.strangers == 0
    memory.add(request(9, 50))
    assert memory.strangers == 0, "it is forgotten, and counted once"
    assert list(memory.votes) == [late]


def test_of_two_requests_with_one_source_the_later_one_counts_in_whichever_order_they_come() -> None:
    early, late = request(3, 10, "requests-0-0"), request(1, 20, "requests-0-0", partition=1)
    for first, second in ((early, late), (late, early)):
        memory = Memory()
        assert memory.add(first) is None
        assert memory.add(second) is early, "who is replaced"
        assert memory.requests == {"requests-0-0": late}


def test_a_vote_counts_if_it_is_for_a_label_that_there_is_and_was_written_in_time() -> None:
    memory, asked = Memory(), request(0, 1000)
    memory.add(asked)
    assert memory.ballot(asked, WITHIN_MS) is None
    memory.hold(vote(0, 1000, asked.source, counts=False))
    memory.hold(vote(1, 1000 + WITHIN_MS, asked.source))
    assert memory.ballot(asked, WITHIN_MS) is None, "one for no label, and one that is late by nothing"
    memory.hold(vote(2, 1000 + WITHIN_MS - 1, asked.source))
    ballot = memory.ballot(asked, WITHIN_MS)
    assert ballot is not None
    assert ballot.by.keys() == {"person 2"}


def test_votes_are_forgotten_in_their_order_up_to_a_time_that_is_included() -> None:
    memory, source = Memory(), "requests-0-0"
    held = [vote(n, at_ms, source, truth) for n, (at_ms, truth) in enumerate(((10, "a"), (20, "b"), (21, "c")))]
    memory.add(request(0, 15))
    for one in held:
        memory.hold(one)
    assert memory.forget_votes(9) == []
    assert memory.since(END).labels == 0
    assert memory.forget_votes(20) == held[:2]
    assert memory.since(END).labels == 2
    ballot = memory.ballot(memory.requests[source], WITHIN_MS)
    assert ballot is not None
    assert ballot.by.keys() == {"person 2"}
    assert memory.forget_votes(100) == held[2:]
    assert memory.since(END).labels == END.labels
    assert memory.ballot(memory.requests[source], WITHIN_MS) is None


def test_requests_are_forgotten_from_the_first_on_when_they_are_settled_over_and_not_voted_about() -> None:
    memory = Memory()
    for offset, at_ms in ((5, 10), (6, 20), (7, 30)):
        memory.add(request(offset, at_ms))
    memory.add(request(8, 12, partition=1))
    memory.forget_requests(9)
    assert memory.since(END) == Taken({"0": 5, "1": 8}, END.labels)
    memory.forget_requests(10)
    assert memory.since(END) == Taken({"0": 6, "1": 8}, END.labels)
    assert memory.requests.keys() == {"requests-0-6", "requests-0-7", "requests-1-8"}
    memory.hold(vote(0, 25, "requests-0-6"))
    memory.forget_requests(100)
    assert memory.since(END) == Taken({"0": 6, "1": END.audits["1"]}, 0), "what stands behind it is remembered as well"
    assert memory.requests.keys() == {"requests-0-6", "requests-0-7"}


def test_a_request_that_was_replaced_does_not_take_the_other_with_it() -> None:
    memory = Memory()
    memory.add(request(0, 10, "requests-0-0"))
    later = request(1, 50, "requests-0-0")
    memory.add(later)
    memory.forget_requests(10)
    assert memory.requests == {"requests-0-0": later}
    memory.forget_requests(50)
    assert memory.requests == {}


def test_of_two_records_about_one_request_in_one_closing_the_later_one_is_evidence() -> None:
    """The topic of requests was made anew between them."""
    terms = rules()
    ledger = Ledger(PIPELINE, terms, Taken({"0": 0}, 0))
    for offset, answer in enumerate(("cat", "dog")):
        ledger.take_audit(audit(offset, 1000 + offset, source=Source("requests", 0, 0), local=answer))
    ledger.take_label(label(0, 1002, "requests-0-0", "dog"))
    ledger.close(Taken({"0": 2}, 1), 1003, terms)
    told = ledger.closing(1, whole=True)
    (version,) = told.versions
    assert (told.replaced, version.drawn, version.evidence, version.error.wrong) == (1, 1, 1, 0)


def test_a_vote_about_no_drawn_request_is_counted_from_the_first_closing_on() -> None:
    terms = rules(within_ms=WITHIN_MS)
    ledger = Ledger(PIPELINE, terms, Taken({"0": 0}, 0))
    ledger.take_audit(audit(0, 1000))
    for offset, source in enumerate(("requests-0-0", "requests-0-7")):
        ledger.take_label(label(offset, 1001, source, "cat"))
    taken = Taken({"0": 1}, 2)
    ledger.close(taken, 1010, terms)
    assert ledger.closing(1, whole=True).unknown_sources == 1
    ledger.close(taken, 1001 + WITHIN_MS, terms)
    again = ledger.closing(2, whole=True)
    assert (again.unknown_sources, again.since) == (1, taken), "it is forgotten by now"
