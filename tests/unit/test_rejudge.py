from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bisupervised.agents.remote_supervisor import RemoteSupervisor
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.codec import decode_facts, encode_facts, encode_result, fall_back
from bisupervised.schemas.errors import ConfigurationError, Reason
from bisupervised.schemas.records import FACTS_HEADER, Facts, Outgoing, Result, Source, Verdict
from bisupervised.streams import cli
from bisupervised.streams.console import options
from bisupervised.streams.offline.rejudge import (
    AnswerJudge,
    Comparison,
    DecisionChange,
    RejudgeError,
    make_report,
    notes,
    output_topics,
)
from bisupervised.streams.offline.rewriting import OutputTopics, Rewriting
from bisupervised.streams.settings.tables import Settings
from support.records import Record
from support.thresholds import thresholds, thresholds_file


def facts(offset: int, score: float | None, local: float = 0.4) -> Facts:
    remote = Verdict(1, score, supervisor="max_softmax", cost=2.0, calls=1)
    local_verdict = Verdict(3, local, 0.5, supervisor="max_softmax")
    return Facts(Source("requests", 0, offset), local=local_verdict, remote=remote, agent="remote")


def answer(offset: int, score: float | None, local: float = 0.4) -> Record:
    headers = [(FACTS_HEADER, encode_facts(facts(offset, score, local)))]
    return Record(b'{"input":1}', offset, topic="answers", headers=headers)


def result(offset: int, answered_by: Any = "remote", score: float = 0.9, **more: Any) -> Record:
    made = Result(Source("requests", 0, offset), 1, answered_by, score, 0.7, **more)
    return Record(encode_result(made), offset, topic="results")


def rejected(offset: int, reason: Reason = "low_confidence", agent: str = "remote_supervisor") -> Record:
    outcome = fall_back(answer(offset, 0.5), facts(offset, 0.5), reason, "x", agent)
    return Record(outcome.value, offset, topic="fallback", headers=outcome.headers)


def decisions(remote: float = 0.7, local: float = 0.5) -> Comparison:
    return Comparison(AnswerJudge(thresholds(local, remote)))


@pytest.mark.parametrize("score", [0.6, 0.7, 0.8, None])
def test_the_decision_is_the_streams_own(score: float | None) -> None:
    record = answer(7, score)
    stream = RemoteSupervisor(Supervisor("max_softmax", 0.7), thresholds_version="new")
    assert [AnswerJudge(thresholds(remote=0.7)).judge(record)] == stream.judge([record])


def test_what_changes_is_counted_by_decision_and_reason_with_examples() -> None:
    read = decisions(remote=0.8)
    scores: tuple[float | None, ...] = (0.9, 0.75, 0.75, 0.85, 0.2, None)
    for offset, score in enumerate(scores):
        read.take_answer(answer(offset, score))
    for offset in range(3):
        read.take_result(result(offset))
    read.take_fallback(rejected(3))
    read.take_fallback(rejected(4))
    report = make_report(read, examples=1)
    assert (report.answers, report.same, report.not_judged_yet) == (6, 2, 1)
    assert (report.trusted_to_rejected, report.rejected_to_trusted) == (2, 1)
    assert (report.trusted, report.rejected) == (2, {"low_confidence": 3, "no_confidence": 1})
    assert report.changes == [
        DecisionChange("trusted", "low_confidence", 2, 2 / 6, ["requests-0-1"]),
        DecisionChange("low_confidence", "trusted", 1, 1 / 6, ["requests-0-3"]),
        DecisionChange("not judged yet", "no_confidence", 1, 1 / 6, ["requests-0-5"]),
    ]


def test_an_answer_that_came_twice_counts_once() -> None:
    read = decisions()
    for _ in range(2):
        read.take_answer(answer(1, 0.9))
        read.take_result(result(1))
        read.take_result(result(2, "local", 0.95))
    report = make_report(read, 3)
    assert (report.answers, report.same, report.answered_locally) == (1, 1, 1)


