"""Several processes behind one command: how they start and end, and what is said of them."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams import cli
from bisupervised.streams.crew import parent, plan, process, starting
from bisupervised.streams.crew.crew import Crew
from bisupervised.streams.crew.member import take_place
from bisupervised.streams.crew.plan import PagePlan, Plan
from bisupervised.streams.telemetry.logs import configure

TERM, HUP = signal.SIGTERM, signal.SIGHUP
PLAN = Plan(2, ("worker",), 4, "INFO", as_json=True, page=None)


class Member:
    """A process that ends by a signal that stops, or when the test says so."""

    def __init__(self, number: int, status: int = 0) -> None:
        self.number, self.pid = number, 100 + number
        self.heard: list[signal.Signals] = []
        self.status = status  #: after a signal that stops it
        self._end = asyncio.Event()

    def signal(self, number: signal.Signals) -> None:
        self.heard.append(number)
        if number != HUP:
            self._end.set()

    def end(self, status: int) -> None:
        self.status = status
        self._end.set()

    async def wait(self) -> int:
        await self._end.wait()
        return self.status


async def begun(*members: Member) -> Crew:
    async def make(one: Member) -> Member:
        return one

    crew = Crew()
    await crew.start([partial(make, one) for one in members])
    return crew


# how they end


@pytest.mark.parametrize("status", [0, -TERM])
async def test_who_was_told_to_stop_has_not_failed(status: int) -> None:
    members = [Member(1, status), Member(2)]
    crew = await begun(*members)
    crew.stop()
    assert await crew.ended() == 0
    assert [one.heard for one in members] == [[TERM], [TERM]]


async def test_who_fails_while_it_stops_has_failed() -> None:
    crew = await begun(Member(1, 1), Member(2))
    crew.stop()
    assert await crew.ended() == 1


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (1, 1, "process 2 (pid 102) has ended with status 1; nobody had asked it to, so the others stop, too"),
        (70, 70, "process 2 (pid 102) has ended with status 70; nobody"),
        (-9, 137, "process 2 (pid 102) was ended by SIGKILL; nobody"),
        (-TERM, 143, "process 2 (pid 102) was ended by SIGTERM; nobody"),
        (0, 0, "process 2 (pid 102) has ended with status 0; nobody"),
    ],
)
async def test_where_one_ends_unasked_all_end_with_its_status(
    status: int, code: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    members = [Member(1, 3), Member(2), Member(3)]
    crew = await begun(*members)
    members[1].end(status)
    assert await crew.ended() == code, "not that of who ended after it"
    assert members[0].heard == members[2].heard == [TERM]
    [line] = [line for line in caplog.records if line.levelno == logging.ERROR]
    assert line.getMessage().startswith(said)


async def test_a_reload_reaches_all_and_stops_nobody() -> None:
    members = [Member(1), Member(2)]
    crew = await begun(*members)
    crew.pass_on(HUP)
    members[0].end(1)
    assert await crew.ended() == 1
    assert [one.heard[0] for one in members] == [HUP, HUP]


async def test_a_stop_while_they_start_reaches_those_there_are_and_starts_no_more() -> None:
    crew, first = Crew(), Member(1)

    async def make() -> Member:
        crew.stop()
        return first

    async def never() -> Member:
        raise AssertionError

    await crew.start([make, never])
    assert await crew.ended() == 0
    assert first.heard == [TERM]


async def test_where_one_cannot_be_started_the_others_stop_in_order(caplog: pytest.LogCaptureFixture) -> None:
    crew, first = Crew(), Member(1)

    async def make() -> Member:
        return first

    async def fail() -> Member:
        raise BlockingIOError("no more processes")

    async def never() -> Member:
        raise AssertionError

    await crew.start([make, fail, never])
    assert await crew.ended() == 1
    assert first.heard == [TERM]
    [line] = [line for line in caplog.records if line.levelno == logging.ERROR]
    assert line.getMessage() == "process 2 cannot be started: no more processes; the others stop"


# the command line


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(
        '[local]\nmodel = "m:f"\nthreshold = 0.5\n[remote]\nurl = "http://127.0.0.1:9"\nmodel = "m"\nthreshold = 0.5\n'
    )
    return path


@pytest.fixture
def led(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that this process would have become the parent of."""
    plans: list[Plan] = []
    monkeypatch.setattr(starting, "become_parent", plans.append)
    monkeypatch.setattr(starting, "cores", lambda: 2)
    return plans


