"""`bisupervised record` is killed ten times at random, and the server counts what it would bill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from support import forking
from support.recorder import Ledger, Office, sample, serving

KILLS = 10
INPUTS = 1_000
IN_FLIGHT = 4
UNIT = 3
#: seconds that one call takes at most: long enough for every kill to find some under way
_SLOWEST_S = 0.04


def start(office: Office, labelled: Path, log: int) -> forking.Forked | subprocess.Popen[bytes]:
    arguments = ["record", str(labelled), "--config", str(office.config), "--out", str(office.out), "--yes"]
    module, env = "bisupervised.streams.cli", dict(os.environ)
    if forking.AVAILABLE:
        return forking.fork(module, arguments, log, office.folder, env)
    return subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=log, stderr=log, cwd=office.folder)


def until_calls(ledger: Ledger, count: int, process: forking.Forked | subprocess.Popen[bytes]) -> None:
    """Until the server has been called so many times more, or the process has ended."""
    wanted, patience = ledger.calls + count, time.monotonic() + 30.0
    while ledger.calls < wanted and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.001)


@pytest.mark.long(15)
def test_ten_kills_bill_nothing_twice_and_at_most_the_calls_in_flight(tmp_path: Path) -> None:
    office = Office(tmp_path, remote=f"batch_size = {UNIT}\nin_flight = {IN_FLIGHT}")
    labelled, ledger, chance = office.labelled(*sample(INPUTS)), Ledger(), random.Random(11)
    repeated = [0]
    with serving(ledger, slowest_s=_SLOWEST_S) as office.url, (tmp_path / "log").open("wb") as log:
        for _ in range(KILLS):
            process = start(office, labelled, log.fileno())
            until_calls(ledger, chance.randint(1, 40), process)
            process.kill()
            assert process.wait(10.0) == -9, (tmp_path / "log").read_text()
            repeated.append(ledger.repeated)
        process = start(office, labelled, log.fileno())
        assert process.wait(60.0) == 0, (tmp_path / "log").read_text()
        repeated.append(ledger.repeated)
    # one that honours keys bills each key once, and no input belongs to two
    texts = [text for asked in ledger.texts.values() for text in asked]
    assert len(texts) == len(set(texts)) == INPUTS
    # another one bills again what was under way at a kill, and no more
    again = [after - before for before, after in pairwise(repeated)]
    assert all(count <= IN_FLIGHT for count in again), again
    assert sum(again) > 0, "no kill came while a call was under way: the test has not tested anything"
    assert [row["row"] for row in office.rows()] == list(range(1, INPUTS + 1))
    assert not any(row["remote_error"] or row["local_error"] for row in office.rows())


HANGS = """
import time
from itertools import pairwise

class Small:
    def __call__(self, inputs):
        time.sleep(600)
"""


@pytest.mark.skipif(not forking.AVAILABLE, reason="forks")
def test_a_local_model_that_hangs_ends_the_run(tmp_path: Path) -> None:
    office = Office(tmp_path, model="hanging_model")
    labelled, config = office.labelled(*sample(3)), office.config
    (tmp_path / "hanging_model.py").write_text(HANGS)
    config.write_text(config.read_text().replace("[remote]", "predict_timeout_s = 0.1\n[remote]"))
    log = tmp_path / "log"
    with log.open("wb") as file:
        arguments = ["record", str(labelled), "--config", str(config), "--out", str(office.out), "--local-only"]
        process = forking.fork("bisupervised.streams.cli", arguments, file.fileno(), tmp_path, dict(os.environ))
        assert process.wait(30.0) == 1
    assert "has not answered 3 inputs within 0.1 s" in log.read_text()


@pytest.mark.skipif(not forking.AVAILABLE, reason="forks")
def test_an_interrupt_lets_calls_under_way_end(tmp_path: Path) -> None:
    office = Office(tmp_path, remote=f"batch_size = {UNIT}\nin_flight = {IN_FLIGHT}")
    labelled, ledger = office.labelled(*sample(300)), Ledger()
    with serving(ledger, slowest_s=_SLOWEST_S) as office.url, (tmp_path / "log").open("wb") as log:
        process = start(office, labelled, log.fileno())
        until_calls(ledger, 10, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(30.0) == 130
        assert 0 < len(office.rows()) < 300
        assert len(office.rows()) == UNIT * ledger.calls, "all that was paid is kept"
    assert "the same command goes on" in (tmp_path / "log").read_text()
