"""The ladder, against one that is written with plain numbers, a rung and a bet at a time."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from bisupervised.agents.auditing.alarm_share import AlarmShare
from bisupervised.agents.auditing.detector import ODDS, Detector
from bisupervised.agents.auditing.ladder import ODDS_BELOW, Ladder, Loosen, State, Stay, Terms, Tighten, pairs_of
from bisupervised.agents.auditing.rungs import AtRungs, Seen, at_rungs
from bisupervised.agents.supervision.evaluation import decide
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.agents.supervision.thresholds import Rung
from support.samples import drawn

PAIRS = ((0.3, 0.2), (0.5, 0.4), (0.7, 0.6), (0.8, 0.7))
QUICK = Terms(labels_to_false_alarm=400.0, delta=0.2, epoch=200, trial=150)


def random_requests(count: int, seed: int, right: float = 0.98) -> Seen:
    rng = np.random.default_rng(seed)
    scores = rng.random((2, count))
    wrong = (rng.random((2, count)) > right).astype(float)
    scores[1, rng.random(count) < 0.01] = math.nan
    wrong[:, rng.random(count) < 0.01] = math.nan
    return Seen(scores[0], scores[1], wrong[0], wrong[1])


def at(**kinds: str) -> AtRungs:
    """By name a letter for each rung, x for true."""
    length = len(next(iter(kinds.values())))
    names = ("counts", "wrong", "unknown", "deferred", "rejected")
    return AtRungs(*(np.array([mark == "x" for mark in kinds.get(name, "." * length)]) for name in names))


@dataclass
class ByHand:
    """The same as `Ladder`, for a single stream."""

    promise: float
    terms: Terms
    rungs: int
    rung: int
    taken: int = 0
    against: list[list[float]] = field(default_factory=list)
    epochs: list[dict[str, list[float]]] = field(default_factory=list)
    alarms: int = 0
    failed: int = 0
    on_trial: bool = False
    proof: list[float] = field(default_factory=lambda: [1.0] * len(ODDS_BELOW))
    unproven: int = 0

    def anew(self) -> None:
        self.taken = 0
        self.try_anew(on_trial=False)
        self.against = [[0.0] * len(ODDS) for _ in range(self.rungs)]
        self.epochs = [self.epoch(), self.epoch()]

    def try_anew(self, *, on_trial: bool) -> None:
        self.on_trial, self.unproven, self.proof = on_trial, 0, [1.0] * len(ODDS_BELOW)

    def move(self, to: int) -> None:
        if to != self.rung:
            self.rung = to
            self.try_anew(on_trial=True)

    def epoch(self) -> dict[str, list[float]]:
        fresh: dict[str, list[float]] = {f"bet {number}": [1.0] * self.rungs for number in range(len(ODDS_BELOW))}
        return fresh | {"certified": [0.0] * self.rungs, "cost": [0.0] * self.rungs}

    def likelihood(self, ratio: float, *, wrong: bool) -> float:
        odds = self.promise / (1.0 - self.promise) * ratio
        rate = odds / (1.0 + odds)
        return rate / self.promise if wrong else (1.0 - rate) / (1.0 - self.promise)

    def take(self, request: AtRungs) -> int:
        """Where to go after one more request."""
        for number, epoch in enumerate(self.epochs):
            if self.taken % self.terms.epoch == number * (self.terms.epoch // 2):
                epoch.update(self.epoch())
        began = [self.taken >= number * (self.terms.epoch // 2) for number in range(len(self.epochs))]
        self.taken += 1
        self.try_rung(request)
        for rung in range(self.rungs):
            marks = {name: bool(getattr(request, name)[rung]) for name in AtRungs.__slots__}
            if marks["counts"]:
                self.against[rung] = [
                    min((1.0 + r) * self.likelihood(ratio, wrong=marks["wrong"]), 5 * self.terms.labels_to_false_alarm)
                    for r, ratio in zip(self.against[rung], ODDS, strict=True)
                ]
            for epoch, has_begun in zip(self.epochs, began, strict=True):
                bad = marks["wrong"] or marks["unknown"]
                total = 0.0
                for number, ratio in enumerate(ODDS_BELOW):
                    if marks["counts"] or marks["unknown"]:
                        epoch[f"bet {number}"][rung] *= self.likelihood(ratio, wrong=bad)
                    total += epoch[f"bet {number}"][rung]
                if has_begun and total / len(ODDS_BELOW) >= 2.0 / self.terms.delta:
                    epoch["certified"][rung] = 1.0
                epoch["cost"][rung] += marks["deferred"] + self.terms.rejection * marks["rejected"]
        return self.choice()

    def try_rung(self, request: AtRungs) -> None:
        if request.counts[self.rung]:
            wrong = bool(request.wrong[self.rung])
            self.unproven += 1
            bets = zip(self.proof, ODDS_BELOW, strict=True)
            self.proof = [bet * self.likelihood(ratio, wrong=wrong) for bet, ratio in bets]
        if sum(self.proof) / len(ODDS_BELOW) >= 2.0 / self.terms.delta:
            self.try_anew(on_trial=self.on_trial)

    def choice(self) -> int:
        against = [sum(bets) / len(bets) for bets in self.against]
        limit = math.sqrt(self.terms.labels_to_false_alarm)
        if against[self.rung] >= self.terms.labels_to_false_alarm:
            self.alarms += 1
            self.anew()
            fit = [rung for rung in range(self.rung + 1, self.rungs) if against[rung] < limit]
            return fit[0] if fit else self.rungs - 1
        fit = [rung for rung in range(self.rung) if self.cheaper(rung) and against[rung] < limit]
        if fit:
            return min(fit, key=lambda rung: (self.cost(rung), -rung))
        if not self.on_trial or self.unproven < self.terms.trial:
            return self.rung
        self.failed += 1
        return min(self.rung + 1, self.rungs - 1)

    def cheaper(self, rung: int) -> bool:
        return all(
            all(epoch["certified"][rung:]) and epoch["cost"][rung] <= 0.95 * epoch["cost"][self.rung]
            for epoch in self.epochs
        )

    def cost(self, rung: int) -> float:
        return sum(epoch["cost"][rung] for epoch in self.epochs)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_one_by_hand_to_the_last_bit(seed: int) -> None:
    ladder = Ladder(PAIRS, 0.2, QUICK)
    # well, much worse, well again
    blocks = [random_requests(300, seed), random_requests(200, seed + 50, right=0.5), random_requests(500, seed + 90)]
    hand = ByHand(0.2, QUICK, len(PAIRS), rung=1)
    hand.anew()
    state, moves = ladder.start(1), set()
    for block in blocks:
        every = at_rungs(PAIRS, block)
        for number in range(len(block.local_score)):
            request = every[np.array(number)]
            state, decision = ladder.after(state, request)
            if not isinstance(decision, Stay):
                state = ladder.moved(state, decision.to)
                moves.add(type(decision))
            hand.move(hand.take(request))
            assert int(state.rung) == hand.rung
            assert (bool(state.on_trial), int(state.unproven)) == (hand.on_trial, hand.unproven)
            assert state.proof.tolist() == hand.proof
            assert state.against.tolist() == hand.against
            assert state.below[0].T.tolist() == [hand.epochs[0][f"bet {bet}"] for bet in range(len(ODDS_BELOW))]
    assert hand.alarms
    assert moves == {Tighten, Loosen}


def test_many_streams_are_the_same_as_one_after_the_other() -> None:
    ladder = Ladder(PAIRS, 0.2, QUICK)
    streams = [at_rungs(PAIRS, random_requests(400, seed, right=0.95 - 0.07 * seed)) for seed in range(5)]
    together = ladder.start(1, streams=5)
    alone = [ladder.start(1) for _ in streams]
    for number in range(400):
        requests = [stream[np.array(number)] for stream in streams]
        together, _, to = ladder.step(
            together, AtRungs(*(np.stack([getattr(one, name) for one in requests]) for name in AtRungs.__slots__))
        )
        together = ladder.moved(together, to)
        for stream, request in enumerate(requests):
            state, decision = ladder.after(alone[stream], request)
            alone[stream] = state if isinstance(decision, Stay) else ladder.moved(state, decision.to)
    assert len(set(together.rung.tolist())) > 1, "the streams went different ways"
    for name in State.__slots__:
        assert np.array_equal(getattr(together, name), np.stack([getattr(state, name) for state in alone])), name


def test_it_goes_on_from_a_document_as_if_nothing_had_been() -> None:
    ladder = Ladder(PAIRS, 0.2, QUICK)
    every = at_rungs(PAIRS, random_requests(300, 3))
    state = kept = ladder.start(2)
    for number in range(300):
        state, _ = ladder.after(state, every[np.array(number)])
        kept, _ = ladder.after(State.restored(json.loads(json.dumps(kept.document()))), every[np.array(number)])
    assert kept.document() == state.document()


def test_the_alarm_is_that_of_the_detector() -> None:
    ladder, detector = Ladder(PAIRS[:1], 0.1), Detector(0.1)
    state, log_r, alarms = ladder.start(0), detector.fresh(), 0
    for wrong in np.random.default_rng(0).random(3000) < 0.2:
        state, decision = ladder.after(state, at(counts="x", wrong="x" if wrong else "."))
        log_r = detector.after(log_r, wrong)
        rings = bool(detector.alarms(log_r))
        assert decision == Stay(alarm=rings), "the only rung is the strictest: it rings, and stays"
        log_r = detector.fresh() if rings else log_r
        alarms += rings
    assert alarms > 3


def until_it_moves(ladder: Ladder, state: State, request: AtRungs, most: int = 2000) -> Tighten | Loosen | None:
    for _ in range(most):
        state, decision = ladder.after(state, request)
        if isinstance(decision, Tighten | Loosen):
            return decision
    return None


def test_it_tightens_to_the_laxest_rung_that_is_not_doubted_itself() -> None:
    ladder = Ladder(PAIRS, 0.1)
    found = until_it_moves(ladder, ladder.start(0), at(counts="xxxx", wrong="xx.."))
    assert isinstance(found, Tighten)
    assert found.to == 2
    assert found.evidence.against_here >= 10_000 > 100 > found.evidence.against_there
    assert "10.00% of the trusted answers wrong" in found.why
    everywhere = until_it_moves(ladder, ladder.start(0), at(counts="xxxx", wrong="xxxx"))
    assert isinstance(everywhere, Tighten)
    assert everywhere.to == 3, "where all are doubted, the strictest"


def test_evidence_begins_anew_after_an_alarm() -> None:
    ladder = Ladder(PAIRS, 0.1)
    state, taken = ladder.start(0), 0
    while True:
        state, decision = ladder.after(state, at(counts="xxxx", wrong="xx.."))
        taken += 1
        if isinstance(decision, Tighten):
            break
    assert decision.evidence.requests == taken
    fresh = ladder.start(0)
    assert int(state.rung) == 0, "it says where to go, and goes nowhere by itself"
    assert state.document() == fresh.document()


CHEAPER = {"counts": "xxxx", "deferred": "..xx"}


def test_it_loosens_to_the_cheapest_rung_that_is_certified_with_all_stricter_ones() -> None:
    ladder = Ladder(PAIRS, 0.2)
    found = until_it_moves(ladder, ladder.start(3), at(**CHEAPER))
    assert isinstance(found, Loosen)
    assert found.to == 1, "of two rungs that cost the same the stricter"
    assert (found.evidence.calls_here, found.evidence.calls_there) == (1.0, 0.0)
    assert "cheaper" in found.why


@pytest.mark.parametrize("fault", ["wrong", "unknown"])
def test_a_stricter_rung_without_a_certificate_ends_the_row(fault: str) -> None:
    ladder = Ladder(PAIRS, 0.2)
    good, bad = at(**CHEAPER), at(**(CHEAPER | {fault: "...x"}))
    state, moved = ladder.start(2), False
    for number in range(2000):
        state, decision = ladder.after(state, bad if number % 5 == 0 else good)
        moved |= isinstance(decision, Loosen)
    assert not moved, "a fifth of the strictest one's answers are wrong, or may be"
    assert state.certified[:, :3].all(), "though the others are certified"
    assert ladder.cheapest(state) is None


def test_one_lucky_beginning_loosens_nothing() -> None:
    ladder = Ladder(PAIRS, 0.2)
    state = ladder.start(3)
    for _ in range(500):
        state, decision = ladder.after(state, at(**CHEAPER))
        assert decision == Stay()
    assert state.certified.tolist() == [[True] * 4, [False] * 4], "the second epoch begins half an epoch later"
    assert isinstance(until_it_moves(ladder, state, at(**CHEAPER), most=100), Loosen)


# a rung that labels chose


def at_the_promise(ladder: Ladder, state: State, labels: int) -> list[Tighten | Loosen]:
    """One answer in ten is wrong at the two laxest rungs."""
    found = []
    for number in range(labels):
        state, decision = ladder.after(state, at(counts="xxxx", wrong="xx.." if number % 10 == 9 else "...."))
        found += [decision] if isinstance(decision, Tighten | Loosen) else []
    return found


def test_a_rung_that_labels_chose_and_do_not_certify_is_left() -> None:
    ladder = Ladder(PAIRS, 0.1, Terms(saving=0.99))
    chosen = ladder.moved(ladder.start(3), 0)
    assert at_the_promise(ladder, chosen, 1_999) == []
    [found] = at_the_promise(ladder, chosen, 2_000)
    assert isinstance(found, Tighten)
    assert found.to == 1, "the next one"
    assert not found.alarm
    assert found.evidence.against_here < 10_000
    assert "the last 2,000 labels do not show that this holds" in found.why


@pytest.mark.parametrize("moved", [False, True])
def test_what_a_calibration_or_a_person_chose_is_on_no_trial(moved: bool) -> None:
    ladder = Ladder(PAIRS, 0.1, Terms(saving=0.99))
    state = ladder.moved(ladder.start(2), 0, by_labels=False) if moved else ladder.start(0)
    assert at_the_promise(ladder, state, 2_500) == []


def test_a_certificate_begins_the_trial_anew() -> None:
    ladder = Ladder(PAIRS, 0.1, Terms(saving=0.99, trial=400))
    state = ladder.moved(ladder.start(3), 0)
    for number in range(2_000):
        state, decision = ladder.after(state, at(counts="xxxx", wrong="xx.." if number % 50 == 49 else "...."))
        assert decision == Stay()
    assert int(state.unproven) < 200


def test_missing_labels_fail_no_trial() -> None:
    ladder = Ladder(PAIRS, 0.1, Terms(trial=100))
    state = ladder.moved(ladder.start(3), 1)
    for _ in range(1_000):
        state, decision = ladder.after(state, at(unknown="xxxx"))
        assert decision == Stay()


def test_a_small_saving_is_told_and_no_reason_to_move() -> None:
    ladder = Ladder(PAIRS, 0.2)
    dear, cheap = at(counts="xxxx", deferred="xxxx"), at(counts="xxxx", deferred="..xx")
    state = ladder.start(3)
    for number in range(900):
        state, decision = ladder.after(state, cheap if number % 25 == 24 else dear)
        assert decision == Stay()
    told = ladder.cheapest(state)
    assert told is not None
    to, evidence = told
    assert to == 1
    assert evidence.calls_here == 1.0
    assert evidence.calls_there == pytest.approx(0.96)


def test_what_is_unknown_raises_no_alarm_and_loosens_nothing() -> None:
    ladder = Ladder(PAIRS, 0.1)
    state = ladder.start(2)
    for _ in range(3000):
        state, decision = ladder.after(state, at(unknown="xxxx", deferred="..xx"))
        assert decision == Stay()
    assert not state.against.any()
    assert not state.certified.any()


def test_certificates_are_void_after_their_epoch() -> None:
    ladder = Ladder(PAIRS, 0.2, replace(QUICK, saving=0.99))
    state = ladder.start(3)
    for _ in range(200):
        state, _ = ladder.after(state, at(counts="xxxx", deferred="xxxx"))
    assert state.certified.all()
    for _ in range(201):
        state, _ = ladder.after(state, at(deferred="xxxx", rejected="xxxx"))
    assert not state.certified.any(), "nothing was trusted in the last epoch"


# what a request says at the rungs


def test_every_rung_sees_what_an_evaluation_would() -> None:
    sample = drawn(300, 0)
    seen = Seen(
        sample.local.scores,
        sample.remote.scores,
        (~sample.local.correct).astype(float),
        (~sample.remote.correct).astype(float),
    )
    every = at_rungs(PAIRS, seen)
    assert not every.unknown.any()
    for number, (local, remote) in enumerate(PAIRS):
        made = decide(sample, Supervisor("", local), Supervisor("", remote))
        right = sample.local.correct & made.by_local | sample.remote.correct & made.by_remote
        assert np.array_equal(every.counts[:, number], ~made.rejected)
        assert np.array_equal(every.wrong[:, number], ~made.rejected & ~right)
        assert np.array_equal(every.deferred[:, number], ~made.by_local)
        assert np.array_equal(every.rejected[:, number], made.rejected)


def letters(request: AtRungs) -> dict[str, str]:
    return {
        name: "".join(".x"[int(mark)] for mark in getattr(request, name))
        for name in AtRungs.__slots__
        if getattr(request, name).any()
    }


def test_a_trusted_request_without_a_shadow_tells_nothing_about_stricter_rungs() -> None:
    found = at_rungs(PAIRS, Seen.one(0.6, None, local_right=False, remote_right=None))
    assert letters(found) == {"counts": "xx..", "wrong": "xx..", "unknown": "..xx", "deferred": "..xx"}


def test_a_late_label_is_unknown_where_an_answer_would_have_been_trusted() -> None:
    found = at_rungs(PAIRS, Seen.one(0.6, 0.65, local_right=None, remote_right=None))
    assert letters(found) == {"unknown": "xxx.", "deferred": "..xx", "rejected": "...x"}


def test_a_model_that_failed_is_trusted_nowhere() -> None:
    remote = at_rungs(PAIRS, Seen.one(0.6, -math.inf, local_right=True, remote_right=None))
    assert letters(remote) == {"counts": "xx..", "deferred": "..xx", "rejected": "..xx"}
    local = at_rungs(PAIRS, Seen.one(None, 0.5, local_right=None, remote_right=True))
    assert letters(local) == {"counts": "xx..", "deferred": "xxxx", "rejected": "..xx"}


# what cannot be


def test_faults_are_told() -> None:
    with pytest.raises(ValueError, match="at least one rung"):
        Ladder((), 0.1)
    with pytest.raises(ValueError, match="a promise lies between"):
        Ladder(PAIRS, 1.0)
    with pytest.raises(ValueError, match="the rungs 0 to 3, and not 4"):
        Ladder(PAIRS, 0.1).start(4)
    with pytest.raises(ValueError, match="the rungs 0 to 3, and not -1"):
        Ladder(PAIRS, 0.1).moved(Ladder(PAIRS, 0.1).start(0), -1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels_to_false_alarm", 1.0),
        ("delta", 0.0),
        ("delta", 1.0),
        ("epoch", 1),
        ("saving", 1.0),
        ("rejection", -1.0),
    ],
)
def test_terms_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"between|at least"):
        Terms(**{name: value})  # type: ignore[arg-type]  # an int for the epoch, a float for the others


def test_the_pairs_of_a_thresholds_file() -> None:
    assert pairs_of([Rung(0.3, 0.2, 0.1, None, None, None)]) == ((0.3, 0.2),)


# the share after an alarm


def test_a_raise_lasts_for_its_time_or_its_labels_and_no_other_begins_meanwhile() -> None:
    share = AlarmShare(1000, 10)
    assert [share.begun_ms(times) for times in ([], [500], [500, 1499], [500, 1500], [500, 1499, 1600])] == [
        0,
        500,
        500,
        1500,
        1600,
    ]
    assert [share.is_over(500, *now) for now in ((9, 1499), (10, 501), (0, 1500))] == [False, True, True]
    assert [share.may_rise(500, *now) for now in ((9, 501), (10, 501), (10, 1500))] == [True, False, True]
    assert share.may_rise(0, 0, 1)


@pytest.mark.parametrize(("within_ms", "labels"), [(0, 1), (1, 0)])
def test_limits_that_cannot_be_are_refused(within_ms: int, labels: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        AlarmShare(within_ms, labels)
