"""What labels of drawn requests say, and in which order they are taken in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bisupervised.agents.auditing.detector import Detector
from bisupervised.agents.auditing.drawn import Drawn, judged, speaks_against
from bisupervised.agents.auditing.interval import interval
from bisupervised.agents.auditing.ledger.ledger import Ledger, Rules
from bisupervised.agents.auditing.matching import exact, matching, normalised
from bisupervised.agents.auditing.votes import Ballot
from bisupervised.schemas.audits import Label
from bisupervised.schemas.closings import PromiseTold, Taken, VersionTold
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.schemas.records import Source
from support import audited
from support.records import Record

HOUR_MS = 3_600_000
NOW_MS = 1000 * HOUR_MS
WITHIN_MS = 24 * HOUR_MS
RULES = audited.rules(WITHIN_MS)


def drawn(number: int, **changed: Any) -> Drawn:
    """A trusted local answer "cat", an hour old."""
    made: dict[str, Any] = {"ended": "trusted", "local": ("cat",), "remote": None, "answered_by": "local"}
    return Drawn(f"requests-0-{number}", **({"at_ms": NOW_MS - HOUR_MS} | made | changed))


def rejected(number: int) -> Drawn:
    return drawn(number, ended="rejected", remote=("dog",), answered_by=None)


def labelled(*truths: str | None) -> dict[str, Ballot]:
    """By one person; None: not yet."""
    found = {}
    for number, truth in enumerate(truths):
        if truth is not None:
            found[f"requests-0-{number}"] = Ballot({"ann": b'"%b"' % truth.encode()})
    return found


def label(by: str, truth: str | None, **changed: bool) -> Label:
    return Label("requests-0-0", truth, by, **changed)


def made(requests: list[Drawn], ballots: dict[str, Ballot], rules: Rules = RULES, now_ms: int = NOW_MS) -> VersionTold:
    """What a ledger says of these requests, whose votes came in time, when it closes."""
    ledger = Ledger(audited.PIPELINE, rules, Taken({"0": 0}, 0))
    for offset, one in enumerate(requests):
        ledger.take_audit(_record(offset, one))
    for record in sorted(_votes(requests, ballots), key=lambda record: record.timestamp):
        ledger.take_label(record)
    ledger.close(Taken({"0": len(requests)}, len(ballots)), now_ms, rules)
    (told,) = ledger.told()
    return told


def _record(offset: int, one: Drawn) -> Record:
    return audited.audit(
        offset,
        one.at_ms,
        source=Source("requests", 0, int(one.source.rpartition("-")[2])),
        ended=one.ended,
        by=one.answered_by,
        local=one.local and one.local[0],
        remote=one.remote and one.remote[0],
        missing="too large" if one.missing else "",
        label=one.label,
    )


def _votes(requests: list[Drawn], ballots: dict[str, Ballot]) -> list[Record]:
    return [
        audited.label(0, one.at_ms + 1, one.source, json.loads(truth), by, second_look=by in ballot.unsure)
        for one in requests
        if (ballot := ballots.get(one.source)) is not None
        for by, truth in ballot.by.items()
    ]


def test_the_shares_are_those_of_the_promises() -> None:
    remote = drawn(2, remote=("dog",), answered_by="remote")
    requests = [
        drawn(0),
        drawn(1),
        remote,
        rejected(3),
        rejected(4),
        drawn(5, ended="failed", local=None, answered_by=None),
    ]
    found = made(requests, labelled("cat", "dog", "dog", "dog", "cat", "cat"))
    assert (found.error.wrong, found.error.labels) == (1, 3)  # one trusted local answer of two, and a right remote one
    assert (found.false_positive_rate.wrong, found.false_positive_rate.labels) == (1, 3)  # the remote was right once
    assert (found.local_error.wrong, found.local_error.labels) == (3, 5)
    assert (found.remote_error.wrong, found.remote_error.labels) == (1, 3)
    assert (found.error.lower, found.error.upper) == interval(1, 3)
    assert (found.drawn, found.labelled, found.evidence, found.outstanding, found.late) == (6, 6, 6, 0, 0)


def test_what_is_accepted_without_trust_is_outside_the_promise() -> None:
    found = made([drawn(0, ended="accepted")], labelled("dog"))
    assert (found.error.labels, found.false_positive_rate.labels, found.local_error.wrong) == (0, 0, 1)
    assert found.error.value is None


def test_a_request_waits_for_those_before_it() -> None:
    """Labels that come soon say nothing before those that take longer have come."""
    requests = [drawn(n) for n in range(4)]
    found = made(requests, labelled("cat", None, "dog", "dog"))
    assert (found.labelled, found.evidence, found.outstanding) == (3, 1, 1)
    assert (found.error.wrong, found.error.labels) == (0, 1)
    assert made(requests, labelled("cat", "cat", "dog", "dog")).error.wrong == 2


def test_what_is_late_is_waited_for_no_longer() -> None:
    requests = [drawn(0, at_ms=NOW_MS - WITHIN_MS), drawn(1), drawn(2)]
    found = made(requests, labelled(None, "dog", "cat"))
    assert (found.late, found.evidence, found.error.wrong) == (1, 2, 1)
    assert found.labels_late  # one of three
    assert made(requests, labelled(None, "dog", "cat"), now_ms=NOW_MS - HOUR_MS).late == 0


def test_a_label_that_came_in_time_counts_however_late_somebody_closes() -> None:
    requests = [drawn(0, at_ms=0)]
    assert made(requests, labelled("cat")).evidence == 1


def test_a_record_that_was_too_large_is_missing_and_holds_nobody_up() -> None:
    found = made([drawn(0, missing=True), drawn(1)], labelled("dog", "cat"))
    assert (found.missing, found.labelled, found.evidence, found.error.wrong) == (1, 1, 1, 0)


def test_a_tie_is_no_label() -> None:
    ballots = labelled("cat")
    ballots["requests-0-0"].take(label("bob", "dog"))
    found = made([drawn(0)], ballots)
    assert (found.labelled, found.outstanding, found.disputed) == (0, 1, 1)
    ballots["requests-0-0"].take(label("eve", "dog"))
    assert made([drawn(0)], ballots).error.wrong == 1
    ballots["requests-0-0"].take(label("bob", "cat"))  # the last vote of a person counts
    assert made([drawn(0)], ballots).error.wrong == 0


def test_the_alarm_comes_by_the_labels_of_its_promise_and_begins_anew() -> None:
    promises = (PromiseTold("error", 0.1), PromiseTold("false_positive_rate", 0.1))
    rules = audited.rules(WITHIN_MS, promises=promises, labels_to_false_alarm=1000.0)
    requests = [drawn(n) for n in range(60)]
    found = made(requests, labelled(*["dog"] * 60), rules)
    error, other = found.alarms
    detector = Detector(0.1, 1000.0)
    log_r, first = detector.fresh(), 0
    while not detector.alarms(log_r := detector.after(log_r, wrong=True)):
        first += 1
    raised = range(first, 60, first + 1)
    assert (error.raised, error.last) == (len(raised), f"requests-0-{raised[-1]}")
    assert error.level < 1
    assert (other.raised, other.level) == (0, 0.0)
    assert made(requests, labelled(*["cat"] * 60), rules).alarms[0].raised == 0


def test_outstanding_labels_never_raise_it() -> None:
    found = made([drawn(n) for n in range(100)], {})
    assert found.alarms[0].raised == 0
    assert found.outstanding == 100


@pytest.mark.parametrize(
    ("prediction", "truth", "same", "alike"),
    [
        ("cat", "cat", True, True),
        (3, "3", True, True),
        (3.0, "3", True, True),
        ("Cat.", "cat", False, True),
        ("  the   CAT ", "The cat!", False, True),
        ("cat", "dog", False, False),
        ("?", "!", False, False),
        (["a"], ["a"], True, True),
        ("", "cat", False, False),
    ],
)
def test_when_an_answer_is_the_right_one(prediction: Any, truth: Any, same: bool, alike: bool) -> None:
    assert (exact(prediction, truth), normalised(prediction, truth)) == (same, alike)


def test_ones_own_comparison() -> None:
    assert matching("operator:eq")(1, 1)
    assert not matching("operator:eq")(1, 2)
    for name in ("operator:nothing", "no_such_module:f", "math:pi"):
        with pytest.raises(ConfigurationError, match=r"\[audit\] matches"):
            matching(name)


def test_nothing_is_decided_without_votes() -> None:
    assert judged(drawn(0), None, exact) is None
    assert judged(drawn(0), Ballot(), exact) is None
    taken_back = Ballot()
    taken_back.take(label("ann", "dog", second_look=True))
    taken_back.take(label("ann", None, withdrawn=True))
    assert judged(drawn(0), taken_back, exact) is None
    assert not taken_back.wants_second
    assert made([drawn(0)], {"requests-0-0": taken_back}).disputed == 0


def test_who_disagree_in_words_agree_that_an_answer_is_wrong() -> None:
    ballot = Ballot()
    ballot.take(label("ann", "dog"))
    ballot.take(label("bob", "a dog"))
    assert judged(drawn(0), ballot, exact) == (False, None)
    assert judged(drawn(0, remote=("dog",)), ballot, exact) is None, "of the remote answer they say another thing"


@pytest.mark.parametrize(
    ("request_", "against", "other"),
    [
        (drawn(0), "dog", "cat"),
        (rejected(0), "dog", "cat"),
        (drawn(0, remote=("dog",), answered_by="remote"), "cat", "dog"),
    ],
)
def test_a_vote_against_the_promise_waits_for_a_second_person(request_: Drawn, against: str, other: str) -> None:
    ballot = Ballot()
    ballot.take(label("ann", other, second_look=True))
    assert judged(request_, ballot, exact) is not None, "a vote for it does not"
    ballot.take(label("ann", against, second_look=True))
    assert judged(request_, ballot, exact) is None
    found = made([request_], {"requests-0-0": ballot})
    assert (found.outstanding, found.disputed) == (1, 1)
    ballot.take(label("bob", other, second_look=True))
    assert judged(request_, ballot, exact) is None, "two who differ"
    found = made([request_], {"requests-0-0": ballot})
    assert (found.outstanding, found.disputed) == (1, 1)
    ballot.take(label("eve", against, second_look=True))
    decided = judged(request_, ballot, exact)
    assert decided is not None
    assert speaks_against(request_, decided)
    ballot.take(label("eve", other, second_look=True))
    decided = judged(request_, ballot, exact)
    assert decided is not None
    assert not speaks_against(request_, decided)


def test_a_vote_that_asks_for_no_second_look_counts_at_once() -> None:
    assert made([drawn(0)], labelled("dog")).error.wrong == 1


def test_a_lone_vote_counts_when_nobody_looked_in_time() -> None:
    """If it were late, wrong answers would be left out, and right ones would not."""
    ballot = Ballot()
    ballot.take(label("ann", "dog", second_look=True))
    found = made([drawn(0, at_ms=0)], {"requests-0-0": ballot})
    assert (found.labelled, found.late, found.error.wrong) == (1, 0, 1)


def test_a_request_that_was_drawn_for_both_answers_alone_wants_no_label_and_takes_none() -> None:
    requests = [drawn(0), drawn(1, label=False), drawn(2)]
    found = made(requests, labelled("cat", "dog", None))
    assert (found.drawn, found.wanted, found.labelled, found.outstanding) == (3, 2, 1, 1)
    assert (found.error.wrong, found.error.labels) == (0, 1)