def test_what_was_answered_locally_is_not_there_and_is_counted() -> None:
    read = decisions(local=0.8)
    for offset, score in enumerate((0.5, 0.6, 0.79, 0.8, 0.9)):
        read.take_result(result(offset, "local", score))
    read.take_result(result(9, "local", 0.3, arbitrated=True))  # the remote was asked for this one
    read.take_result(result(8, "local", 0.3, trusted=False))  # and this one nobody trusted
    read.take_fallback(rejected(7, "timeout", agent="remote"))  # no answer came
    read.take_answer(answer(9, 0.9, local=0.85))
    report = make_report(read, 3)
    assert (report.answered_locally, report.locally_now_doubtful, report.asked_now_local) == (5, 3, 1)
    assert report.answers == 1
    told = "\n".join(notes(report))
    assert "5 inputs were answered by the local model: there is no remote answer to judge" in told
    assert "3 of them would be sent to the remote" in told
    assert "1 of the answers would not be asked for" in told


def test_a_local_score_of_another_name_says_nothing_about_the_first_threshold() -> None:
    """A file with a learned score, whose threshold is near 0, over results that max-softmax judged."""
    read = decisions(local=0.8)
    read.take_result(result(1, "local", 0.5, supervisor="learned"))
    read.take_result(result(2, "local", 0.5, supervisor="max_softmax"))
    read.take_result(result(3, "local", 0.5))  # of a version that did not name it
    report = make_report(read, 3)
    assert (report.answered_locally, report.locally_now_doubtful) == (3, 2)


def test_a_score_of_another_name_is_not_compared() -> None:
    with pytest.raises(RejudgeError, match="has the score 'max_softmax', and the thresholds are for 'entropy'"):
        AnswerJudge(thresholds(score="entropy")).judge(answer(1, 0.9))


def test_what_is_not_ours_is_counted_and_not_judged() -> None:
    read = decisions()
    read.take_answer(Record(b"x"))
    read.take_result(Record(b"x"))
    read.take_fallback(Record(b"x"))
    report = make_report(read, 3)
    assert (report.unreadable, report.answers) == (3, 0)
    assert "3 records cannot be read" in notes(report)


def settings(**stream: Any) -> Settings:
    local = {"model": "a:b", "threshold": 0.5}
    remote = {"url": "http://x", "model": "m", "threshold": 0.5}
    return Settings.model_validate({"local": local, "remote": remote, "stream": stream})


@pytest.mark.parametrize(
    ("results", "fallback", "stream", "fault"),
    [
        ("again", None, {}, "say both --results and --fallback"),
        ("results", "again", {}, "--results: must be no topic of the running system"),
        ("again", "answers", {}, "--fallback: must be no topic of the running system"),
        ("again", "again", {}, "--fallback: must differ from --results"),
        ("again", "more", {"delivery": "at_least_once"}, "--results: needs transactions"),
    ],
)
def test_topics_that_cannot_be_written_are_refused(
    results: str, fallback: str | None, stream: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        output_topics(settings(**stream), results, fallback)


def test_without_topics_it_is_a_report() -> None:
    assert output_topics(settings(), None, None) is None


def test_another_run_has_another_group() -> None:
    def group(name: str = "rejudge-1", results: str = "r") -> str:
        return Rewriting(settings(), "answers", name, OutputTopics(results, "f")).group

    assert group() == group()
    assert len({group(), group("rejudge-2"), group(results="s")}) == 3
    assert group().startswith("bisupervised-rejudge-1-")


def test_the_records_are_complete() -> None:
    outcome: Outgoing = AnswerJudge(thresholds(remote=0.95)).judge(answer(7, 0.9))
    known = decode_facts(Record(outcome.value, headers=outcome.headers))
    assert (outcome.to, outcome.value, known.reason, known.thresholds) == (
        "fallback",
        b'{"input":1}',
        "low_confidence",
        "new",
    )


def test_a_thresholds_file_that_is_not_there_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[local]\nmodel="a:b"\nthreshold=0.5\n[remote]\nurl="http://x"\nmodel="m"\nthreshold=0.5\n')
    assert cli.run(["rejudge", "--config", str(config), "--thresholds", str(tmp_path / "none.json")]) == options.MISUSED
    assert "cannot read the thresholds file" in capsys.readouterr().err
    words = ["rejudge", "--config", str(config), "--thresholds", str(thresholds_file(tmp_path)), "--results", "x"]
    assert cli.run(words) == options.MISUSED
