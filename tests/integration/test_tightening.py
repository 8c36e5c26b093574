"""The fleet tightens by itself: three workers, their auditor frozen and killed, labels that say the promise fails."""

from __future__ import annotations

import json
import signal
from collections import defaultdict
from pathlib import Path

import pytest
from bisupervised.agents.auditing.draw import Draw
from bisupervised.schemas.audits import AUDIT_HEADER, decode_audit
from bisupervised.schemas.closings import Closing, decode_closing
from bisupervised.schemas.codec import decode_facts, header
from bisupervised.schemas.versions import is_raised
from bisupervised.streams.cli import run
from support.pipeline import Outcome, Pipeline, Sent, Setup, Worker, check_exactly_once, request, wait_until
from support.versions import PAIRS, laddered_file


def closings(pipeline: Pipeline) -> list[Closing]:
    return [decode_closing(record.value) for record in pipeline.records("trust")]


def chosen(pipeline: Pipeline) -> list[str]:
    """Versions that closings say were chosen."""
    return [one.ladder.chose for one in closings(pipeline) if one.ladder is not None and one.ladder.chose]


def auditor(pipeline: Pipeline) -> Worker:
    by = closings(pipeline)[-1].by
    return next(worker for worker in pipeline.workers if by.endswith(f":{worker.process.pid}"))


def label(pipeline: Pipeline, known: set[str], *, wrong: bool) -> None:
    """What a person says of the drawn requests that he has not seen yet."""
    votes = []
    for record in pipeline.records("audits"):
        source = str(decode_facts(record).source)
        if source not in known:
            known.add(source)
            truth = 9 if wrong else json.loads(record.value)["input"][0]
            votes.append(Sent(json.dumps({"source": source, "truth": truth, "by": "script", "v": 1}).encode(), b"k"))
    pipeline.send(votes, "labels")


def places(pipeline: Pipeline, role: str) -> set[tuple[int, int]]:
    """Of the requests that the records of a topic are about."""
    sources = [decode_facts(record).source for record in pipeline.records(role)]
    return {(source.partition, source.offset) for source in sources}


def judged(outcome: Outcome) -> dict[str, tuple[str, float | None]]:
    """Version and threshold of each supervisor that judged."""
    result, facts = outcome.result, outcome.facts
    if result is not None and result.answered_by == "local":
        return {"local": (result.thresholds, result.threshold)}
    told = facts if result is None else result
    assert told is not None
    assert told.local is not None
    second = told.threshold if result is not None else facts.remote.threshold  # type: ignore[union-attr]
    return {
        "local": (told.local.thresholds or told.thresholds, told.local.threshold),
        "remote": (told.thresholds, second),
    }


def batches(outcomes: list[Outcome]) -> dict[tuple[int, float], set[str]]:
    """Versions by which the local model's batches were judged: all answers of one took as long, to the last bit."""
    found: dict[tuple[int, float], set[str]] = defaultdict(set)
    for outcome in outcomes:
        result, facts = outcome.result, outcome.facts
        local = result if result is not None and result.answered_by == "local" else (result or facts)
        assert local is not None
        took_ms = local.latency_ms if local is result and result.answered_by == "local" else local.local.latency_ms  # type: ignore[union-attr]
        found[outcome.place[0], took_ms].add(judged(outcome)["local"][0])
    return found


