"""A recording read off the topics of a system that ran."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from bisupervised.schemas.errors import BiSupervisedError
from bisupervised.streams import cli
from bisupervised.streams.offline.recordings.columns import Where
from bisupervised.streams.offline.recordings.from_topics import KnownInputs
from bisupervised.streams.offline.recordings.pairs import read_recording
from bisupervised.streams.offline.recordings.system_topics import read_topics
from support.pipeline import Sent, Setup, mixed

INPUTS = 90


def labels(path: Path, sent: list[Sent]) -> Path:
    """Every answer but one in ten is right; the last three inputs have no label, and one label no input."""
    rows = ["id,truth", *(f"{number},{number % 4 if number % 10 else 9}" for number in range(len(sent) - 3)), "x,1"]
    path.write_text("\n".join(rows))
    return path


def test_what_both_models_said_joined_with_labels(
    setup: Setup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, pipeline = setup()
    sent = pipeline.send(mixed(INPUTS))
    pipeline.worker()
    pipeline.settle(sent)
    pipeline.send([Sent(b"nonsense", b"k")], "results")
    out = tmp_path / "joined.jsonl"
    words = ["recording", "--config", str(pipeline.config), "--labels", str(labels(tmp_path / "labels.csv", sent))]
    assert cli.run([*words, "--out", str(out), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts == {
        "inputs": INPUTS,
        "pairs": 58,
        "answered_locally": 29,
        "no_remote_answer": 0,
        "no_score": 0,
        "unlabelled": 3,
        "labels_unused": 1,
        "unreadable": 1,
    }
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert Counter(row["pair"] for row in rows) == {True: 58, False: 29}
    assert all(row["remote_score"] is row["remote_prediction"] is None for row in rows if not row["pair"])
    recorded = read_recording(out, out, where=Where("pair", "true"))
    places = {f"{pipeline.topic('requests')}-{record.partition}-{record.offset}": n for n, record in enumerate(sent)}
    numbers = [places[identity] for identity in recorded.ids.tolist()]
    assert sorted(numbers) == [number for number in range(INPUTS - 3) if number % 3]
    assert recorded.recording.local.scores.tolist() == pytest.approx([0.5] * 58)
    assert recorded.recording.remote.scores.tolist() == pytest.approx([0.9 if n % 3 == 1 else 0.4 for n in numbers])
    assert recorded.recording.remote.correct.tolist() == [bool(number % 10) for number in numbers]


def test_topics_that_are_not_there_are_named(setup: Setup) -> None:
    _, pipeline = setup()
    settings = pipeline.settings
    elsewhere = settings.topics.model_copy(update={"answers": f"{pipeline.name}-nowhere"})
    moved = settings.model_copy(update={"topics": elsewhere})
    with pytest.raises(BiSupervisedError, match=f"there is no topic {pipeline.name}-nowhere"):
        asyncio.run(read_topics(moved, KnownInputs().takers(moved)))
