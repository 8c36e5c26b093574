"""An audit in trouble: topics that go, have too many partitions, other shares and secrets, forged marks of replays.

The pipeline goes on in each case, and what is lost of the audit is told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from bisupervised.agents.auditing.draw import Draw
from bisupervised.schemas.audits import AUDIT_HEADER, decode_audit, replay_mark
from bisupervised.schemas.closings import Closing, decode_closing
from bisupervised.schemas.codec import decode_facts, header
from bisupervised.schemas.records import REPLAY_HEADER, Replayed, Source
from bisupervised.streams.cli import run
from support.pipeline import Pipeline, Sent, Setup, Worker, check_exactly_once, request, wait_until

SECRET = "only the fleet knows"


def audited(folder: Path, **more: Any) -> dict[str, Any]:
    path = folder / "secret"
    path.write_text(SECRET)
    return {"share": 1.0, "secret_file": str(path), "close_every_s": 0.3, **more}


def stream(pipeline: Pipeline, count: int, **more: Any) -> list[Sent]:
    sent = pipeline.send([request(number, local=0.95) for number in range(count)])
    pipeline.wait_for_outcomes(sent, **more)
    return sent


def closings(pipeline: Pipeline) -> list[Closing]:
    return [decode_closing(record.value) for record in pipeline.records("trust")]


def label(pipeline: Pipeline, sent: list[Sent], folder: Path) -> None:
    """By the command, as a person would."""
    path = folder / "labelled.csv"
    rows = [f"{pipeline.topic('requests')}-{one.place[0]}-{one.offset},1" for one in sent]
    path.write_text("\n".join(["source,truth", *rows]))
    assert run(["labels", "import", str(path), "--by", "ann", "--config", str(pipeline.config)]) == 0


def evidence(pipeline: Pipeline) -> int:
    """As the last closing that tells of requests has it, since the audit has begun."""
    count = 0
    for closing in closings(pipeline):
        begins = closing.why.startswith(("there was no closing", "the topics do not hold"))
        count = next((one.evidence for one in closing.versions), 0 if begins else count)
    return count


def until_evidence(pipeline: Pipeline, count: int, worker: Worker) -> None:
    wait_until(lambda: evidence(pipeline) >= count, f"evidence of {count}", explain=worker.tail)


def report(pipeline: Pipeline, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert run(["audit", "report", *words, "--config", str(pipeline.config)]) == 0
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_labels_with_several_partitions_count_where_they_are_written_and_it_says_so(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, pipeline = setup(audit=audited(tmp_path))
    pipeline.grow({"labels": 3})
    worker = pipeline.worker()
    sent = stream(pipeline, 12)
    label(pipeline, sent, tmp_path)
    until_evidence(pipeline, 12, worker)
    (told,) = [line for line in worker.told() if line["action"] == "labels_unread"]
    assert told["unread"] == 2
    assert f"{pipeline.topic('labels')} has 3 partitions, and only labels in partition 0 count" in " ".join(
        report(pipeline, capsys).split()
    )


@pytest.mark.long(12)
@pytest.mark.parametrize("role", ["labels", "trust", "audits"])
def test_a_topic_that_goes_while_it_runs_is_told_and_the_audit_begins_anew(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str], role: str
) -> None:
    _, pipeline = setup(audit=audited(tmp_path))
    worker = pipeline.ready_worker()
    sent = stream(pipeline, 12)
    label(pipeline, sent, tmp_path)
    until_evidence(pipeline, 12, worker)
    pipeline.delete(role)
    worker.wait_for("audit_failed")
    sent += pipeline.send([request(number, local=0.95) for number in range(12)])
    wait_until(
        lambda: any(f"there is no topic {pipeline.topic(role)}" in line["message"] for line in worker.told()),
        "the reason",
        explain=worker.tail,
    )
    pipeline.create()
    worker.wait_for("audit_begun", 2)
    later = stream(pipeline, 6)
    label(pipeline, [*sent, *later], tmp_path)
    known = 30 if role != "audits" else 18  # what was drawn before is gone with the topic, and nothing else
    wait_until(lambda: evidence(pipeline) >= known, f"evidence of {known}", explain=worker.tail)
    check_exactly_once([*sent, *later], pipeline.settle([*sent, *later]))
    assert '"agree": true' in report(pipeline, capsys, "--json")


def places(pipeline: Pipeline) -> dict[tuple[int, int], float]:
    """Of the requests in `audits`, with the share that each record says."""
    found = {}
    for record in pipeline.records("audits"):
        source = decode_facts(record).source
        audit = decode_audit(header(record.headers, AUDIT_HEADER) or b"")
        assert (source.partition, source.offset) not in found, "no request is drawn twice"
        found[source.partition, source.offset] = audit.share
    return found


def test_with_another_share_and_secret_half_way_each_record_says_its_share_and_the_report_agrees(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, pipeline = setup(audit=audited(tmp_path, share=0.3))
    worker = pipeline.worker()
    first = stream(pipeline, 60)
    assert worker.stop() == 0
    other = tmp_path / "other"
    other.write_text("another secret")
    pipeline.configure({"audit": audited(tmp_path, share=0.8, secret_file=str(other))})
    worker = pipeline.worker()
    second = stream(pipeline, 60)
    found = places(pipeline)
    topic_id = decode_facts(pipeline.records("audits")[0]).topic_id
    for sent, share, secret in ((first, 0.3, SECRET), (second, 0.8, "another secret")):
        draw = Draw(share, secret.encode(), pipeline.name)
        drawn = {one.place for one in sent if one.offset in draw.drawn(topic_id, one.place[0], one.offset, one.offset)}
        assert {place: found[place] for place in found.keys() & {one.place for one in sent}} == dict.fromkeys(
            drawn, share
        )
    label(pipeline, [*first, *second], tmp_path)  # of all: those that were not drawn are no evidence
    until_evidence(pipeline, len(found), worker)
    assert '"agree": true' in report(pipeline, capsys, "--json")


def test_who_forges_the_mark_of_a_replay_does_not_evade_the_draw(setup: Setup, tmp_path: Path) -> None:
    """Marks with another secret, of another value, damaged, and none; the pipeline answers all of them."""
    _, pipeline = setup(audit=audited(tmp_path))
    pipeline.worker()
    fine = request(0, local=0.95)
    former = Replayed("monday", 1, Source("requests", 0, 5), Source("fallback", 0, 5), "timeout", 5)
    marks = [
        replay_mark(b"a guess", former, fine.key, fine.value),
        replay_mark(SECRET.encode(), former, fine.key, b"of another request"),
        "0" * 32,
        "",
    ]
    headers = [msgspec.json.encode(msgspec.structs.replace(former, mark=mark)) for mark in marks]
    own = msgspec.structs.replace(former, mark=replay_mark(SECRET.encode(), former, fine.key, fine.value))
    forged = [fine._replace(headers=[(REPLAY_HEADER, one)]) for one in [*headers, b"damaged"]]
    sent = pipeline.send([*forged, fine._replace(headers=[(REPLAY_HEADER, msgspec.json.encode(own))])])
    check_exactly_once(sent, pipeline.settle(sent))
    assert places(pipeline).keys() == {one.place for one in sent[:-1]}, "all but the real replay"
