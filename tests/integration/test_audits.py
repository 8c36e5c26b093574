"""A record in `audits` for each request that is drawn, in the transaction of its outcome, whatever dies."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from bisupervised.streams.cli import run
from support.audit_topic import Audited, audits, drawn, secret
from support.pipeline import Outcome, Pipeline, Sent, Setup, check_exactly_once, mixed, wait_until

#: how an audit calls what a test calls otherwise
ENDED = {"local": "trusted", "remote": "trusted", "low_confidence": "rejected", "invalid_request": "failed"}


def check(pipeline: Pipeline, share: float, sent: list[Sent], outcomes: list[Outcome]) -> list[Audited]:
    """Exactly those that the draw says, once each, and each says what became of its request."""
    check_exactly_once(sent, outcomes)
    found = audits(pipeline)
    (topic_id,) = {one.facts.topic_id for one in found}
    assert sorted(one.place for one in found) == sorted(drawn(pipeline, share, topic_id, sent))
    kinds, values = {o.place: o.kind for o in outcomes}, {s.place: s.value for s in sent}
    for one in found:
        assert one.audit.ended == ENDED[kinds[one.place]]
        assert one.audit.answered_by == (kinds[one.place] if one.audit.ended == "trusted" else None)
        assert one.value == values[one.place]
    return found


def wait_for_more(pipeline: Pipeline, outcomes: int) -> None:
    wait_until(lambda: len(pipeline.outcomes()) > outcomes, "an outcome", explain=pipeline.workers[-1].tail)


def test_each_drawn_request_is_audited_once_though_workers_die(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    share = 0.3
    _, pipeline = setup(delay_s=0.02, audit={"share": share, "secret_file": secret(tmp_path)})
    bad = [Sent(b"no JSON", b"bad-%d" % n) for n in range(20)]
    sent = pipeline.send([*mixed(300), *bad])
    for _ in range(2):
        victim = pipeline.worker()
        wait_for_more(pipeline, len(pipeline.outcomes()))
        victim.kill()
    sent += pipeline.send(mixed(300))
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    found = check(pipeline, share, sent, outcomes)
    assert {one.audit.ended for one in found} == {"trusted", "rejected", "failed"}
    trusted = next(one for one in found if one.audit.answered_by == "remote")
    assert trusted.facts.local is not None
    assert trusted.facts.remote is not None
    assert trusted.facts.remote.trusted
    label_and_report(pipeline, found, tmp_path, capsys)


def label_and_report(
    pipeline: Pipeline, found: list[Audited], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every third trusted answer is said to be wrong; the report counts the same."""
    config = ["--config", str(pipeline.config)]
    assert run(["audit", "wanted", *config, "--json", "--limit", "1000"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [one for one in found if one.audit.ended != "failed"]  # these are no JSON: nobody judged them
    assert [one["source"] for one in listed] == [str(a.facts.source) for a in sorted(found, key=written)]
    assert all("prediction" not in one and "score" not in one for one in listed)
    truths, wrong = {}, 0
    for number, one in enumerate(found):
        verdict = one.facts.remote if one.audit.answered_by != "local" else one.facts.local
        right = -1 if verdict is None else verdict.prediction
        trusted = one.audit.ended == "trusted"
        wrong += trusted and number % 3 == 0
        truths[str(one.facts.source)] = "another" if trusted and number % 3 == 0 else right
    path = folder / "labels.csv"
    path.write_text("source,truth\n" + "".join(f"{source},{truth}\n" for source, truth in truths.items()))
    assert run(["labels", "import", str(path), "--by", "ann", *config]) == 0
    capsys.readouterr()
    assert run(["audit", "report", *config, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["versions"]
    count = Counter(one.audit.ended for one in found)
    assert told["version"] == "calibrated"
    assert (told["drawn"], told["labelled"], told["evidence"]) == (len(found),) * 3
    assert (told["error"]["wrong"], told["error"]["labels"]) == (wrong, count["trusted"])
    rate = told["false_positive_rate"]
    assert (rate["wrong"], rate["labels"]) == (count["rejected"], count["rejected"] + count["trusted"] - wrong)
    assert told["error"]["lower"] < wrong / count["trusted"] < told["error"]["upper"]
    assert run(["audit", "report", *config]) == 0
    assert "Wrong among the trusted answers" in capsys.readouterr().out
    assert run(["audit", "wanted", *config]) == 0
    assert "0 requests of the last 168 hours without a label" in capsys.readouterr().err


def written(one: Audited) -> tuple[int, int, int]:
    """The order in which they ended."""
    return (one.record.timestamp, one.record.partition, one.record.offset)


def test_what_audits_does_not_take_leaves_the_outcome_alone(setup: Setup, tmp_path: Path) -> None:
    """A request that is too large for `audits`: the record there says that it is missing."""
    _, pipeline = setup(audit={"share": 1.0, "secret_file": secret(tmp_path)})
    pipeline.alter("audits", max_message_bytes="20000")
    small = [Sent(b'{"input":[1,0.95,0.9,0]}', b"k"), Sent(b'{"input":[1,0.5,0.9,0]}', b"k")]
    large = [s._replace(value=(s.value or b"")[:-1] + b',"padding":"%s"}' % (b"x" * 30_000)) for s in small]
    sent = pipeline.send([*small, *large])
    pipeline.worker()
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {outcome.topic for outcome in outcomes} == {"results"}
    found = {one.place: one for one in audits(pipeline)}
    assert found.keys() == {s.place for s in sent}
    for s in sent:
        one = found[s.place]
        missing = s.value != (one.value or b"")
        assert missing == (len(s.value or b"") > 20_000)
        assert ("TOO_LARGE" in one.audit.missing) == missing
        assert one.audit.ended == "trusted"
