"""Processes that a command starts for its own run: a broker, a model server, a worker.

Each is entered into the caller's `ExitStack`, which ends it by its id, whatever happens.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.console import Console

from ...schemas.errors import BiSupervisedError
from ..console.signals import run_coroutine
from ..settings.broker import connection
from ..settings.tables import Settings
from .broker import Broker, last_lines

Process = subprocess.Popen[bytes]

_READY_S = 120.0  # a worker may load torch, and joins three groups; a busy machine takes its time
_STOP_S = 30.0
_PAGE = re.compile(r"the page: (http://\S+)")


class ProcessError(BiSupervisedError):
    """A process did not start or ended too early. The message says where to look."""


@contextmanager
def process(
    command: list[str], log: Path, *, stdout: int | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """A process that ends with the block. It has a session of its own, so that Ctrl-C reaches it only through us.

    It does not inherit `BISUPERVISED_` variables, for they would change its settings; `env` is added.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BISUPERVISED_")}
    with log.open("wb") as lines:
        started = subprocess.Popen(  # noqa: S603  # this Python, with arguments from here
            command,
            stdin=subprocess.DEVNULL,
            stdout=lines if stdout is None else stdout,
            stderr=lines,
            env={**kept, **(env or {})},
            start_new_session=True,
        )
    try:
        yield started
    finally:
        end(started)
        if started.stdout is not None:
            started.stdout.close()


def end(started: Process) -> None:
    """Send SIGTERM, and SIGKILL where the process does not react. Returns when it is gone."""
    if started.poll() is None:
        started.terminate()
    try:
        started.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()


def start_broker(processes: ExitStack, console: Console) -> str:
    """Start an embedded broker. Returns its bootstrap servers. Raises `BrokerError`."""
    broker = Broker()
    processes.callback(broker.stop)
    broker.start(lambda step: console.print(f"  {step}"))
    return broker.bootstrap_servers


def start_server(
    options: Mapping[str, object],
    folder: Path,
    processes: ExitStack,
    env: Mapping[str, str] | None = None,
    module: str = "bisupervised.streams.sandbox.model_server",
) -> str:
    """Start a model server with these options; one that is True is a flag. Returns its URL. Raises `ProcessError`."""
    command = [sys.executable, "-m", module]
    for name, value in options.items():
        command += [name] if value is True else [name, str(value)]
    log = folder / "server.log"
    server = processes.enter_context(process(command, log, stdout=subprocess.PIPE, env=env))
    line = _first_line(server.stdout)
    if not line:
        raise ProcessError(_failed("the remote model did not start", log))
    url: str = json.loads(line)["url"]
    return url


def _first_line(stream: IO[bytes] | None) -> bytes:
    return stream.readline() if stream is not None else b""


def start_worker(
    config: Path, settings: Settings, folder: Path, processes: ExitStack, env: Mapping[str, str] | None = None
) -> Process:
    """Start `bisupervised worker --config …`. Returns once its agents have joined their consumer groups.

    Raises `ProcessError` where they do not.
    """
    log = folder / "worker.log"
    command = [sys.executable, "-m", "bisupervised.streams.cli", "worker", "--config", str(config)]
    worker = processes.enter_context(process(command, log, env=env))
    run_coroutine(_wait_until_ready(settings, worker, log))
    return worker


def _failed(what: str, log: Path) -> str:
    return f"{what}. The end of {log}:\n{last_lines(log, 15)}"


async def _wait_until_ready(settings: Settings, worker: Process, log: Path) -> None:
    groups = {f"{settings.name}-{agent}" for agent in ("local", "remote", "remote-supervisor")}
    deadline = time.monotonic() + _READY_S
    admin = AIOKafkaAdminClient(**connection(settings.kafka).options())
    await admin.start()
    try:
        while not await _have_joined(admin, groups):
            if worker.poll() is not None:
                raise ProcessError(_failed(f"the worker ended with status {worker.returncode}", log))
            if time.monotonic() > deadline:
                raise ProcessError(_failed(f"the worker was not ready after {_READY_S:.0f} s", log))
            await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def _have_joined(admin: AIOKafkaAdminClient, groups: set[str]) -> bool:
    # their states would say more, but the client cannot read what Kafka 4 answers about them
    try:
        return groups <= {group for group, *_ in await admin.list_consumer_groups()}
    except KafkaError:  # the coordinator of a new broker is still loading
        return False


def page_address(log: Path) -> str | None:
    """The address of the page that the worker with this log serves; None where it serves none."""
    found = _PAGE.findall(log.read_text(errors="replace"))
    return found[-1] if found else None
