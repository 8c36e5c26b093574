"""Audited requests on their way to the ladder: which, in which order, and what they say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from bisupervised.agents.auditing.ascent import Ascent, Climber, climber_of, restored
from bisupervised.agents.auditing.drawn import Drawn, Rights
from bisupervised.agents.auditing.ladder import Ladder, Loosen, State, Terms, Tighten
from bisupervised.agents.auditing.rungs import Seen, at_rungs
from bisupervised.agents.remote_supervisor import RemoteSupervisor
from bisupervised.agents.supervision.arbitration import estimate_recording, judged
from bisupervised.agents.supervision.joint import fit_joint
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.audits import Audit
from bisupervised.schemas.codec import encode_facts
from bisupervised.schemas.records import FACTS_HEADER, Facts, Judged, Source, Verdict
from support.records import Record
from support.two_models import two_models

PAIRS = ((0.3, 0.2), (0.5, 0.4), (0.7, 0.6), (0.8, 0.7))
LADDER = Ladder(PAIRS, 0.1, Terms(labels_to_false_alarm=400.0, delta=0.2, epoch=200))
WITHIN_MS = 1000
OURS = {"made", "1-rung-2-x"}


def drawn(number: int, at_ms: int | None = None, *, missing: bool = False) -> Drawn:
    at_ms = 10 * number if at_ms is None else at_ms
    return Drawn(f"requests-0-{number}", at_ms, "trusted", ("cat",), ("cat",), "local", missing=missing)


def climber(number: int, partition: int = 0, *, version: str = "made", at_ms: int | None = None) -> Climber:
    return Climber(drawn(number, at_ms), partition, number, (version,), 0.6, 0.9)


def climb(ascent: Ascent, rights: Mapping[str, Rights], at_ms: int = 0, rung: int = 2) -> Tighten | Loosen | None:
    def judge(one: Climber, _late: bool) -> Rights | None:  # as the ascent calls it
        return rights.get(one.drawn.source)

    return ascent.settle(judge, at_ms, WITHIN_MS, rung=rung, versions=OURS)


def fresh(rung: int = 2) -> Ascent:
    return Ascent(LADDER, LADDER.start(rung))


def same(one: State, other: State) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in State.__slots__)


def test_requests_wait_for_those_before_them_over_all_partitions_and_versions() -> None:
    ascent = fresh()
    for number, partition in ((0, 1), (1, 0), (2, 1), (3, 0)):
        ascent.add(climber(number, partition, version=("made", "1-rung-2-x")[partition]))
    right = (True, True)
    climb(ascent, {"requests-0-1": right, "requests-0-2": right, "requests-0-3": right})
    assert int(ascent.state.taken) == 0, "the first is waited for"
    assert ascent.open_from == {"0": 1, "1": 0}
    climb(ascent, {"requests-0-0": right, "requests-0-1": right, "requests-0-3": right})
    assert (int(ascent.state.taken), ascent.open_from) == (2, {"0": 3, "1": 2})
    climb(ascent, {"requests-0-3": right}, at_ms=20 + WITHIN_MS)
    assert (int(ascent.state.taken), ascent.open_from) == (4, {})


def test_what_is_late_or_was_too_large_is_unknown_and_loosens_nothing() -> None:
    ascent = fresh()
    ascent.add(climber(0))
    ascent.add(Climber(drawn(1, missing=True), 0, 1, ("made",), 0.6, 0.9))
    climb(ascent, {"requests-0-1": (True, True)}, at_ms=WITHIN_MS)
    expected = LADDER.start(2)
    unknown = at_rungs(PAIRS, Seen.one(0.6, 0.9, local_right=None, remote_right=None))
    for _ in range(2):
        expected, _ = LADDER.after(expected, unknown)
    assert same(ascent.state, expected)


def test_requests_of_other_files_are_no_evidence() -> None:
    ascent = fresh()
    ascent.add(climber(0, version="of another file"))
    ascent.add(Climber(drawn(1), 0, 1, ("made", "of another file"), 0.6, 0.9))
    ascent.add(climber(2))
    climb(ascent, {f"requests-0-{number}": (False, True) for number in range(3)})
    assert int(ascent.state.taken) == 1
    assert ascent.open_from == {}


@pytest.mark.parametrize("seed", range(5))
def test_it_says_the_same_however_closings_cut_it(seed: int) -> None:
    """As long as no decision moves the rung: the same requests, votes and last closing."""
    rng = np.random.default_rng(seed)
    climbers = [climber(number, int(rng.integers(3)), at_ms=int(rng.integers(2000))) for number in range(200)]
    climbers.sort(key=lambda one: one.order)
    rights: dict[str, Rights] = {
        one.drawn.source: (bool(rng.random() < 0.9), bool(rng.random() < 0.95))
        for one in climbers
        if rng.random() < 0.9
    }
    whole, parts = fresh(), fresh()
    for one in climbers:
        whole.add(one)
    climb(whole, rights, at_ms=2500)
    for begin in range(0, 200, 17):
        for one in climbers[begin : begin + 17]:
            parts.add(one)
        at_ms = climbers[min(begin + 16, 199)].drawn.at_ms  # no label of a later one can be late by then
        climb(parts, rights, at_ms=at_ms)
    climb(parts, rights, at_ms=2500)
    assert same(whole.state, parts.state)
    assert whole.open_from == parts.open_from


def test_many_wrong_ones_tighten_once_and_evidence_begins_anew() -> None:
    ascent = fresh(0)
    wrong = {f"requests-0-{number}": (False, True) for number in range(60)}
    decision, number = None, 0
    while decision is None:
        ascent.add(climber(number))
        decision = climb(ascent, wrong, rung=0)
        number += 1
    assert isinstance(decision, Tighten)
    assert decision.to == 2, "the local score of 0.6 is trusted by the two laxest"
    assert decision.evidence.requests == number
    assert int(ascent.state.taken) == 0
    ascent.add(climber(number))
    assert climb(ascent, wrong, rung=2) is None
    assert int(ascent.state.rung) == 2


def test_a_state_comes_back_from_its_document() -> None:
    ascent = fresh()
    for number in range(20):
        ascent.add(climber(number))
    climb(ascent, {f"requests-0-{number}": (number % 3 > 0, True) for number in range(20)})
    again = restored(LADDER, ascent.state.document())
    assert same(again.state, ascent.state)


LOCAL = Verdict("cat", 0.6, 0.8, supervisor="max_softmax")


@pytest.mark.parametrize(
    ("remote", "score"),
    [
        (None, None),
        (Verdict(None, None, cost=1.0), None),  # the call failed: nobody knows what it would have said
        (Verdict("cat", None), -math.inf),
        (Verdict("cat", 0.7), 0.7),
    ],
)
def test_what_a_record_of_audits_says(remote: Verdict | None, score: float | None) -> None:
    facts = Facts(Source("requests", 0, 7), local=LOCAL, remote=remote, thresholds="made")
    found = climber_of(Audit("shop", "trusted", 0.1), facts, drawn(7), (1, 3))
    assert found is not None
    assert (found.local_score, found.remote_score, found.versions) == (0.6, score, ("made",))
    assert found.order == (70, 1, 3)


@pytest.mark.parametrize(
    ("judged", "score", "takes_local"),
    [
        (Judged(0.4), 0.4, False),
        (Judged(0.6, local=True), 0.6, True),
        (Judged(None), -math.inf, False),  # the local model gave no score: no rung trusts the remote's answer
        (None, None, False),  # of a worker that said no joint score
    ],
)
def test_the_joint_score_is_what_the_audit_says(judged: Judged | None, score: float | None, takes_local: bool) -> None:
    facts = Facts(
        Source("requests", 0, 7), local=LOCAL, remote=Verdict("dog", 0.9, supervisor="joint"), thresholds="made"
    )
    found = climber_of(Audit("shop", "rejected", 0.1, judged=judged), facts, drawn(7), (1, 3))
    assert found is not None
    assert (found.remote_score, found.takes_local) == (score, takes_local)


@pytest.mark.parametrize(("name", "arbitration"), [("joint", False), ("joint", True), ("max_softmax", True)])
def test_with_a_joint_model_every_rung_sees_what_it_would_have_decided(name: str, arbitration: bool) -> None:
    """Whatever judged: the evidence is that of the recording as the second supervisor sees it, to the last bit."""
    model, recorded = fit_joint(two_models(600, seed=1)), two_models(300)
    seen = judged(recorded, estimate_recording(model, recorded), joint=name == "joint", arbitration=arbitration)
    quantiles = (0.1, 0.3, 0.5, 0.7)
    pairs = tuple(
        (float(np.quantile(recorded.local.scores, share)), float(np.quantile(seen.remote.scores, share)))
        for share in quantiles
    )
    ladder = Ladder(pairs, 0.2, LADDER.terms)
    ascent, expected = Ascent(ladder, ladder.start(1)), ladder.start(1)
    supervisor = RemoteSupervisor(
        Supervisor(name, pairs[1][1]), thresholds_version="made", joint=model, arbitration=arbitration
    )
    rights: dict[str, Rights] = {}
    for n in range(len(recorded)):
        local, remote = (
            Verdict(int(side.predictions[n]), float(side.scores[n]))  # type: ignore[index]  # they are known
            for side in (recorded.local, recorded.remote)
        )
        verdict, said = supervisor.judged(local, remote)
        facts = Facts(Source("requests", 0, n), local=local, remote=verdict, thresholds="made")
        (outcome,) = supervisor.judge([Record(b"1", n, "answers", headers=forwarded(facts))])
        assert outcome.judged == said, "a shadow says what an answer says that is waited for"
        found = climber_of(Audit("shop", "rejected", 1.0, judged=said), facts, drawn(n), (0, n))
        assert found is not None
        ascent.add(found)
        right = bool(recorded.local.correct[n]), bool(recorded.remote.correct[n])
        rights[f"requests-0-{n}"] = right
        at = Seen.one(
            local.score,
            float(seen.remote.scores[n]),
            local_right=right[0],
            remote_right=bool(seen.remote.correct[n]),
        )
        expected, _ = ladder.after(expected, at_rungs(pairs, at))
    climb(ascent, rights, rung=1)
    assert same(ascent.state, expected)


def forwarded(facts: Facts) -> list[tuple[str, bytes]]:
    return [(FACTS_HEADER, encode_facts(facts))]


def test_who_says_nothing_of_the_ladder() -> None:
    def made(audit: Audit, **known: Any) -> Climber | None:
        return climber_of(audit, Facts(Source("requests", 0, 7), **known), drawn(7), (0, 0))

    assert made(Audit("shop", "trusted", 0.1, label=False), thresholds="made") is None
    assert made(Audit("shop", "failed", 0.1)) is None, "no thresholds judged it"
    both = made(Audit("shop", "rejected", 0.1), local=Verdict("cat", 0.6, thresholds="made"), thresholds="1-rung-2-x")
    assert both is not None
    assert both.versions == ("made", "1-rung-2-x")