def test_the_parent_gets_the_command_line_of_each_and_what_it_needs_of_the_settings(
    config: Path, led: list[Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BISUPERVISED_WEB__TOKEN", "sesame")
    monkeypatch.setenv("BISUPERVISED_WEB__HOSTS", '["Shop.example"]')
    cli.run(["worker", "--config", str(config), "--agents", "remote,local", "--begin-anew", "--processes", "8"])
    words = ("worker", "--agents", "local,remote", f"--config={config}", "--begin-anew")
    page = PagePlan("127.0.0.1", 8080, ("shop.example",), "sesame", frozenset({9}))
    assert led == [Plan(8, words, 4, "INFO", as_json=False, page=page)]
    assert plan.decode(plan.encode(led[0])) == led[0]


def test_no_page_is_planned_where_there_is_none(config: Path, led: list[Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BISUPERVISED_WEB__ENABLED", "false")
    cli.run(["worker", "--config", str(config), "--processes", "2"])
    assert [one.page for one in led] == [None]


@pytest.mark.parametrize("processes", ["0", "-1", "9"])
def test_a_number_that_is_none_is_told_with_all_other_faults(
    processes: str, config: Path, led: list[Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text() + "[web]\nport = 70000\n")
    arguments = ["worker", "--config", str(config), "--agents", "nobody", f"--processes={processes}"]
    assert cli.run(arguments) == 2
    said = capsys.readouterr().err
    assert f"--processes: must be 1 to 8, 4 for each core of this machine (got {processes})" in said
    assert "--agents: must be some of" in said
    assert "web.port" in said or "[web] port" in said
    assert led == []


def test_the_plan_reaches_the_parent_by_a_pipe_under_the_same_process_id(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Sequence[str]] = []
    monkeypatch.setattr(os, "execv", lambda _path, words: begun.append(words))
    starting.become_parent(PLAN)
    [[*words, descriptor]] = begun
    assert words == [sys.executable, "-P", "-m", "bisupervised.streams.crew.parent"]
    with os.fdopen(int(descriptor), "rb") as pipe:
        assert os.get_inheritable(pipe.fileno())
        assert plan.decode(pipe.read()) == PLAN


def test_the_parent_imports_no_kafka_no_numbers_and_no_settings() -> None:
    code = "import sys, bisupervised.streams.crew.parent; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "bisupervised.streams.crew.parent" in loaded
    assert not loaded & {"aiokafka", "faust", "numpy", "scipy", "torch", "pydantic", "bisupervised.streams.settings"}


# the parent


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [parent.environment(n)["OMP_NUM_THREADS"] for n in (2, 3, 16)] == ["4", "2", "1"]
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert parent.environment(2)["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(("processes", "warned"), [(4, 0), (5, 1)])
def test_more_processes_than_partitions_are_told_of(
    processes: int, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    parent.tell_start(Plan(processes, (), 4, "INFO", as_json=False, page=None), range(processes))
    found = [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]
    assert len(found) == warned
    assert all("5 processes share the 4 partitions" in line for line in found)


# a process and its leash


def test_a_worker_hears_its_place_and_stops_when_the_parent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: stopped.append((pid, number)))
    holding: list[Any] = []

    def thread(**told: Any) -> SimpleNamespace:
        holding.append(told)
        return SimpleNamespace(start=int)

    monkeypatch.setattr(threading, "Thread", thread)
    read, write = os.pipe()
    os.write(write, orjson.dumps({"process": 2, "listener": None, "secret": "s"}) + b"\n")
    place = take_place(read)
    assert (place.process, place.listener, place.secret) == (2, None, "s")
    assert "s'" not in repr(place), "the secret is not shown"
    os.close(write)  # as when the parent ends, however it ends
    [held] = holding
    held["target"](*held["args"])
    os.close(read)
    assert stopped == [(os.getpid(), TERM)]


def test_a_person_cannot_take_a_place() -> None:
    read, write = os.pipe()
    os.close(write)
    with pytest.raises(ConfigurationError, match="--member: is for processes that --processes starts"):
        take_place(read)
    os.close(read)


def test_a_signal_leaves_the_status_of_who_has_just_ended_to_who_waits_for_it() -> None:
    async def signal_to(child: Any, leash: int) -> None:
        process.Process(1, child, leash, (asyncio.StreamReader(), asyncio.Transport())).signal(TERM)

    read, write = os.pipe()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        told = SimpleNamespace(pid=ended.pid, returncode=None, send_signal=ended.send_signal)
        asyncio.run(signal_to(told, write))
        assert os.waitpid(ended.pid, os.WNOHANG) == (ended.pid, 0)
    os.close(read)
    os.close(write)


def test_the_end_of_a_process_is_noticed_while_its_own_children_hold_its_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "worker"
    own = "subprocess.Popen(['cat'], stdin=int(sys.argv[-1]), stdout=subprocess.DEVNULL)"  # until the leash ends
    worker.write_text(f"#!{sys.executable}\nimport subprocess, sys\n{own}\nsys.exit(3)\n")
    worker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(worker))
    monkeypatch.setattr(process, "_LAST_WORDS_S", 0.0)

    async def ended() -> int:
        started = await process.start(1, (), os.environ, None, "secret")
        return await asyncio.wait_for(started.wait(), 20)

    assert asyncio.run(ended()) == 3


async def test_only_whole_lines_of_a_process_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    buffer = SimpleNamespace(write=written.append, flush=int)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(buffer=buffer))
    monkeypatch.setattr(process, "_LONGEST", 10)
    stream = asyncio.StreamReader()
    telling = asyncio.create_task(process.tell(stream))
    for piece in (b"one\ntw", b"o\nthr", b"ee", b" is far too long", b"\nend"):
        stream.feed_data(piece)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    stream.feed_eof()
    await telling
    assert [one for one in written if one] == [b"one\n", b"two\n", b"three is far too long\n", b"\n", b"end\n"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_line_says_which_process_it_is_of(as_json: bool) -> None:
    root = logging.getLogger()
    before, level, stream = root.handlers[:], root.level, io.StringIO()
    try:
        configure("INFO", as_json=as_json, stream=stream, process=2)
        logging.getLogger("bisupervised.x").info("text", extra={"action": "said"})
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    line = stream.getvalue()
    assert (orjson.loads(line)["process"] == 2) if as_json else ("INFO     [2] said" in line)
