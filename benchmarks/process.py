"""A program in a process of its own: started on entering, ended on leaving. It can be asked what it costs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

ROOT = Path(__file__).parents[1]


class Process:
    """A process. Its output goes into a log."""

    def __init__(self, command: Sequence[str | Path], log: Path, **environment: str) -> None:
        self._command = [str(part) for part in command]
        self._environment = environment_with(environment)
        self._log = log
        self.process: psutil.Popen

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        with self._log.open("wb") as sink:
            self.process = psutil.Popen(
                self._command, stdout=sink, stderr=sink, cwd=self._log.parent, env=self._environment
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except psutil.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)

    @property
    def alive(self) -> bool:
        """Whether the process has not ended yet."""
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """The whole log."""
        return self._log.read_text(errors="replace")

    @property
    def cpu_s(self) -> float:
        """CPU time so far, seconds, in user and kernel mode."""
        return cpu_s(self.process)

    @property
    def wanted_s(self) -> float:
        """Seconds that its main thread ran or waited for a free core; the CPU time where the system does not tell."""
        told = Path(f"/proc/{self.process.pid}/schedstat")
        if not told.exists():  # not Linux
            return self.cpu_s
        ran_ns, waited_ns, _ = told.read_text().split()
        return (int(ran_ns) + int(waited_ns)) / 1e9

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        return float(self.process.memory_info().rss) / 2**20

    @property
    def connections(self) -> int:
        """The number of open TCP connections."""
        return sum(held.status == psutil.CONN_ESTABLISHED for held in self.process.net_connections("tcp"))

    def suspend(self) -> None:
        """Stop the process; for less than a worker's session lasts."""
        self.process.suspend()

    def resume(self) -> None:
        """Let the process go on."""
        self.process.resume()


def environment_with(more: Mapping[str, str]) -> dict[str, str]:
    """Our environment, and these variables. Python may keep its bytecode, which an installed package has: to compile
    ours at each start takes 0.2 s.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | dict(more)


def cpu_s(process: psutil.Process) -> float:
    """CPU time so far, seconds, in user and kernel mode."""
    return float(sum(process.cpu_times()[:2]))


def broker_process(servers: str) -> psutil.Process:
    """The process of the broker that this process started and that listens there."""
    port = int(servers.rpartition(":")[2])
    for child in psutil.Process().children(recursive=True):
        if any(held.status == psutil.CONN_LISTEN and held.laddr.port == port for held in child.net_connections("tcp")):
            return child
    raise RuntimeError(f"no broker that was started from here listens at {servers}")
