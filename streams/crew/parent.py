"""The parent: `python -m bisupervised.streams.crew.parent FD`, as `starting.py` begins it. FD: a pipe with the plan."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

from ...agents.tasks import begin, end, persistently
from ..telemetry.logs import configure, tell_in_time
from ..web.page_files import read_static
from .crew import Crew
from .door import Door
from .page import Page
from .plan import Plan, cores, decode
from .process import start

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

log = logging.getLogger(f"{__package__}.parent")  # run as a program, its name is another


async def lead(plan: Plan, static: Mapping[str, tuple[bytes, str]]) -> int:
    """Start the processes, show their page, and wait for their end. Returns the exit status."""
    secret = secrets.token_urlsafe(32)
    numbers = range(1, plan.processes + 1)
    doors = {} if plan.page is None else {number: Door(number, secret) for number in numbers}
    page = None if plan.page is None else Page(plan.page, list(doors.values()), static)
    crew, loop = Crew(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, crew.stop)
    making = [
        partial(start, number, plan.words, environment(plan.processes), listener_of(doors.get(number)), secret)
        for number in numbers
    ]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited: until a worker hears it, it would end it
    await crew.start(making)
    loop.add_signal_handler(signal.SIGHUP, crew.pass_on, signal.SIGHUP)
    tell_start(plan, [member.pid for member in crew.members])
    telling = begin(persistently(tell_in_time, "log"), "log")
    if page is not None:
        await page.start()
    code = await crew.ended()
    await end([telling])
    if page is not None:
        await page.stop()
    return code


def listener_of(door: Door | None) -> socket.socket | None:
    """What the process is to listen on, where there is a page."""
    return None if door is None else door.listener


def environment(processes: int) -> dict[str, str]:
    """Ours, and each process's share of the cores for torch and its like, which would else take all cores each."""
    return {"OMP_NUM_THREADS": str(max(1, cores() // processes))} | os.environ


def tell_start(plan: Plan, pids: Sequence[int]) -> None:
    """Say what runs, and where some have nothing to do."""
    extra = {"action": "processes_started", "pids": pids}
    log.info("%d processes run the worker: %s", len(pids), ", ".join(map(str, pids)), extra=extra)
    if plan.processes > plan.partitions:
        text = "%d processes share the %d partitions of each topic ([topics] partitions): some have nothing to do"
        log.warning(text, plan.processes, plan.partitions, extra={"action": "processes_idle"})


def main() -> int:
    """Read the plan, and lead."""
    with os.fdopen(int(sys.argv[1]), "rb") as pipe:
        plan = decode(pipe.read())
    configure(plan.level, as_json=plan.as_json)
    return asyncio.run(lead(plan, read_static()))


if __name__ == "__main__":
    sys.exit(main())
