from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bisupervised.agents.agents import Agent, RemoteSupervisorAgent
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.agents.terms import Terms
from bisupervised.streams.settings.file import Configuration, ConfigurationFile, load_configuration, load_settings
from bisupervised.streams.worker.making import make_agent
from bisupervised.streams.worker.reload import Reloader, compare, merged

TABLES: dict[str, dict[str, Any]] = {
    "topics": {"partitions": 2},
    "local": {"model": "my_model:load", "threshold": 0.9},
    "remote": {"url": "http://127.0.0.1:1", "model": "large", "threshold": 0.5, "requests_per_minute": 600},
}


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def write(path: Path, **changes: dict[str, Any]) -> Path:
    tables = {name: TABLES.get(name, {}) | changes.get(name, {}) for name in {**TABLES, **changes}}
    path.write_text("\n".join(f"{name} = {toml(keys)}" for name, keys in tables.items()))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "bisupervised.toml")


def changed(path: Path, **changes: dict[str, Any]) -> Configuration:
    return load_configuration(write(path, **changes), {})


def reloader_of(path: Path, agents: Sequence[Agent]) -> Reloader:
    """Of a worker that has been started with what the file says now."""
    return Reloader(ConfigurationFile(path), load_configuration(path, {}), agents)


class Listener(Agent):
    """Remembers what it is told."""

    def __init__(self, objections: Sequence[str] = ()) -> None:
        self.told: list[Terms] = []
        self._objections = list(objections)

    async def run(self, batches: Any) -> None:
        """Never."""

    def objections(self, terms: Terms) -> list[str]:
        return self._objections

    def adopt(self, terms: Terms) -> None:
        self.told.append(terms)


def reload(reloader: Reloader, *, asked: bool) -> None:
    asyncio.run(reloader.reload(asked=asked))


@pytest.mark.parametrize(
    ("changes", "takes", "waits"),
    [
        ({}, set(), ()),
        ({"local": {"threshold": 0.8}}, {("local", "threshold")}, ()),
        ({"remote": {"tokens_per_minute": 5}}, {("remote", "tokens_per_minute")}, ()),
        ({"remote": {"in_flight": 9}}, {("remote", "in_flight")}, ()),
        ({"log": {"json": True}}, set(), (("log", "json"),)),
        (
            {"kafka": {"request_timeout_s": 9.0}, "remote": {"threshold": 0.6, "timeout_s": 9.0}},
            {("remote", "threshold")},
            (("kafka", "request_timeout_s"), ("remote", "timeout_s")),
        ),
        # thresholds are of the scores, and scores are of the model: together, or not at all
        (
            {"local": {"threshold": 0.8, "model": "other:load"}, "remote": {"in_flight": 9}},
            {("remote", "in_flight")},
            (("local", "model"), ("local", "threshold")),
        ),
        (
            {"remote": {"threshold": 0.6, "supervisor": "pcs"}},
            set(),
            (("remote", "supervisor"), ("remote", "threshold")),
        ),
    ],
)
def test_what_is_taken_over_and_what_waits(
    path: Path, changes: dict[str, Any], takes: set[tuple[str, str]], waits: tuple[tuple[str, str], ...]
) -> None:
    change = compare(load_settings(path, {}), changed(path, **changes).settings)
    assert (set(change.takes), change.waits) == (takes, waits)


def test_what_runs_is_the_old_settings_with_what_was_taken_over(path: Path) -> None:
    old = load_settings(path, {})
    new = changed(path, local={"threshold": 0.8}, remote={"timeout_s": 9.0}).settings
    runs = merged(old, new, compare(old, new).takes)
    assert (runs.local.threshold, runs.remote.timeout_s) == (0.8, 30.0)
    assert compare(runs, new).waits == (("remote", "timeout_s"),), "told again at the next change"


def test_all_agents_are_told_the_same_at_once(path: Path) -> None:
    agents = [Listener(), Listener()]
    reloader = reloader_of(path, agents)
    reload(reloader, asked=False)
    assert [agent.told for agent in agents] == [[], []], "nothing has changed"
    expected = changed(path, local={"threshold": 0.8}, remote={"requests_per_minute": 6000}).terms
    reload(reloader, asked=False)
    assert [agent.told for agent in agents] == [[expected], [expected]]
    assert expected.local == Supervisor("max_softmax", 0.8)
    assert expected.limits.requests_per_minute == 6000


