"""What a worker judges by, as the topic and the configuration change."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.agents.terms import Terms
from bisupervised.schemas.versions import ThresholdsEntry
from bisupervised.streams.versions.in_force import InForce
from support.versions import LADDER, PIPELINE, TERMS, chosen

OTHERWISE = replace(LADDER, score="made otherwise")


class Worker:
    """Who hears which terms judge."""

    def __init__(self, terms: Terms = TERMS, *, follows: bool = True) -> None:
        self.heard: list[Terms] = []
        self.in_force = InForce(PIPELINE, terms, self.heard.append, follows=follows)

    def holds(self, *entries: ThresholdsEntry) -> None:
        self.in_force.holds(entries)

    @property
    def pair(self) -> tuple[str, float, float]:
        terms = self.in_force.terms
        return terms.version, terms.local.threshold, terms.remote.threshold


def test_nothing_is_judged_before_the_topic_was_read() -> None:
    worker = Worker()
    assert not worker.in_force.settled
    assert worker.in_force.waits_for == "the topic of thresholds is not read yet"
    worker.in_force.lost = "no broker"
    assert worker.in_force.waits_for.endswith(": no broker")
    worker.holds()
    assert worker.in_force.settled
    assert worker.in_force.waits_for == ""
    assert worker.pair == ("made", 0.8, 0.7)
    assert worker.heard == []


def test_who_follows_nothing_judges_at_once() -> None:
    assert Worker(follows=False).in_force.settled
    bare = Worker(replace(TERMS, ladder=None), follows=False).in_force
    assert (bare.settled, bare.terms.version, bare.statistics()["rungs"]) == (True, "made", 0)


def test_the_version_in_force_judges() -> None:
    worker, entry = Worker(), chosen([], 4)
    worker.holds(entry)
    assert worker.pair == (entry.version, 0.9, 0.8)
    back = chosen([entry], 1)
    worker.in_force.take(back)
    assert worker.pair == (back.version, 0.5, 0.1)
    assert [terms.version for terms in worker.heard] == [entry.version, back.version]
    worker.in_force.take(chosen([], 2))  # void
    assert len(worker.heard) == 2
    assert worker.heard[-1] == replace(
        TERMS, version=back.version, local=Supervisor("a", 0.5), remote=Supervisor("b", 0.1)
    )


def test_a_version_for_other_scores_never_judges(caplog: pytest.LogCaptureFixture) -> None:
    entry, unfit = chosen([], 4), chosen([], 2, ladder=OTHERWISE)
    worker = Worker()
    worker.holds(unfit)
    assert not worker.in_force.settled
    assert "the scores are made otherwise" in worker.in_force.waits_for
    assert worker.heard == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    fit = chosen([unfit], 4)
    worker.in_force.take(fit)
    assert worker.in_force.settled
    assert worker.pair == (fit.version, 0.9, 0.8)
    worker = Worker()
    worker.holds(entry)
    worker.in_force.take(chosen([entry], 1, ladder=OTHERWISE))
    assert worker.pair == (entry.version, 0.9, 0.8), "the last one that was made for these scores"
    assert worker.in_force.settled
    assert "was not made for what this worker does" in worker.in_force.statistics()["refused"]


def test_a_version_of_another_file_is_told_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    entry = chosen([], 4)
    foreign = chosen([], 1, ladder=replace(LADDER, digest="anew", version="anew"))
    worker = Worker()
    worker.holds(entry, foreign)
    assert worker.pair == (entry.version, 0.9, 0.8)
    assert "of another thresholds file (digest anew, here file)" in worker.in_force.refusal
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    worker.in_force.take(chosen([entry], 1))
    assert worker.in_force.refusal == ""


def test_a_topic_that_was_emptied_is_no_leave_to_go_back_to_the_file(caplog: pytest.LogCaptureFixture) -> None:
    entry, worker = chosen([], 4), Worker()
    worker.holds(entry)
    worker.holds()
    assert worker.pair == (entry.version, 0.9, 0.8)
    assert "holds version" in worker.in_force.refusal
    assert [record.levelno for record in caplog.records if record.levelno > logging.INFO] == [logging.ERROR]
    following = chosen([entry], 2)
    worker.holds(following)
    assert worker.pair == (following.version, 0.7, 0.3)


def test_a_topic_that_is_read_again_is_no_news() -> None:
    entries, worker = [chosen([], 4)], Worker()
    worker.holds(*entries)
    worker.holds(*entries)
    assert len(worker.heard) == 1
    assert worker.in_force.refusal == ""


def test_limits_of_a_reload_leave_the_version() -> None:
    entry, worker = chosen([], 4), Worker()
    worker.holds(entry)
    terms = worker.in_force.rebase(replace(TERMS, limits=LimitsPolicy(600.0, 0.0, 4)))
    assert (terms.version, terms.local.threshold, terms.limits.in_flight) == (entry.version, 0.9, 4)


def test_another_file_begins_at_its_own_version_in_force() -> None:
    anew = replace(LADDER, digest="anew", version="made-anew")
    entry = chosen([], 4)
    first = chosen([], 1, ladder=anew)
    terms = replace(TERMS, version="made-anew", ladder=anew)
    worker = Worker()
    worker.holds(entry)
    assert worker.in_force.objections(terms) == []
    assert worker.in_force.rebase(terms).version == "made-anew"
    worker = Worker()
    worker.holds(entry, first)
    assert worker.in_force.rebase(terms).version == first.version


def test_another_file_waits_while_its_version_is_not_known() -> None:
    terms = replace(TERMS, version="made-anew", ladder=replace(LADDER, digest="anew", version="made-anew"))
    worker = Worker()
    worker.holds(chosen([], 4))
    worker.in_force.lost = "no broker"
    (fault,) = worker.in_force.objections(terms)
    assert "not known while the topic cannot be read: no broker" in fault
    assert worker.in_force.objections(replace(TERMS, limits=LimitsPolicy(600.0, 0.0, 4))) == []
    worker.in_force.lost = ""
    worker.in_force.take(chosen([], 1, ladder=replace(LADDER, digest="anew", version="made-anew", score="other")))
    (fault,) = worker.in_force.objections(terms)
    assert "was not made for what this worker does" in fault


def test_a_pin_of_the_settings_wins_and_is_told() -> None:
    pinned = replace(TERMS, version="made-pin-2", local=Supervisor("a", 0.7), remote=Supervisor("b", 0.3), pinned=2)
    worker = Worker(pinned)
    assert worker.in_force.settled, "whatever the topic says"
    worker.holds(chosen([], 4))
    assert worker.pair == ("made-pin-2", 0.7, 0.3)
    assert worker.heard == []
    told = worker.in_force.statistics()
    assert (told["pinned"], told["rung"], told["version"], told["by"]) == ("settings", 2, "made-pin-2", "")
    assert worker.in_force.rebase(TERMS).local.threshold == 0.9
    assert worker.in_force.statistics()["pinned"] == ""


def test_it_tells_who_chose_and_why() -> None:
    worker, entry = Worker(), chosen([], 4, "pin", by="ann", why="a complaint", at_ms=7)
    worker.holds(entry)
    told = worker.in_force.statistics()
    assert told | {"follows": True} == told
    assert (told["version"], told["rung"], told["rungs"], told["pinned"]) == (entry.version, 4, 4, "topic")
    assert (told["reason"], told["by"], told["why"], told["at_ms"]) == ("pin", "ann", "a complaint", 7)