@pytest.mark.long(45)
def test_a_fleet_tightens_once_though_its_auditor_freezes_and_dies(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("only the fleet knows\n")
    _, pipeline = setup(
        kafka={"session_timeout_s": 3.0},  # who is frozen or killed is missed soon
        local={"threshold": None},
        remote={"threshold": None},
        thresholds={"file": str(laddered_file(tmp_path, promise=0.1)), "version": None},
        audit={
            "share": 1.0,
            "shadow_share": 1.0,
            "on_alarm": "tighten",
            "secret_file": str(tmp_path / "secret"),
            "close_every_s": 0.3,
            "labels_to_false_alarm": 100.0,
        },
    )
    known: set[str] = set()
    workers = [pipeline.worker() for _ in range(3)]
    sent = pipeline.send([request(n, local=0.75, remote=0.75) for n in range(100)])
    pipeline.wait_for_outcomes(sent)
    label(pipeline, known, wrong=False)
    wait_until(
        lambda: any(c.ladder and c.ladder.requests for c in closings(pipeline)), "evidence", explain=workers[0].tail
    )
    frozen = auditor(pipeline)
    frozen.signal(signal.SIGSTOP)
    sent += pipeline.send([request(n, local=0.75, remote=0.75) for n in range(100, 300)])
    pipeline.wait_for_outcomes(sent)

    def tightened() -> bool:
        label(pipeline, known, wrong=True)
        return bool(chosen(pipeline))

    wait_until(tightened, "a stricter version", explain=workers[1].tail)
    frozen.signal(signal.SIGCONT)
    killed = auditor(pipeline)
    killed.kill()
    number = closings(pipeline)[-1].number
    sent += pipeline.send([request(n, local=0.75, remote=0.75) for n in range(300, 400)])
    pipeline.wait_for_outcomes(sent)
    label(pipeline, known, wrong=True)
    wait_until(lambda: closings(pipeline)[-1].number > number, "another auditor", explain=frozen.tail)
    after = pipeline.send([request(n, local=0.75, remote=0.75) for n in range(400, 440)])
    outcomes = pipeline.settle([*sent, *after])
    check(pipeline, [*sent, *after], outcomes, capsys)
    last = {outcome.place: outcome for outcome in outcomes}
    assert {judged(last[one.place])["remote"][1] for one in after} == {PAIRS[3][1]}


def check(pipeline: Pipeline, sent: list[Sent], outcomes: list[Outcome], capsys: pytest.CaptureFixture[str]) -> None:
    check_exactly_once(sent, outcomes)
    capsys.readouterr()
    assert run(["audit", "history", "--json", "--config", str(pipeline.config)]) == 0
    history = json.loads(capsys.readouterr().out)
    found = closings(pipeline)
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    assert len({one.by for one in found}) > 1, "more than one worker was the auditor"
    told = [(one["version"], one["rung"], one["by"], one["fate"]) for one in history["versions"]]
    assert told == [(history["version"], 4, "auditor", "in force")], "nothing was chosen twice"
    assert chosen(pipeline) == [history["version"]]
    rungs = {"made": 3, history["version"]: 4}
    seen = set()
    for outcome in outcomes:
        for which, (version, threshold) in judged(outcome).items():
            assert threshold == PAIRS[rungs[version] - 1][which == "remote"]
            seen.add(version)
    assert seen == rungs.keys()
    assert [versions for versions in batches(outcomes).values() if len(versions) > 1] == []
    assert run(["audit", "report", "--json", "--config", str(pipeline.config)]) == 0
    report = json.loads(capsys.readouterr().out)["closings"]
    assert (report["agree"], report["differing"], report["last"]) == (True, [], len(found))


@pytest.mark.long(15)
def test_after_an_alarm_more_are_drawn_by_the_version_that_it_chose_until_its_labels_are_spent(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The version that judged first says by which share a request was drawn, and who reckons again finds the same."""
    (tmp_path / "secret").write_text("only the fleet knows\n")
    _, pipeline = setup(
        local={"threshold": None},
        remote={"threshold": None},
        thresholds={"file": str(laddered_file(tmp_path, promise=0.1)), "version": None},
        audit={
            "share": 0.3,
            "shadow_share": 0.3,
            "alarm_share": 0.8,
            "alarm_labels": 20,
            "on_alarm": "tighten",
            "secret_file": str(tmp_path / "secret"),
            "close_every_s": 0.3,
            "labels_to_false_alarm": 100.0,
        },
    )
    known: set[str] = set()
    worker = pipeline.worker()
    sent = pipeline.send([request(n, local=0.75, remote=0.75) for n in range(120)])
    pipeline.wait_for_outcomes(sent)

    def tightened() -> bool:
        label(pipeline, known, wrong=True)
        return bool(chosen(pipeline))

    wait_until(tightened, "a stricter version", explain=worker.tail)
    worker.wait_for("version_taken")
    for kind in ({"local": 0.95}, {"local": 0.75, "remote": 0.95}, {"local": 0.75, "remote": 0.75}):
        sent += pipeline.send([request(n, **kind) for n in range(40)])  # type: ignore[arg-type]  # floats all
    worker.wait_for("share_falls")
    worker.wait_for("version_taken", 2)
    sent += pipeline.send([request(n, local=0.95) for n in range(60)])
    pipeline.wait_for_outcomes(sent)
    # what is drawn for both models has its audit when the remote has answered, which no outcome waits for
    wait_until(lambda: places(pipeline, "shadows") <= places(pipeline, "audits"), "the shadows", explain=worker.tail)
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    raised, falls = chosen(pipeline)
    assert (is_raised(raised), is_raised(falls)) == (True, False)
    check_drawn(pipeline, outcomes, {"made": 0.3, raised: 0.8, falls: 0.3})
    capsys.readouterr()
    assert run(["audit", "history", "--json", "--config", str(pipeline.config)]) == 0
    told = [(one["rung"], one["reason"]) for one in json.loads(capsys.readouterr().out)["versions"]]
    assert told == [(4, "tighten"), (4, "set")]
    assert run(["audit", "report", "--json", "--config", str(pipeline.config)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["closings"]["agree"], report["closings"]["differing"]) == (True, [])


def check_drawn(pipeline: Pipeline, outcomes: list[Outcome], shares: dict[str, float]) -> None:
    """Each request is drawn by the share of the version that judged it first, whoever answered it, and no other is."""
    audits = {}
    for record in pipeline.records("audits"):
        facts, audit = decode_facts(record), decode_audit(header(record.headers, AUDIT_HEADER) or b"")
        audits[facts.source.partition, facts.source.offset] = (facts, audit)
    topic_id = next(iter(audits.values()))[0].topic_id
    draws = {share: Draw(share, b"only the fleet knows", pipeline.name, share) for share in shares.values()}
    seen = set()
    for outcome in outcomes:
        version = judged(outcome)["local"][0]
        seen.add(version)
        partition, offset = outcome.place
        hit = offset in draws[shares[version]].drawn(topic_id, partition, offset, offset)
        assert hit == (outcome.place in audits), outcome
        if hit:
            _, audit = audits[outcome.place]
            usual = offset in draws[0.3].drawn(topic_id, partition, offset, offset)
            assert (audit.share, audit.extra) == (shares[version], not usual)
    assert seen == shares.keys()
