"""Every task and thread of ours is begun where its failure is heard: `agents/tasks.py`, or a place with a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGINS = ("create_task", "ensure_future", "add_future", "run_coroutine_threadsafe", "Thread", "TaskGroup", "task")
#: who may begin one, and who hears of its failure
HEARD = {
    "agents/tasks.py create_task": "this is the place",
    "agents/in_flight.py create_task": "its callback resolves the batch, or counts a failed try and logs it",
    "agents/shadow.py ensure_future": "who began it waits for it, and raises what it raises",
    "agents/local/serving/server.py TaskGroup": "the group raises what a call raises, and the batch fails",
    "agents/local/serving/server.py create_task": "of that group",
    "agents/remote/agent.py TaskGroup": "the group raises what a half raises",
    "agents/remote/agent.py create_task": "of that group",
    "streams/review/process.py TaskGroup": "the group raises what reading raises, and ends the page",
    "streams/review/process.py create_task": "of that group",
    "streams/worker/app.py add_future": "mode crashes the service, and with it the worker",
    "streams/worker/reload.py add_future": "mode crashes the service, and with it the worker",
    "streams/crew/member.py Thread": "what it runs ends the process",
    "streams/worker/pulse.py Thread": "what it runs ends the process, or is logged by Python's own hook",
}


def begun_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in BEGINS:
                yield name


def test_no_task_is_begun_where_nobody_hears_of_its_end() -> None:
    found = {
        f"{path.relative_to(ROOT)} {name}"
        for folder in ("agents", "schemas", "streams")
        for path in (ROOT / folder).rglob("*.py")
        for name in begun_in(ast.parse(path.read_text()))
    }
    assert found == set(HEARD), "begin it with `begin` of agents/tasks.py; for ever, with `persistently`"


@pytest.mark.parametrize(
    "source",
    [
        "asyncio.create_task(x())",
        "loop.create_task(x())",
        "create_task(x())",
        "asyncio.ensure_future(x())",
        "self.add_future(x())",
        "threading.Thread(target=x)",
        "async def f():\n async with asyncio.TaskGroup() as g: pass",
        "@app.task()\nasync def f(): pass",
    ],
)
def test_a_bare_one_is_found(source: str) -> None:
    assert list(begun_in(ast.parse(source)))
