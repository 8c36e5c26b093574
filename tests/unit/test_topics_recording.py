from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bisupervised.schemas.codec import fall_back, forward, publish
from bisupervised.schemas.records import Facts, Result, Source, Verdict
from bisupervised.streams.offline.recordings.files import RecordingError
from bisupervised.streams.offline.recordings.from_topics import KnownInputs, count_lines, joined
from bisupervised.streams.offline.recordings.labels import Labels, read_labels
from support.records import Record, request


def read(outcome: Any) -> Record:
    return Record(outcome.value, key=outcome.key, headers=outcome.headers)


def source(offset: int) -> Source:
    return Source("requests", 0, offset)


def facts(offset: int, remote: Verdict | None = None, **more: Any) -> Facts:
    return Facts(source(offset), id=offset, local=Verdict("l", 0.1), remote=remote, **more)


def topics() -> KnownInputs:
    """One of each: trusted local, trusted remote, rejected, failed, refused at once, answered without a score."""
    known, asked = KnownInputs(), request([1.0])
    known.take_result(read(publish(asked, Result(source(0), "l", "local", 0.9, 0.5, id=0))))
    trusted = facts(1, Verdict("r", 0.8))
    known.take_facts(read(forward(asked, "answers", trusted)))
    known.take_result(read(publish(asked, Result(source(1), "r", "remote", 0.8, 0.5, id=1, local=trusted.local))))
    rejected = facts(2, Verdict("r", 0.2))
    known.take_facts(read(forward(asked, "answers", rejected)))
    known.take_facts(read(fall_back(asked, rejected, "low_confidence", "below", "remote_supervisor")))
    known.take_facts(read(fall_back(asked, facts(3, Verdict(None, None, calls=3)), "timeout", "late", "remote")))
    known.take_facts(read(fall_back(asked, Facts(source(4)), "invalid_request", "no", "local")))
    known.take_facts(read(forward(asked, "answers", facts(5, Verdict("r", None)))))
    return known


def test_every_input_is_counted_once_and_no_answer_is_made_up() -> None:
    truths = {str(source(offset)): "r" for offset in (0, 1, 2, 3, 4, 5, 99)}
    rows, counts = joined(topics(), Labels("source", truths, ""))
    assert (counts.inputs, counts.pairs, counts.answered_locally, counts.no_remote_answer) == (6, 2, 1, 2)
    assert (counts.no_score, counts.unlabelled, counts.labels_unused, counts.unreadable) == (1, 0, 1, 0)
    said = [(row["pair"], row["local_score"], row["remote_prediction"], row["remote_score"]) for row in rows]
    assert said == [
        (False, 0.9, None, None),
        (True, 0.1, "r", 0.8),
        (True, 0.1, "r", 0.2),
        (False, 0.1, None, None),
        (False, None, None, None),
        (False, 0.1, "r", None),
    ]


def test_a_label_by_the_users_own_id() -> None:
    rows, counts = joined(topics(), Labels("id", {"1": "r", "2": "q"}, ""))
    assert [(row["request_id"], row["truth"]) for row in rows] == [(1, "r"), (2, "q")]
    assert (counts.pairs, counts.unlabelled) == (2, 4)


def test_an_answer_no_longer_on_its_topic_is_known_from_the_result() -> None:
    known = KnownInputs()
    result = Result(source(1), "r", "remote", 0.8, 0.5, id=1, local=Verdict("l", 0.1))
    known.take_result(read(publish(request([1.0]), result)))
    assert joined(known, Labels("id", {"1": "r"}, ""))[1].pairs == 1


def test_records_of_somebody_else_are_counted() -> None:
    known = KnownInputs()
    known.take_result(Record(b"{}"))
    known.take_result(Record(None))
    known.take_facts(Record(b"{}"))
    assert (known.unreadable, known.inputs) == (3, {})


def test_what_is_left_out_is_said() -> None:
    _, counts = joined(topics(), Labels("id", {"0": "r", "1": "r"}, ""))
    lines = count_lines(counts, Path("out.jsonl"))
    assert lines[0] == "6 inputs on the topics, 1 of them labelled pairs; left out are"
    assert "  1 answered by the local model, so the remote was never asked" in lines
    assert "  4 without a label" in lines
    assert "no sample of all inputs" in "".join(lines)
    assert lines[-1] == "Read the pairs with --local out.jsonl --remote out.jsonl --where pair=true"


@pytest.mark.parametrize(
    ("text", "options", "truths"),
    [
        ("id,truth\n1,a\n2,b\n", (None, None, None), {"1": "a", "2": "b"}),
        ("id,source,label\n1,t-0-1,a\n", (None, None, None), {"t-0-1": "a"}),
        ("id,source,label\n1,t-0-1,a\n", ("id", None, None), {"1": "a"}),
        ("a,b,c\n1,2,3\n", (None, "b", "c"), {"2": "3"}),
    ],
)
def test_labels(
    text: str, options: tuple[str | None, str | None, str | None], truths: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    assert read_labels(path, *options).truths == truths


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,truth\n1,a\n\n1,b\n", "line 4, column 'id': '1' is there twice"),
        ("id,truth\n1,\n", "line 2, column 'truth': is empty"),
        ("id,truth\n,a\n", "line 2, column 'id': is empty"),
        ("id,gold\n1,a\n", "no column looks like a truth: say which with --truth-column; there are id, gold"),
        ("name,truth\n1,a\n", "no column looks like an id"),
        ("id,index,truth\n1,1,a\n", "could be any of id, index: say which with --id-column"),
    ],
)
def test_labels_that_cannot_be_read(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(RecordingError) as error:
        read_labels(path, None, None, None)
    assert said in str(error.value)


def test_a_column_that_is_not_there_says_which_option_names_another(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("request,label\nrequests-0-1,x\n")
    with pytest.raises(RecordingError, match="no column 'source'; there are request, label: say which with --source-"):
        read_labels(path, None, "source", None)
