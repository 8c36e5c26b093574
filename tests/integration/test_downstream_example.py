"""The example service in examples/downstream, killed and started again behind a pipeline that runs."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bisupervised.streams import cli
from support.pipeline import Pipeline, Sent, Setup, mixed, wait_until

SERVICE = Path(__file__).parents[2] / "examples" / "downstream" / "service.py"


@contextmanager
def service(pipeline: Pipeline, database: Path) -> Iterator[None]:
    words = ["--servers", pipeline.servers, "--database", str(database)]
    words += ["--results", pipeline.topic("results"), "--fallback", pipeline.topic("fallback")]
    with subprocess.Popen([sys.executable, str(SERVICE), *words]) as process:
        try:
            yield
            assert process.poll() is None
        finally:
            process.kill()


def count(database: Path, table: str) -> int:
    if not database.exists():
        return 0
    connection = sqlite3.connect(database)
    try:
        found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0
    finally:
        connection.close()
    return found


def test_each_answer_once_and_each_case_on_its_desk(setup: Setup, tmp_path: Path) -> None:
    _, pipeline = setup()
    database = tmp_path / "made" / "service.db"
    sent = pipeline.send([*mixed(30), Sent(b"nonsense", b"k")])
    pipeline.worker()
    pipeline.wait_for_outcomes(sent)
    for _ in range(2):  # the second time it has read everything already
        with service(pipeline, database):
            wait_until(lambda: count(database, "answers") == 20 and count(database, "cases") == 11, "31 outcomes")
    assert count(database, "cases WHERE desk = 'person' AND reason = 'low_confidence'") == 10
    assert count(database, "cases WHERE desk = 'producer' AND reason = 'invalid_request'") == 1
    pipeline.configure({"remote": {"threshold": 0.1}})
    pipeline.workers[0].stop()
    pipeline.worker()
    words = ["fallback", "replay", "again", "--reason", "low_confidence", "--config", str(pipeline.config)]
    assert cli.run(words) == 0
    with service(pipeline, database):
        wait_until(lambda: count(database, "answers") == 30 and count(database, "cases") == 1, "10 replays")
