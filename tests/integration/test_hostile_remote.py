"""A remote that does everything wrong that a remote can do: every input has its outcome, and the right one."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from bisupervised.streams.sandbox.broker import Broker
from support.hostile import BY_NAME, MIB, MOST_BYTES, PATIENCE_S, TRICKS
from support.pipeline import REMOTE_THRESHOLD, Outcome, Pipeline, Sent, Worker, tally

INPUTS = 20_000
SEED = int(os.environ.get("HOSTILE_SEED", "20260706"))
TESTS = Path(__file__).parents[1]
REPORT = TESTS.parent / "build" / "hostile.json"
#: calls under way at once, which bounds sockets and bodies in memory
IN_FLIGHT = 64
TRIES = 4
#: the loop may not be blocked for longer
MOST_BLOCK_MS = 100.0
#: What the worker may grow by after its warm-up: a whole body of the largest size for every call under way. The large
#: bodies of this server are 4 to 250 times as large as the bound, and would not fit.
MOST_GROWTH_BYTES = IN_FLIGHT * MOST_BYTES
#: beside a socket a call: what Kafka's clients may open to talk to a coordinator again
SPARE_SOCKETS = 8
#: how an input ends that was answered
ANSWERS = ("remote", "no_confidence")


# what goes in, and what must come out


def inputs() -> list[tuple[Sent, str]]:
    """The requests, in an order of chance, each with its outcome; '' where the server's last word decides."""
    chance = random.Random(SEED)
    tricked = [(number, trick) for trick in range(1, len(TRICKS) + 1) for number in range(3)]
    made = [_tricked(trick, chance) for _, trick in tricked]
    made += [_unparsable(number) for number in range(200)] + [_late(chance) for _ in range(200)]
    made += [_too_large(chance) for _ in range(4)]
    made += [_sure(chance) for _ in range(INPUTS // 4)]
    made += [_by_chance(chance) for _ in range(INPUTS - len(made))]
    chance.shuffle(made)
    return [(_numbered(number, sent), ends) for number, (sent, ends) in enumerate(made)]


def _request(local: float, remote: float, trick: int = 0, **fields: Any) -> dict[str, Any]:
    return {"input": [1, local, remote, 0, 0, trick], **fields}


def _numbered(number: int, document: dict[str, Any] | bytes | None) -> Sent:
    """The number is the input's fifth column, by which the server knows it."""
    if isinstance(document, dict):
        document["id"] = document["input"][4] = number
        document["input"][0] = number % 4
        document = orjson.dumps(document)
    return Sent(document, b"key-%d" % (number % 499))


def _tricked(trick: int, chance: random.Random) -> tuple[Any, str]:
    return _request(0.5, 0.9, trick), TRICKS[trick - 1].ends


def _unparsable(number: int) -> tuple[Any, str]:
    return [None, b"{", b"\xff\xfe", b'{"id": 7}', b"[" * 5000, b'{"input": NaN}'][number % 6], "invalid_request"


def _late(chance: random.Random) -> tuple[Any, str]:
    return _request(0.5, 0.9, deadline_ms=int(time.time() * 1000) - chance.randrange(1, 10**6)), "timeout"


def _too_large(chance: random.Random) -> tuple[Any, str]:
    return _request(0.5, 0.9, padding="x" * 150_000), "too_large"


def _sure(chance: random.Random) -> tuple[Any, str]:
    return _request(0.95, 0.9), "local"


def _by_chance(chance: random.Random) -> tuple[Any, str]:
    return _request(0.5, 0.4 if chance.random() < 0.1 else 0.9), ""


def wanted(sent: Sent, ends: str, did: Sequence[str]) -> str:
    """The one outcome this input may have, from what it is and what the server did to it at the end."""
    if ends:
        return ends
    last = BY_NAME[until_answered(did)[-1]]
    unsure = orjson.loads(sent.value or b"")["input"][2] < REMOTE_THRESHOLD
    return "low_confidence" if last.ends == "remote" and unsure else last.ends


# the server


class Server:
    """The hostile server's process, and what it has to tell."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/did", timeout=30) as response:
            told: dict[str, Any] = json.load(response)
            return told


@contextmanager
def hostile_server() -> Iterator[Server]:
    command = [sys.executable, "-m", "support.hostile", str(SEED)]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield Server(json.loads(process.stdout.readline())["port"])
        finally:
            process.kill()


# the worker, watched from outside


class Sampler:
    """Memory and sockets of a process, twice a second."""

    def __init__(self, pid: int) -> None:
        self.rss: list[int] = []
        self.sockets: list[int] = []
        self._process = psutil.Process(pid)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def look(self) -> tuple[int, int]:
        """Resident bytes, and open sockets."""
        links = [_target(link) for link in Path(f"/proc/{self._process.pid}/fd").iterdir()]
        return self._process.memory_info().rss, sum(target.startswith("socket:") for target in links)

    def _run(self) -> None:
        while not self._end.wait(0.5):
            rss, sockets = self.look()
            self.rss.append(rss)
            self.sockets.append(sockets)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed meanwhile
        return ""


def watched_worker(pipeline: Pipeline) -> Worker:
    worker = pipeline.start(["support.watched_worker", str(pipeline.config), str(pipeline.folder / "watched.json")])
    worker.wait_for("partition_acquired", 3 * pipeline.partitions)
    return worker


@pytest.fixture
def pipeline(broker: Broker, tmp_path: Path) -> Iterator[tuple[Server, Pipeline]]:
    remote = {
        "output": "scored",
        "output_name": "label",
        "score_output": "score",
        "max_response_bytes": MOST_BYTES,
        "in_flight": IN_FLIGHT,
        "batch_size": 1,  # a failed call blames one input, so that each has an outcome of its own to be right or wrong
        "batch_wait_ms": 0,
        "timeout_s": PATIENCE_S,
        "tries": TRIES,
        "backoff_first_s": 0.02,
        "backoff_most_s": 0.1,
        "breaker_failures": 20,
        "breaker_cool_down_s": 0.2,
        "terminal_cool_down_s": 0.5,  # where the first call of all is not found
    }
    with (
        hostile_server() as server,
        Pipeline(broker.bootstrap_servers, tmp_path, server.url, {"remote": remote}) as made,
    ):
        made.alter("doubtful", max_message_bytes="100000")
        yield server, made
        for worker in made.workers:  # shown where the test fails
            print(f"--- {worker!r}\n{worker.tail(30)}")


@pytest.mark.long(45)
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="sockets and processor time are read as Linux has them")
@pytest.mark.timeout(400)  # it takes 40 s where nothing else runs
def test_every_input_has_the_one_outcome_that_is_right(pipeline: tuple[Server, Pipeline]) -> None:
    server, made = pipeline
    worker = watched_worker(made)
    with Sampler(worker.process.pid) as sampler:
        began = time.monotonic()
        idle_sockets = sampler.look()[1]
        asked = inputs()
        sent = made.send([record for record, _ in asked])
        made.wait_for_outcomes(sent, timeout_s=300.0)
        took_s = time.monotonic() - began
        told = server.ask()
    deaths = int(not worker.running) or int(worker.stop() != 0)
    outcomes = made.outcomes()
    watched = json.loads((made.folder / "watched.json").read_text())
    did = {int(number): calls for number, calls in told["did"].items()}
    wrong = misjudged(sent, [ends for _, ends in asked], did, outcomes)
    counted = tally(sent, outcomes)
    warm = len(sampler.rss) // 4
    report = {
        "seed": SEED,
        "inputs": len(sent),
        "outcomes_by_reason": dict(Counter(outcome.kind for outcome in outcomes).most_common()),
        "lost": len(counted.lost),
        "duplicated": len(counted.duplicated) + len(counted.foreign),
        "misjudged": len(wrong),
        "worker_deaths": deaths,
        "longest_block_ms": round(watched["longest_block_ms"], 1),
        "beats": watched["beats"],
        "calls": sum(map(len, did.values())),
        "tricks_met": dict(Counter(name for calls in did.values() for name in calls).most_common()),
        "redirects_followed": told["trapped"],
        "rss_after_warm_up_mib": round(max(sampler.rss[:warm]) / MIB, 1),
        "rss_most_mib": round(max(sampler.rss[warm:]) / MIB, 1),
        "sockets_idle": idle_sockets,
        "sockets_most": max(sampler.sockets),
        "breaker_opened": worker.actions()["breaker_opened"],
        "seconds": round(took_s, 1),
        "worst_blocks": watched["worst"],
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1))
    assert (report["lost"], report["duplicated"], report["worker_deaths"]) == (0, 0, 0)
    assert wrong == []
    # what is refused before the remote has answered anything may be the remote's fault, and is asked again
    assert len(asked_too_often(did)) <= IN_FLIGHT
    assert set(BY_NAME) == set(report["tricks_met"]), "every trick was played"
    assert report["redirects_followed"] == 0
    assert report["breaker_opened"] >= 1, "it was down for a while"
    assert worker.actions()["batch_failed"] == 0, "no error escaped its classification"
    assert max(sampler.rss[warm:]) - max(sampler.rss[:warm]) < MOST_GROWTH_BYTES
    assert max(sampler.sockets) <= idle_sockets + IN_FLIGHT + SPARE_SOCKETS
    assert watched["longest_block_ms"] < MOST_BLOCK_MS, watched["worst"][0]["stack"]


def misjudged(
    sent: Sequence[Sent], ends: Sequence[str], did: Mapping[int, Sequence[str]], outcomes: Sequence[Outcome]
) -> list[dict[str, Any]]:
    """Inputs whose outcome is not the one they must have; the first ten."""
    found = {outcome.place: outcome for outcome in outcomes}
    wrong = []
    for number, (record, end) in enumerate(zip(sent, ends, strict=True)):
        outcome, calls = found[record.place], did.get(number, ())
        want = wanted(record, end, calls)
        detail = outcome.facts.detail if outcome.facts else outcome.result
        if outcome.kind != want:
            wrong.append({"number": number, "want": want, "got": outcome.kind, "met": calls, "detail": detail})
    return wrong[:10]


def until_answered(calls: Sequence[str]) -> Sequence[str]:
    """The calls about an input itself: after its answer come only those of probes, which ask what was answered."""
    answers = [place for place, name in enumerate(calls) if BY_NAME[name].ends in ANSWERS]
    return calls[: answers[0] + 1] if answers else calls


def asked_too_often(did: Mapping[int, Sequence[str]]) -> dict[int, Sequence[str]]:
    """Inputs that were asked about again after as many bad answers as there are tries, or against the server's word.

    This server answers inputs that it has just refused. So the worker learns to ask refused ones again.
    """
    again = {name for name, trick in BY_NAME.items() if trick.may_pass}
    before = {number: until_answered(calls)[:-1] for number, calls in did.items()}
    bad = {number: [name for name in calls if name not in again] for number, calls in before.items()}
    return {number: did[number] for number, met in bad.items() if len(met) >= TRIES or "500 do not retry" in met}
