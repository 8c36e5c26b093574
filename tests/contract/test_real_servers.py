"""What real servers answer, and what must come of it: a table of cases over a real HTTP server.

The tables are `support.server_cases` and `support.answer_cases`. A case that is known not to
be right yet must fail here, so that none stays listed that was mended.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest
from bisupervised.agents.remote.gating.news import log as news_log
from support.answer_cases import ANSWERS
from support.server_cases import CASES, NOT_YET, Case
from support.virtual_time import VirtualTimeLoop
from support.walk import MENDED_S, ODD, PATIENCE_S, TEXTS, Walk, walk

ALL = range(len(TEXTS))
#: calls after which a worker knows that every call is refused: one for each record, and as many as it stops after
A_FEW = len(TEXTS) + 5
#: seconds after which everything has its outcome, where nobody has to mend the server
SOON_S = 30.0


def played(case: Case) -> Walk:
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(patience_s=PATIENCE_S)) as runner:
        return runner.run(walk(case))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in (*CASES, *ANSWERS)])
def test_what_a_server_says_has_the_right_outcome(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, news_log.name)
    found = played(case)
    check = {
        "wait": waited,
        "slow down": slowed_down,
        "tell": told_at_last,
        "answer": answered,
        "refuse one": one_refused,
        "spoil one": one_refused,
    }[case.must]
    if case.name not in NOT_YET:
        check(case, found, caplog.records)
        return
    with pytest.raises(AssertionError):
        check(case, found, caplog.records)


def stopped_lines(lines: list[logging.LogRecord]) -> list[logging.LogRecord]:
    return [line for line in lines if line.__dict__.get("action") == "remote_stopped"]


def all_answered(found: Walk) -> None:
    assert found.reasons == {}
    assert [outcome.to for outcome in found.outcomes] == ["answers"] * len(TEXTS)
    assert [facts.source.offset for facts in found.facts] == [*ALL]


def waited(case: Case, found: Walk, lines: list[logging.LogRecord]) -> None:
    assert found.early == [], "no record has an outcome while every call is refused"
    assert found.stopped
    first = [at for at in found.calls_before if at < SOON_S / 3]
    assert len(first) <= A_FEW, "calls stop after a few"
    told = stopped_lines(lines)
    assert [line.levelno for line in told[:1]] == [logging.CRITICAL]
    assert case.says in told[0].getMessage(), "in the server's words"
    assert found.url in told[0].getMessage(), "with the address that was asked"
    all_answered(found)


def slowed_down(case: Case, found: Walk, lines: list[logging.LogRecord]) -> None:
    assert found.early == [], "no record runs out of tries while nobody succeeds"
    later = [at for at in found.calls_before if at > SOON_S / 3]
    gaps = [after - before for before, after in pairwise(later)]
    assert gaps == sorted(gaps), "calls come at growing distance"
    assert len(found.calls_before) <= 5 * len(TEXTS)
    all_answered(found)


def told_at_last(case: Case, found: Walk, lines: list[logging.LogRecord]) -> None:
    assert found.early == [], "no record runs out of tries while nobody succeeds"
    told = stopped_lines(lines)
    assert [line.levelno for line in told] == [logging.CRITICAL], "once"
    assert case.says in told[0].getMessage(), "in the server's words"
    assert found.url in told[0].getMessage(), "with the address that was asked"
    all_answered(found)


def answered(case: Case, found: Walk, lines: list[logging.LogRecord]) -> None:
    assert len(found.early) == len(TEXTS), "soon"
    assert stopped_lines(lines) == []
    all_answered(found)
    if case.first is None and case.to is None:
        verdicts = [facts.remote for facts in found.facts if facts.remote is not None]
        assert [verdict.prediction for verdict in verdicts] == [case.prediction] * len(TEXTS)
        if case.scores:
            assert {verdict.score and round(verdict.score, 3) for verdict in verdicts} <= {*case.scores}


def one_refused(case: Case, found: Walk, lines: list[logging.LogRecord]) -> None:
    assert found.reasons == {ODD: "refused" if case.must == "refuse one" else "invalid_answer"}
    assert len(found.early) == len(TEXTS), "the others are answered, and all of it soon"
    assert stopped_lines(lines) == [], "one input never stops a remote that answers others"


def test_the_names_of_the_cases_are_their_own() -> None:
    every = (*CASES, *ANSWERS)
    assert len({case.name for case in every}) == len(every)
    assert {case.name for case in CASES} >= NOT_YET
    assert MENDED_S > SOON_S