def test_batches_hear_that_somebody_asked_as_agents_do(path: Path) -> None:
    """Who asks may have mended what the provider refuses."""
    heard: list[bool] = []
    reloader = Reloader(
        ConfigurationFile(path), load_configuration(path, {}), [Listener()], renewed=[lambda: heard.append(True)]
    )
    reload(reloader, asked=False)
    assert heard == []
    reload(reloader, asked=True)
    assert heard == [True]


def test_thresholds_wait_for_their_model_while_limits_do_not(path: Path) -> None:
    agent = Listener()
    before = load_configuration(path, {})
    reloader = Reloader(ConfigurationFile(path), before, [agent])
    write(path, local={"threshold": 0.8, "version": "2"}, remote={"in_flight": 4})
    reload(reloader, asked=False)
    (told,) = agent.told
    assert (told.local.threshold, told.version, told.limits.in_flight) == (0.9, before.terms.version, 4)


def test_a_faulty_file_is_told_once_and_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    agent = Listener()
    reloader = reloader_of(path, [agent])
    write(path, local={"threshold": 9}, remote={"in_flight": 1, "requests_per_minute": 6000})
    for asked in (False, False, True):
        reload(reloader, asked=asked)
    refused = [record for record in caplog.records if getattr(record, "action", "") == "reload_refused"]
    assert [record.faults for record in refused] == 2 * [  # type: ignore[attr-defined]  # from `extra`
        (
            "[local] threshold: must be between 0 and 1 (got 9)",
            "[remote] in_flight: must be at least [topics] partitions (got 1 and 2)",
        )
    ]
    assert not agent.told


def test_an_agent_that_objects_keeps_everybody_on_the_old_terms(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    agents = [Listener(), Listener(["of another model"])]
    reloader = reloader_of(path, agents)
    write(path, remote={"threshold": 0.6})
    reload(reloader, asked=False)
    assert not agents[0].told
    assert "of another model" in caplog.text


def test_other_thresholds_under_the_same_name_are_refused(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    agent = Listener()
    write(path, thresholds={"version": "mine"})
    reloader = reloader_of(path, [agent])
    write(path, thresholds={"version": "mine"}, local={"threshold": 0.8})
    reload(reloader, asked=False)
    assert not agent.told
    assert "is still 'mine', and the thresholds are others" in caplog.text
    write(path, thresholds={"version": "mine2"}, local={"threshold": 0.8})
    reload(reloader, asked=False)
    assert [terms.version for terms in agent.told] == ["mine2"]


def test_what_needs_a_restart_is_named_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reloader = reloader_of(path, [])
    write(path, remote={"url": "http://127.0.0.1:2", "headers": {"x-team": "a"}})
    for _ in range(2):
        reload(reloader, asked=False)
    waits = [record for record in caplog.records if getattr(record, "action", "") == "restart_needed"]
    assert [record.getMessage() for record in waits] == [
        "changed, and needs a restart of the worker: [remote] headers, [remote] url"
    ]
    reload(reloader, asked=True)
    assert [getattr(record, "action", "") for record in caplog.records[-2:]] == ["reload_unchanged", "restart_needed"]


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [("local", "threshold", 0.8), ("remote", "threshold", 0.6), ("remote", "supervisor", "pcs")],
)
def test_without_a_name_other_thresholds_have_another_version(path: Path, table: str, key: str, value: Any) -> None:
    first = load_configuration(path, {}).terms.version
    assert first.startswith("digest-")
    assert changed(path, **{table: {key: value}}).terms.version != first
    assert changed(path, log={"json": True}).terms.version == first, "what does not judge does not count"


def test_the_agents_judge_under_that_version(path: Path) -> None:
    configuration = load_configuration(path, {})
    agent = make_agent(configuration, "remote_supervisor", lambda: None)
    assert isinstance(agent, RemoteSupervisorAgent)
    assert agent._judge._thresholds == configuration.terms.version
    new = changed(path, remote={"threshold": 0.6}).terms
    agent.adopt(new)
    assert (agent._judge._supervisor, agent._judge._thresholds) == (new.remote, new.version)
