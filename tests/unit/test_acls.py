from __future__ import annotations

from pathlib import Path

import pytest
from aiokafka import TopicPartition
from bisupervised.streams import cli
from bisupervised.streams.commands.acls import Acl, creation_acls, worker_acls
from bisupervised.streams.flow import AGENTS, AgentName, steps
from bisupervised.streams.plane.sending.coordinator import Coordinator
from bisupervised.streams.plane.sending.outbox import ExactlyOnce
from bisupervised.streams.plane.sending.routing import Router
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.keys.audit import AuditSettings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker.making import plane_policy
from pydantic import SecretStr
from support.configurations import configuration_of

TOML = """
name = "shop"
[topics]
requests = "shop.in"
[stream]
delivery = "{delivery}"
[local]
model = "my_model:load"
threshold = 0.5
[remote]
url = "http://127.0.0.1"
model = "large"
threshold = 0.5
while_open = "{while_open}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path)


def written(folder: Path, delivery: str = "exactly_once", while_open: str = "wait") -> Path:
    path = folder / "shop.toml"
    path.write_text(TOML.format(delivery=delivery, while_open=while_open))
    return path


@pytest.fixture
def settings(config: Path) -> Settings:
    return load_settings(config, {})


def test_a_worker_with_all_agents(settings: Settings) -> None:
    writes = ("Write", "Describe", "DescribeConfigs")
    assert worker_acls(settings) == [
        Acl("topic", "shop.in", ("Read", "Describe")),
        Acl("topic", "results", writes),
        Acl("topic", "doubtful", (*writes, "Read")),
        Acl("topic", "fallback", writes),
        Acl("group", "shop-local", ("Read", "Describe")),
        Acl("transactional-id", "shop-local:shop.in:", ("Write", "Describe"), prefixed=True),
        Acl("topic", "answers", (*writes, "Read")),
        Acl("group", "shop-remote", ("Read", "Describe")),
        Acl("transactional-id", "shop-remote:doubtful:", ("Write", "Describe"), prefixed=True),
        Acl("group", "shop-remote-supervisor", ("Read", "Describe")),
        Acl("transactional-id", "shop-remote-supervisor:answers:", ("Write", "Describe"), prefixed=True),
    ]


def test_the_auditor_is_in_any_worker(settings: Settings) -> None:
    audited = settings.model_copy(update={"audit": AuditSettings(share=0.01, secret=SecretStr("x"))})
    more = [acl for acl in worker_acls(audited, ["remote"]) if acl not in worker_acls(settings, ["remote"])]
    assert more == [
        Acl("topic", "audits", ("Write", "Describe", "DescribeConfigs", "Read")),
        Acl("topic", "labels", ("Read", "Describe")),
        Acl("topic", "trust", ("Read", "Write", "Describe")),
        Acl("group", "shop-auditor", ("Read", "Describe")),
        Acl("transactional-id", "shop-auditor", ("Write", "Describe")),
    ]


@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_alone_gets_what_its_plane_uses(settings: Settings, agent: AgentName) -> None:
    step = steps(settings)[agent]
    policy = plane_policy(configuration_of(settings), step)
    found = worker_acls(settings, [agent])
    assert [acl.name for acl in found if acl.resource == "group"] == [policy.outbox.group]
    readable = [acl.name for acl in found if acl.resource == "topic" and "Read" in acl.operations]
    writable = {acl.name for acl in found if acl.resource == "topic" and "Write" in acl.operations}
    assert readable == [policy.topic]
    assert writable == {settings.topics.name_of(route) for route in step.routes}


@pytest.mark.parametrize("agent", AGENTS)
def test_transactional_ids_are_those_that_the_producers_have(settings: Settings, agent: AgentName) -> None:
    step = steps(settings)[agent]
    policy = plane_policy(configuration_of(settings), step).outbox
    coordinator = Coordinator(policy.connection, policy.group)
    outbox = ExactlyOnce(policy, TopicPartition(step.topic, 7), Router({}, step.topic), coordinator)
    (allowed,) = (acl for acl in worker_acls(settings, [agent]) if acl.resource == "transactional-id")
    assert allowed.prefixed
    assert outbox.transactional_id == f"{allowed.name}7"


def test_shadows_are_written_by_the_local_agent_and_read_beside_the_remote_agent(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text() + "[audit]\nshadow_share = 0.02\n")
    settings = load_settings(path, {"BISUPERVISED_AUDIT__SECRET": "s"})
    shadows = {agent: [acl for acl in worker_acls(settings, [agent]) if "shadow" in acl.name] for agent in AGENTS}
    assert shadows == {
        "local": [Acl("topic", "shadows", ("Write", "Describe", "DescribeConfigs"))],
        "remote": [
            Acl("topic", "shadows", ("Read", "Describe")),
            Acl("group", "shop-shadow", ("Read", "Describe")),
            Acl("transactional-id", "shop-shadow:shadows:", ("Write", "Describe"), prefixed=True),
        ],
        "remote_supervisor": [],
    }
    assert Acl("topic", "shadows", ("Create", "Describe")) in creation_acls(settings)


def test_the_degraded_mode_needs_one_more(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, while_open="accept_local"), {})
    assert "results" in [acl.name for acl in worker_acls(settings, ["remote"])]


def test_without_transactions_no_transactional_ids(tmp_path: Path) -> None:
    found = worker_acls(load_settings(written(tmp_path, delivery="at_least_once"), {}))
    assert not [acl for acl in found if acl.resource == "transactional-id"]
    assert Acl("cluster", "kafka-cluster", ("IdempotentWrite",)) in found


def test_a_budget_has_a_topic_that_the_remote_agent_writes_and_reads(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text() + "[budget]\ncalls = 100\n")
    settings = load_settings(path, {})
    budget = Acl("topic", "budget", ("Read", "Write", "Describe", "DescribeConfigs"))
    assert budget in worker_acls(settings, ["remote"])
    assert [acl for acl in worker_acls(settings, ["local", "remote_supervisor"]) if acl.name == "budget"] == []
    assert creation_acls(settings)[-1] == Acl("topic", "budget", ("Create", "Describe"))


def test_making_topics_needs_no_more_than_that(settings: Settings) -> None:
    assert {acl.operations for acl in creation_acls(settings)} == {("Create", "Describe")}
    assert [acl.name for acl in creation_acls(settings)] == ["shop.in", "doubtful", "answers", "results", "fallback"]


def test_the_command_prints_them(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["topics", "acls", "--config", str(config)]
    assert cli.run([*told, "--agents", "remote-supervisor", "--principal", "User:judge"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "--add --allow-principal User:judge --operation Read --operation Describe --topic answers",
        "--add --allow-principal User:judge --operation Write --operation Describe --operation DescribeConfigs "
        "--topic results",
        "--add --allow-principal User:judge --operation Write --operation Describe --operation DescribeConfigs "
        "--topic fallback",
        "--add --allow-principal User:judge --operation Read --operation Describe --group shop-remote-supervisor",
        "--add --allow-principal User:judge --operation Write --operation Describe "
        "--transactional-id shop-remote-supervisor:answers: --resource-pattern-type prefixed",
    ]
    assert cli.run([*told, "--creation"]) == 0
    assert "--operation Create --operation Describe --topic shop.in" in capsys.readouterr().out
    assert cli.run([*told, "--review", "--principal", "User:people"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "--add --allow-principal User:people --operation Read --operation Describe --topic audits",
        "--add --allow-principal User:people --operation Read --operation Describe --topic fallback",
        "--add --allow-principal User:people --operation Read --operation Write --operation Describe --topic labels",
    ]
    assert cli.run([*told, "--agents", "nobody"]) == 2
