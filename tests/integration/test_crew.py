"""Several processes behind one command: they share the work, the page, the signals and the end."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.browser import chromium, console_errors, look, missing, poor_contrast, required, screenshot
from support.pipeline import AGENTS, Pipeline, Setup, Worker, check_exactly_once, check_kinds, mixed, wait_until

PROCESSES = (1, 2)
TOKEN = "open-sesame"


@dataclass
class Crew:
    """Two processes, and what they show."""

    worker: Worker
    address: str
    pids: dict[int, int]

    def ask(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Status and body, by default with the token."""
        asked = urllib.request.Request(self.address + path, headers=headers or {"Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def status(self, process: int) -> tuple[int, Any]:
        code, body = self.ask(f"api/status?process={process}")
        return code, json.loads(body)

    def answers(self, path: str, code: int) -> None:
        wait_until(lambda: self.ask(path)[0] == code, f"{code} of {path}", 30, explain=self.worker.tail)

    def owns(self, process: int) -> int:
        """The partitions that this process owns."""
        code, document = self.status(process)
        return len(document["partitions"]) if code == 200 else 0

    def decided(self, process: int) -> int:
        """The requests that its local model has decided about."""
        return int(self.status(process)[1]["counts"]["requests"])

    def share_all(self) -> None:
        """Until each process owns its half."""
        wait_until(lambda: all(self.owns(one) == AGENTS for one in PROCESSES), "a half each", explain=self.worker.tail)

    def samples(self, name: str) -> Counter[str]:
        """The sum of a metric, by process."""
        summed: Counter[str] = Counter()
        for family in text_string_to_metric_families(self.ask("metrics")[1].decode()):
            for sample in family.samples:
                if sample.name == name:
                    summed[sample.labels["process"]] += int(sample.value)
        return summed

    def by_process(self, action: str) -> Counter[int]:
        """How often each process has logged an action."""
        return Counter(line["process"] for line in self.worker.told() if line.get("action") == action)


def start(pipeline: Pipeline) -> Crew:
    command = ["bisupervised.streams.cli", "worker", "--config", str(pipeline.config), "--processes", "2"]
    worker = pipeline.start(command, {"BISUPERVISED_WEB__TOKEN": TOKEN})
    page = worker.page
    [pids] = [line["pids"] for line in worker.told() if line.get("action") == "processes_started"]
    return Crew(worker, page, dict(zip(PROCESSES, pids, strict=True)))


def gone(pid: int) -> bool:
    """Whether the process has ended, or waits only for somebody to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.long(30)
def test_two_processes_share_work_page_and_stop(setup: Setup, tmp_path: Path) -> None:
    _, pipeline = setup()
    crew = start(pipeline)
    groups = {os.getpgid(pid) for pid in (crew.worker.process.pid, *crew.pids.values())}
    assert len(groups) == 1 + len(PROCESSES), "Ctrl-C reaches a process only through the command"
    crew.share_all()
    crew.answers("ready", 200)
    assert crew.ask("live")[0] == 200
    sent = pipeline.send(mixed(300))
    pipeline.wait_for_outcomes(sent)

    # one address shows both, to whom may see it
    fetched = crew.samples("bisupervised_fetched_records_total")
    assert set(fetched) == {"1", "2"}
    assert min(fetched.values()) > 0
    assert crew.samples("bisupervised_process_up") == {"1": 1, "2": 1}
    assert crew.ask("api/status", Accept="*/*")[0] == 401
    assert crew.ask("api/status", Host="evil.example")[0] == 421
    assert crew.ask("metrics", Accept="*/*")[0] == 200
    wait_until(lambda: sum(map(crew.decided, PROCESSES)) == len(sent), "every request on one of the pages")
    if required() or not missing():
        see(crew, tmp_path)

    # one that stands still is told of, and holds up nobody
    os.kill(crew.pids[2], signal.SIGSTOP)
    try:
        crew.answers("live", 503)
        assert json.loads(crew.ask("ready")[1])["reasons"] == ["process 2: does not answer any more"]
        assert crew.status(1)[1]["crew"]["states"] == {"1": "ready", "2": "silent"}
        assert crew.status(2)[0] == 503
        assert crew.samples("bisupervised_process_up") == {"1": 1, "2": 0}
    finally:
        os.kill(crew.pids[2], signal.SIGCONT)
    crew.answers("ready", 200)

    assert crew.worker.stop() == 0
    assert crew.by_process("plane_stopped") == dict.fromkeys(PROCESSES, AGENTS)
    outcomes = pipeline.outcomes()
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)


def see(crew: Crew, folder: Path) -> None:
    """The page: a link for each process, reached by keyboard."""
    with chromium() as browser:
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Authorization": f"Bearer {TOKEN}"}})
        look(browser, width=1280)

        def text(name: str) -> str:
            return str(browser.execute_script(f"return document.getElementById('{name}').textContent"))

        browser.get(crew.address)
        wait_until(lambda: "process 1" in text("worker"), "process 1", 30)
        assert text("flow-rows").startswith("RequestsLocal model")
        browser.execute_script("document.querySelector('#processes a:nth-child(2)').focus()")
        browser.switch_to.active_element.send_keys("\n")
        wait_until(lambda: "process 2" in text("worker"), "process 2", 30)
        assert str(crew.decided(2)) in text("flow-rows")
        marked = "return [...document.querySelectorAll('#processes [aria-current=page]')].map(a => a.textContent)"
        assert browser.execute_script(marked) == ["Process 2"]
        assert poor_contrast(browser) == []
        assert console_errors(browser) == []
        screenshot(browser, folder / "crew.png")


@pytest.mark.long(30)
def test_whoever_ends_takes_all_along(setup: Setup) -> None:
    _, pipeline = setup()
    crew = start(pipeline)
    crew.share_all()
    os.kill(crew.pids[1], signal.SIGKILL)
    assert crew.worker.wait() == 128 + signal.SIGKILL
    assert crew.by_process("plane_stopped") == {2: AGENTS}
    [line] = [line for line in crew.worker.told() if line.get("action") == "process_ended"]
    assert line["message"].startswith(f"process 1 (pid {crew.pids[1]}) was ended by SIGKILL")

    left = start(pipeline)
    left.worker.signal(signal.SIGHUP)  # none of them hears it yet, and none may end by it
    left.worker.wait_for("worker_started", len(PROCESSES))
    left.worker.kill()
    wait_until(lambda: all(map(gone, left.pids.values())), "the end of both", 30)
