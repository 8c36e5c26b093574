"""Worker processes that begin where Python has imported everything: by a fork of a process that did so once.

A worker that is started anew spends half of its first seconds on imports, and the tests start hundreds. A forked one
is a process like any other: it has its own memory, it is a child of the test's process, and signals, crashes and exit
codes are its own. Tests about the start itself carry the marker `fresh`, and start workers as users do.

    python -m support.forking FD

imports, then forks whenever it is asked over the socket FD: `{"module", "arguments", "cwd", "env"}` and the
descriptor that becomes standard output and error. It answers with the process id.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import inspect
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
#: what workers and replays import; not the modules that are run, which `runpy` wants to import itself
_IMPORTED = (
    "bisupervised.streams.worker.app",
    "bisupervised.streams.record.run",
    "bisupervised.streams.worker.protocols",
    "bisupervised.streams.tools.commands",
    "bisupervised.streams.tools.replay_run",
    "support.models",
)
_LARGEST = 2**20  #: bytes of a question
#: `prctl` option, from linux/prctl.h: orphans among our descendants become our children
_PR_SET_CHILD_SUBREAPER = 36
AVAILABLE = sys.platform == "linux"


class Forked:
    """A forked process: as much of `subprocess.Popen` as the tests use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status; None while it runs, minus the signal where one ended it."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended. Raises `subprocess.TimeoutExpired`."""
        if self.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                ended, _, _ = select.select([descriptor], [], [], timeout)
            finally:
                os.close(descriptor)
            if not ended:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        while self.poll() is None:  # a moment may lie between the end and its being told
            pass
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended: another process may have its id."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(module: str, arguments: Sequence[str], output: int, cwd: Path, env: Mapping[str, str]) -> Forked:
    """`python -m module arguments`, with standard output and error to this descriptor."""
    asked = {"module": module, "arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}
    forker = _forker()
    _adopt_orphans(True)  # the process that forked it ends at once, and we become its parent
    try:
        socket.send_fds(forker, [json.dumps(asked).encode()], [output])
        told = json.loads(forker.recv(_LARGEST))
    finally:
        _adopt_orphans(False)
    return Forked(told["pid"])


@cache
def _forker() -> socket.socket:
    """The process that forks, started when it is needed first; it ends with this one, whose end closes the socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "support.forking", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"},
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _adopt_orphans(adopt: bool) -> None:
    # only for the moment of a fork: else what a killed broker's owner leaves behind would become ours as well
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _serve(questions: socket.socket) -> None:
    """Fork whenever asked, until the other end closes. In a forked process this runs the module."""
    while True:
        asked, descriptors, _, _ = socket.recv_fds(questions, _LARGEST, 1)
        if not asked:
            return
        pid = _orphan()
        if pid == 0:
            questions.close()
            _become(json.loads(asked), descriptors[0])
            return
        os.close(descriptors[0])
        questions.send(json.dumps({"pid": pid}).encode())


def _orphan() -> int:
    """Fork a process whose parent has ended when this returns: its id, and 0 in the process itself."""
    reads, writes = os.pipe()
    middle = os.fork()
    if middle == 0:
        pid = os.fork()
        if pid != 0:
            os.write(writes, str(pid).encode())
            os._exit(0)
    os.close(writes)
    if middle == 0:
        os.close(reads)
        return 0
    os.waitpid(middle, 0)
    pid = int(os.read(reads, 20))
    os.close(reads)
    return pid


def _become(asked: dict[str, Any], output: int) -> None:
    """Run a module as `python -m` does, in this process."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.path[0] = asked["cwd"]
    sys.argv = [asked["module"], *asked["arguments"]]
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)


def _prepare() -> None:
    """Do once what each forked process would do: import, learn which file each module is of, and clear up the heap."""
    for name in _IMPORTED:
        importlib.import_module(name)
    inspect.getmodule(inspect.currentframe())  # Faust asks for each agent, and the first answer looks at every module
    gc.collect()
    gc.freeze()  # nobody looks through it again: a page that a collection touches is copied


if __name__ == "__main__":
    _prepare()
    _serve(socket.socket(fileno=int(sys.argv[1])))
