"""The auditor chooses versions: once for each closing, and whoever takes over or reckons again finds the same."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from bisupervised.agents.auditing.alarm_share import AlarmShare
from bisupervised.agents.auditing.ladder import Evidence, Tighten
from bisupervised.agents.auditing.ledger.ascending import Moment
from bisupervised.agents.auditing.ledger.ledger import Ledger, Rules, resumed
from bisupervised.schemas.audits import Audit, audit_record
from bisupervised.schemas.closings import (
    AlarmShareTold,
    Closing,
    LadderTerms,
    Taken,
    decode_closing,
    encode_closing,
)
from bisupervised.schemas.records import Facts, Source, Verdict
from bisupervised.schemas.versions import Reason, ThresholdsEntry, is_raised
from bisupervised.streams.auditor.choosing import chosen_of, entry_of
from bisupervised.streams.auditor.taking_over import fold
from support.audited import PIPELINE, label, rules
from support.records import Record
from support.versions import LADDER, PAIRS, chosen

TERMS = LadderTerms(
    digest=LADDER.digest,
    version=LADDER.version,
    start=LADDER.start,
    rungs=tuple((local, remote) for local, remote, _ in PAIRS),
    model=LADDER.model,
    score=LADDER.score,
    promise=0.1,
    delta=0.2,
    tightens=True,
)
BEGIN = Taken({"0": 0}, 0)


def made_for(ladder: LadderTerms, labels_to_false_alarm: float = 100.0) -> Rules:
    """By default an alarm after few labels."""
    known = rules(1000)
    return Rules(
        msgspec.structs.replace(known.terms, labels_to_false_alarm=labels_to_false_alarm, ladder=ladder), known.matches
    )


RULES = made_for(TERMS)


def raising(within_ms: int = 10_000, labels: int = 30) -> Rules:
    """By default for long, and for few labels."""
    share = AlarmShareTold(0.5, within_ms, labels)
    return Rules(msgspec.structs.replace(RULES.terms, alarm_share=share), RULES.matches)


@dataclass
class World:
    """Three topics, and an auditor that lives through all of it."""

    rules: Rules = RULES
    audits: list[Record] = field(default_factory=list)
    labels: list[Record] = field(default_factory=list)
    versions: list[ThresholdsEntry] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)
    now_ms: int = 10_000
    read: Taken = BEGIN

    def __post_init__(self) -> None:
        self.ledger = Ledger(PIPELINE, self.rules, BEGIN)
        self._append()

    @property
    def standing(self) -> Any:
        return chosen_of(self.versions, len(self.versions), PIPELINE, self.rules)

    def ends(self, *, wrong: bool, local: float = 0.75, remote: float = 0.75, vote: bool = True) -> None:
        """A request ends, judged by the version in force, and somebody labels it."""
        number = len(self.audits)
        self.now_ms += 1
        version = self.standing.version
        facts = Facts(
            Source("requests", 0, number),
            local=Verdict("cat", local),
            remote=Verdict("cat", remote),
            thresholds=version,
        )
        audit = Audit(PIPELINE, "trusted", 1.0, "remote", shadow_share=1.0, extra=is_raised(version))
        made = audit_record(Record(b"1"), facts, audit)
        self.audits.append(Record(made.value, number, "audits", headers=list(made.headers), timestamp=self.now_ms))
        if vote:
            truth = "dog" if wrong else "cat"
            self.labels.append(label(len(self.labels), self.now_ms, f"requests-0-{number}", truth))

    def close(self) -> ThresholdsEntry | None:
        taken = Taken({"0": len(self.audits)}, len(self.labels))
        for record in self.audits[self.read.audits["0"] :]:
            self.ledger.take_audit(record)
        for record in self.labels[self.read.labels :]:
            self.ledger.take_label(record)
        self.read, entries = taken, list(self.versions)
        self.ledger.close(taken, self.now_ms, self.rules, chosen_of(entries, len(entries), PIPELINE, self.rules))
        entry = entry_of(self.ledger, entries)
        assert self.ledger.ascending is not None
        self.ledger.ascending.chose = "" if entry is None else entry.version
        if entry is not None:
            self.versions.append(entry)
        self._append()
        return entry

    def _append(self) -> None:
        number = len(self.closings) + 1
        closing = self.ledger.closing(number, whole=number % 7 == 1)
        self.closings.append(decode_closing(encode_closing(closing)))

    def takes_over(self) -> None:
        """Another auditor goes on: from the last whole closing, and with a closing that repeats what is known."""
        begin = max(number for number, one in enumerate(self.closings) if one.whole)
        self.ledger, digests = self._again(begin)
        assert digests == [one.digest for one in self.closings[begin:]]
        assert self.ledger.ascending is not None
        self.ledger.ascending.quiet()
        self._append()

    def again(self, begin: int) -> list[str]:
        """The digests of all closings from a whole one on, by somebody who only reads the topics."""
        return self._again(begin)[1]

    def _again(self, begin: int) -> tuple[Ledger, list[str]]:
        first = self.closings[begin]
        terms = next(one.terms for one in self.closings if one.terms is not None)
        told = Rules(terms, self.rules.matches)
        since, taken = first.since, first.taken
        audits = self.audits[since.audits["0"] : taken.audits["0"]]
        ledger = resumed(first, told, audits, self.labels[since.labels : taken.labels])
        found = [ledger.closing(first.number, whole=True).digest]
        for closing in self.closings[begin + 1 :]:
            assert closing.ladder is not None
            records = self.audits[taken.audits["0"] : closing.taken.audits["0"]]
            votes = self.labels[taken.labels : closing.taken.labels]
            made = fold(ledger, (records, votes, self.versions[: closing.ladder.taken]), closing, told)
            found.append(made.digest)
            taken = closing.taken
        return ledger, found


def test_many_wrong_answers_choose_a_stricter_rung_once() -> None:
    world = World()
    for _ in range(20):
        world.ends(wrong=True)
    entry = world.close()
    assert entry is not None
    assert (entry.rung, entry.reason, entry.by, entry.previous) == (4, "tighten", "auditor", "made")
    assert entry.evidence["against_here"] >= 100.0
    assert "say otherwise" in entry.why
    told = world.closings[-1].ladder
    assert told is not None
    assert (told.says, told.to, told.chose, told.rung) == ("tighten", 4, entry.version, 3)
    assert world.close() is None, "nothing is chosen twice"
    told = world.closings[-1].ladder
    assert told is not None
    assert (told.says, told.chose, told.version, told.rung) == ("", "", entry.version, 4)


def test_who_was_outrun_has_chosen_nothing() -> None:
    """A person wrote between what the auditor had read and what it wrote: its entry is void, evidence begins anew."""
    world = World()
    for _ in range(20):
        world.ends(wrong=True)
    person = chosen([], 1)
    world.close()
    world.versions.insert(0, person)
    assert world.standing.version == person.version
    assert world.close() is None
    told = world.closings[-1].ladder
    assert told is not None
    assert (told.version, told.rung) == (person.version, 1)


@pytest.mark.parametrize("tightens", [True, False])
def test_a_pin_and_who_only_tells_change_nothing_and_say_so(tightens: bool) -> None:
    world = World(made_for(msgspec.structs.replace(TERMS, tightens=tightens)))
    if tightens:
        world.versions.append(chosen([], 3, "pin"))
    for _ in range(20):
        world.ends(wrong=True)
    assert world.close() is None
    told = world.closings[-1].ladder
    assert told is not None
    assert (told.says, told.to, told.chose, told.pinned) == ("tighten", 4, "", tightens)


def test_labels_that_are_waited_for_raise_nothing_and_loosen_nothing() -> None:
    world = World()
    world.ends(wrong=True, vote=False)
    for _ in range(500):
        world.ends(wrong=False)
    assert world.close() is None
    told = world.closings[-1].ladder
    assert told is not None
    assert (told.requests, told.open_from) == (0, {"0": 0})


def test_enough_right_answers_loosen() -> None:
    world = World(made_for(TERMS, 10_000.0))
    entries = []
    for number in range(700):
        world.ends(wrong=False, local=0.6 if number % 2 else 0.95)
        if number % 100 == 99:
            entries.append(world.close())
    first = next(entry for entry in entries if entry is not None)
    assert (first.reason, first.rung) == ("loosen", 1)
    assert first.evidence["calls_there"] < first.evidence["calls_here"]


# the share of audits after an alarm


def alarmed(rules: Rules) -> tuple[World, ThresholdsEntry]:
    """After the first alarm."""
    world = World(rules)
    for _ in range(20):
        world.ends(wrong=True)
    entry = world.close()
    assert entry is not None
    return world, entry


def test_an_alarm_raises_the_share_with_the_version_that_it_chooses() -> None:
    world, entry = alarmed(raising())
    assert (entry.rung, entry.reason, entry.raised, is_raised(entry.version)) == (4, "tighten", True, True)
    assert not alarmed(RULES)[1].raised
    world.close()
    told = world.closings[-1].ladder
    assert told is not None
    assert (told.raised, told.raised_ms, told.raised_labels) == (True, entry.at_ms, 0)


@pytest.mark.parametrize("alarm", [True, False])
def test_a_failed_trial_raises_nothing(alarm: bool) -> None:
    ascending = World(raising()).ledger.ascending
    assert ascending is not None
    nothing = Evidence(2_000, 500, 1.0, 1.0, None, None, None, None)
    ascending.decision = Tighten(1, "", nothing, alarm=alarm)
    ascending._decide_share(Moment(1_000, 1_000, AlarmShare(1_000, 100)))
    assert ascending.raises == alarm


@pytest.mark.parametrize(("reason", "by_labels"), [("tighten", True), ("loosen", True), ("set", False), ("pin", False)])
def test_it_is_known_whether_labels_chose_the_version(reason: Reason, by_labels: bool) -> None:
    found = chosen_of([chosen([], 2, reason)], 1, PIPELINE, RULES)
    assert found is not None
    assert (found.rung, found.by_labels) == (2, by_labels)


def test_it_falls_once_its_labels_are_spent_and_the_rung_stays() -> None:
    world, raised = alarmed(raising(labels=30))
    for _ in range(29):
        world.ends(wrong=False)
    assert world.close() is None
    world.ends(wrong=False, vote=False)
    falls = world.close()
    assert falls is not None
    assert (falls.rung, falls.reason, falls.by, falls.previous) == (raised.rung, "set", "auditor", raised.version)
    assert not falls.raised
    assert world.close() is None, "it falls once"
    told = world.closings[-1].ladder
    assert told is not None
    assert (told.version, told.raised, told.raised_labels) == (falls.version, False, 30)


def test_it_falls_when_its_time_is_over_though_nobody_labels() -> None:
    world, raised = alarmed(raising(within_ms=500))
    world.ends(wrong=False, vote=False)
    assert world.close() is None
    world.now_ms = raised.at_ms + 499
    assert world.close() is None
    world.now_ms += 1
    falls = world.close()
    assert falls is not None
    assert not falls.raised


def test_another_alarm_within_its_time_wants_no_labels_beyond_its_budget() -> None:
    rules = made_for(msgspec.structs.replace(TERMS, start=1))
    share = AlarmShareTold(0.5, 5_000, 10)
    world = World(Rules(msgspec.structs.replace(rules.terms, alarm_share=share), rules.matches))

    def alarm(local: float) -> tuple[int, str, bool]:
        """By what the rung trusts that judges, and the next one would not."""
        for _ in range(20):
            world.ends(wrong=True, local=local, remote=0.2)
        entry = world.close()
        assert entry is not None
        return entry.rung, entry.reason, entry.raised

    assert alarm(0.6) == (2, "tighten", True)
    first_ms = world.versions[0].at_ms
    assert alarm(0.75) == (3, "tighten", False), "its labels are spent"
    world.now_ms = first_ms + 5_000
    assert alarm(0.85) == (4, "tighten", True), "a new time has begun"


def test_a_person_who_sets_a_rung_ends_it() -> None:
    world, _ = alarmed(raising())
    world.versions.append(chosen(world.versions, 4, at_ms=world.now_ms))
    assert world.close() is None
    told = world.closings[-1].ladder
    assert told is not None
    assert not told.raised


def test_to_loosen_leaves_it_until_it_is_over() -> None:
    rules = made_for(TERMS, 10_000.0)
    share = AlarmShareTold(0.5, 1_000_000, 10_000)
    world, raised = alarmed(Rules(msgspec.structs.replace(rules.terms, alarm_share=share), rules.matches))
    entries = []
    for number in range(1200):
        world.ends(wrong=False, local=0.6 if number % 2 else 0.95)
        if number % 100 == 99:
            entries.append(world.close())
    loosened = [entry for entry in entries if entry is not None]
    assert loosened
    assert {(entry.reason, entry.raised) for entry in loosened} == {("loosen", True)}
    assert raised.version != loosened[-1].version


def test_a_version_whose_name_and_share_differ_never_takes_effect() -> None:
    world, raised = alarmed(raising())
    forged = msgspec.structs.replace(raised, raised=False)
    world.versions[-1:] = [forged]
    assert world.standing.version == "made"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rules", [RULES, raising(3000, 40)], ids=["one share", "a raised share"])
def test_whoever_reckons_again_finds_the_same_choices(seed: int, rules: Rules) -> None:
    """With votes that come late or never, a person who sets, pins and unpins rungs, and auditors that take over."""
    chance, taking_over = random.Random(seed), random.Random(seed)
    world = World(rules)
    for step in range(60):
        for _ in range(chance.randrange(12)):
            wrong = chance.random() < (0.8 if 15 <= step < 45 else 0.02)
            world.ends(wrong=wrong, local=chance.random(), remote=chance.random(), vote=chance.random() < 0.9)
        world.now_ms += chance.choice((1, 100, 700))
        if taking_over.random() < 0.1:
            world.takes_over()
        if chance.random() < 0.05:
            reason: Reason = chance.choice(("set", "pin", "unpin"))
            world.versions.append(chosen(world.versions, chance.randrange(1, 5), reason, at_ms=world.now_ms))
        world.close()
    digests = [one.digest for one in world.closings]
    assert any(one.ladder is not None and one.ladder.chose for one in world.closings)
    for begin in range(0, len(world.closings), 7):
        assert world.closings[begin].whole
        assert world.again(begin) == digests[begin:]
