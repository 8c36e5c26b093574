"""How tests on a broker are dealt out to the processes of pytest-xdist: one by one, in the order they come.

Some files are dealt out whole. Their tests share what is dear to start, or see what the others of them leave.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler.loadscope import LoadScopeScheduling

#: file -> who goes with it to one process
TOGETHER = {
    "test_page": "page",  # a pipeline and a browser
    "test_secured_broker": "secured",  # a broker that asks who comes
    "test_canaries": "secured",
    "test_granted": "granted",  # a broker that asks who may do what
    "test_last_transaction": "ending",  # a broker that asks nothing
    "test_rehearsal": "rehearsal",  # each looks whether the broker is left as it was
    "test_bench_model": "torch",  # seconds and 300 MB for a process that imports it
}


def dealt_with(nodeid: str) -> str:
    """What goes to one process as one: the test itself, or a group of files."""
    file = PurePosixPath(nodeid.partition("::")[0])
    return TOGETHER.get(file.stem, nodeid)


class Dealing(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist ships no types
    def _split_scope(self, nodeid: str) -> str:
        return dealt_with(nodeid)
