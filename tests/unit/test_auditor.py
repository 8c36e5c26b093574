"""How an auditor goes on from closings, what a worker shows of it, and by which rules it reckons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from bisupervised.agents.auditing.detector import Detector
from bisupervised.agents.auditing.ledger.ledger import Ledger, Rules
from bisupervised.agents.auditing.ledger.watch import Watch
from bisupervised.agents.supervision.thresholds import Target, signed, write_thresholds
from bisupervised.schemas.closings import Closing, PromiseTold, Taken, VersionTold
from bisupervised.streams.auditor.rules import current_rules
from bisupervised.streams.auditor.standing import Standing
from bisupervised.streams.auditor.taking_over import Recomputing, TopicsShorter, begins_anew, fold, lost_before
from bisupervised.streams.auditor.trust import Appended
from bisupervised.streams.settings.file import load_settings
from support.audited import PIPELINE, audit, label, rules
from support.records import Record
from support.thresholds import thresholds

BEGIN = Taken({"0": 0}, 0)


class Topics:
    """Both topics, as a `Feed` gives them out."""

    def __init__(self, audits: list[Record], labels: list[Record]) -> None:
        self.records = (audits, labels)
        self.begun = BEGIN
        self._at = BEGIN

    async def begins(self) -> Taken:
        return self.begun

    async def ends(self) -> Taken:
        audits, labels = self.records
        return Taken({"0": len(audits)}, len(labels))

    async def seek(self, to: Taken) -> None:
        self._at = to

    async def take_to(self, goal: Taken) -> tuple[list[Record], list[Record]]:
        before, self._at = self._at, goal
        audits, labels = self.records
        begin = max(before.audits["0"], self.begun.audits["0"])
        return audits[begin : goal.audits["0"]], labels[max(before.labels, self.begun.labels) : goal.labels]


@pytest.fixture
def topics() -> Topics:
    """Twenty trusted answers and a label of each, every third one wrong."""
    audits = [audit(n, 1000 + n) for n in range(20)]
    labels = [label(n, 2000 + n, f"requests-0-{n}", "dog" if n % 3 == 0 else "cat") for n in range(20)]
    return Topics(audits, labels)


async def closings(topics: Topics, until: int = 20, within_ms: int = 1_000_000) -> list[Closing]:
    """Of an auditor that closes every second record; the first knows nothing."""
    ledger, terms = Ledger(PIPELINE, rules(within_ms), BEGIN), rules(within_ms)
    made = [ledger.closing(1, whole=True, why="begun")]
    await topics.seek(BEGIN)
    for number, end in enumerate(range(2, until + 1, 2), start=2):
        goal = Taken({"0": end}, end)
        audits, labels = await topics.take_to(goal)
        unfinished = Closing(number, PIPELINE, 3000 + end, goal, goal, "", whole=number % 4 == 0)
        made.append(fold(ledger, (audits, labels, ()), unfinished, terms))
    return made


async def again(made: list[Closing], topics: Topics) -> Recomputing:
    found = Recomputing(topics, rules=lambda told: Rules(told, rules().matches))  # type: ignore[arg-type]  # as a Feed
    for closing in made:
        await found.take(closing)
    return found


async def test_every_closing_is_found_again(topics: Topics) -> None:
    made = await closings(topics)
    found = await again(made, topics)
    assert (found.differing, found.closings) == ([], len(made))
    (told,) = found.ledger.told()
    assert (told.evidence, told.error.wrong, told.error.labels) == (20, 7, 20)


async def test_from_the_middle_on_only_what_is_remembered_is_read(topics: Topics) -> None:
    made = await closings(topics, within_ms=500)  # what ended half a second ago is forgotten
    from_here = next(number for number, closing in enumerate(made) if closing.whole and number > 4)
    topics.begun = made[from_here].since
    assert topics.begun.labels > 0
    found = await again(made[from_here:], topics)
    assert found.differing == []
    assert lost_before(made[from_here], await topics.begins()) == []
    assert lost_before(made[0], await topics.begins()) == ["audits 0", "labels"]


async def test_a_record_that_was_changed_is_found_out(topics: Topics) -> None:
    made = await closings(topics)
    topics.records[1][7] = label(7, 2007, "requests-0-7", "dog")
    found = await again(made, topics)
    assert "closing 5 has the digest" in found.differing[0]
    assert len(found.differing) == len(made) - 4  # all from there on: what was taken in is never forgotten


async def test_a_missing_closing_is_told(topics: Topics) -> None:
    made = await closings(topics)
    found = await again([*made[:3], *made[4:]], topics)
    assert found.differing[0] == "closing 5 follows 3: some are missing"


async def test_topics_that_were_made_anew_are_too_short(topics: Topics) -> None:
    made = await closings(topics)
    del topics.records[0][5:]
    with pytest.raises(TopicsShorter, match="audits 0 ends at 5, and 6 are taken in"):
        await again(made, topics)


def test_a_closing_that_begins_anew_knows_nothing_and_says_why() -> None:
    made = Closing(7, PIPELINE, 0, BEGIN, BEGIN, "", whole=True, why="the topics do not hold what was taken in")
    assert begins_anew(made)
    for changed in (
        {"why": ""},
        {"whole": False},
        {"taken": Taken({"0": 5}, 0)},
        {"versions": (VersionTold("t1"),)},
    ):
        assert not begins_anew(msgspec.structs.replace(made, **changed))


def test_the_alarm_in_plain_floats_is_the_detector() -> None:
    detector = Detector(0.1, 500.0)
    log_r, watch, raised = detector.fresh(), Watch(PromiseTold("error", 0.1), 500.0), 0
    for number in range(400):
        wrong = number % 4 == 0
        log_r, watch = detector.after(log_r, wrong), watch.after(f"r-0-{number}", number, wrong=wrong)
        if detector.alarms(log_r):
            raised, log_r = raised + 1, detector.fresh()
            assert (watch.last, watch.last_ms) == (f"r-0-{number}", number)
        else:
            assert watch.level == pytest.approx(max(0.0, float(detector.level(log_r))), abs=1e-9)
        assert watch.raised == raised
    assert raised > 1


# what is shown


def appended(closing: Closing) -> Appended:
    return Appended(closing, closing.at_ms + 5)


async def test_a_worker_shows_what_the_auditor_said_last(topics: Topics) -> None:
    standing = Standing(enabled=True)
    for closing in await closings(topics):
        standing.take(appended(closing))
    told = standing.told()
    (version,) = told["versions"]
    assert (told["number"], told["newest"], version["version"]) == (11, "t1", "t1")
    assert version["labels"] == {"wanted": 20, "labelled": 20, "outstanding": 0, "late": 0}
    assert version["shares"]["error"]["value"] == 7 / 20
    assert version["alarms"][0]["promise"] == 0.1
    assert [round(value * 20) for _, value, _, _ in told["history"]][-1] == 7
    assert len(told["history"]) == 10
    assert Standing().told() == {}


# by which rules


def test_the_promises_follow_the_thresholds_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "thresholds.json"
    written(file, 0.1)
    (tmp_path / "my.toml").write_text(
        f"""
        [local]
        model = "my_model:load"
        labels = ["cat", "dog"]
        output = "probabilities"
        [remote]
        url = "http://127.0.0.1"
        model = "large"
        [thresholds]
        file = "{file}"
        [audit]
        share = 0.1
        label_within_hours = 2
        [review]
        classes = ["cat", "dog", "neither"]
        """
    )
    settings = load_settings(tmp_path / "my.toml", {"BISUPERVISED_AUDIT__SECRET": "x"})
    rules_now = current_rules(settings)
    terms = rules_now().terms
    assert (terms.promises, terms.label_within_ms) == ((PromiseTold("error", 0.1),), 7_200_000)
    assert terms.classes == ("cat", "dog", "neither")
    assert rules_now().is_class("neither")
    assert not rules_now().is_class("cow")
    written(file, 0.25)
    assert rules_now().terms.promises == (PromiseTold("error", 0.25),)
    assert rules_now().terms.thresholds != terms.thresholds
    file.write_text("damaged, and of another size")
    assert rules_now().terms.promises == (PromiseTold("error", 0.25),)
    assert "the promises stay as they were" in caplog.text


def written(path: Path, value: float) -> None:
    made: Any = msgspec.structs.replace(thresholds(), target=Target("error", value), version="")
    write_thresholds(path, signed(made))
