"""What a worker must be allowed to do, for brokers that ask: read off the flow, as `kafka-acls.sh` takes it.

What needs which operation is Kafka's own list ("Authorization", operations and protocols). The tests hold the topics
and groups here to those that the agents are given.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from cyclopts import Parameter

from ...schemas.errors import ConfigurationError
from ..console.options import DONE
from ..flow import AGENTS, AgentName, auditor_group, batch_step, group_of, judges, parse_agents, steps, topic_configs
from ..settings.file import load_settings

if TYPE_CHECKING:
    from ..settings.tables import Settings

Resource = Literal["topic", "group", "transactional-id", "cluster"]


class Acl(NamedTuple):
    """Operations on one resource; `prefixed`: on all whose names begin so."""

    resource: Resource
    name: str
    operations: tuple[str, ...]
    prefixed: bool = False


def worker_acls(settings: Settings, agents: Sequence[AgentName] = AGENTS) -> list[Acl]:
    """What a worker with these agents needs, and nothing else."""
    found = []
    batching = batch_step(settings, agents)
    for step in [*steps(settings, agents).values(), *([batching] if batching else [])]:
        group = group_of(settings, step.agent)
        found.append(Acl("topic", step.topic, ("Read", "Describe")))
        found += [
            # the largest record a topic takes is asked for; where that is refused, Kafka's default is assumed
            Acl("topic", settings.topics.name_of(route), ("Write", "Describe", "DescribeConfigs"))
            for route in step.routes
        ]
        if step.agent == "bulk":
            found.append(Acl("topic", settings.topics.batches, ("Read", "Write", "Describe", "DescribeConfigs")))
        if step.agent == "remote" and settings.budget.limited:
            found.append(Acl("topic", settings.topics.budget, ("Read", "Write", "Describe", "DescribeConfigs")))
        if judges(settings, step.agent):
            found.append(Acl("topic", settings.topics.thresholds, ("Read", "Describe", "DescribeConfigs")))
        found.append(Acl("group", group, ("Read", "Describe")))
        if settings.stream.delivery == "exactly_once":
            # one id for each input partition: GROUP:TOPIC:PARTITION
            found.append(Acl("transactional-id", f"{group}:{step.topic}:", ("Write", "Describe"), prefixed=True))
    if settings.audit.on:
        found += _auditor_acls(settings)
    if settings.stream.delivery == "at_least_once":
        # its producers are idempotent without a transaction; Kafka 3 and later let whoever may write do that
        found.append(Acl("cluster", "kafka-cluster", ("IdempotentWrite",)))
    return _merged(found)


def _auditor_acls(settings: Settings) -> list[Acl]:
    """What the auditor needs, which is in one of the workers, whichever agents they run."""
    topics, group = settings.topics, auditor_group(settings)
    chooses = ("Write",) if settings.audit.on_alarm == "tighten" else ()
    versions = [Acl("topic", topics.thresholds, ("Read", *chooses, "Describe"))] if settings.follows else []
    return [
        *versions,
        Acl("topic", topics.audits, ("Read", "Describe")),
        Acl("topic", topics.labels, ("Read", "Describe")),
        Acl("topic", topics.trust, ("Read", "Write", "Describe")),
        Acl("group", group, ("Read", "Describe")),
        Acl("transactional-id", group, ("Write", "Describe")),
    ]


def creation_acls(settings: Settings) -> list[Acl]:
    """What `topics create` needs."""
    return [Acl("topic", name, ("Create", "Describe")) for name in topic_configs(settings)]


def choosing_acls(settings: Settings) -> list[Acl]:
    """What `audit set`, `audit pin` and `audit unpin` need. Raises `ConfigurationError` where nobody follows them."""
    if not settings.follows:
        raise ConfigurationError(["[thresholds] follow: is false, so no worker follows what is chosen"])
    return [Acl("topic", settings.topics.thresholds, ("Read", "Write", "Describe"))]


def review_acls(settings: Settings) -> list[Acl]:
    """What `bisupervised review` needs. It joins no group and has no transactions."""
    topics = settings.topics
    read = [Acl("topic", name, ("Read", "Describe")) for name in (topics.audits, topics.fallback)]
    return [*read, Acl("topic", topics.labels, ("Read", "Write", "Describe"))]


def _merged(found: Iterable[Acl]) -> list[Acl]:
    """One for each resource: a topic between two agents is written by one and read by the other."""
    operations: dict[tuple[Resource, str, bool], tuple[str, ...]] = {}
    for resource, name, more, prefixed in found:
        known = operations.get((resource, name, prefixed), ())
        operations[resource, name, prefixed] = known + tuple(one for one in more if one not in known)
    return [Acl(resource, name, all_of, prefixed) for (resource, name, prefixed), all_of in operations.items()]


def command(acl: Acl, principal: str) -> str:
    """The arguments of `kafka-acls.sh` that grant it."""
    subject = "--cluster" if acl.resource == "cluster" else f"--{acl.resource} {acl.name}"
    operations = " ".join(f"--operation {operation}" for operation in acl.operations)
    pattern = " --resource-pattern-type prefixed" if acl.prefixed else ""
    return f"--add --allow-principal {principal} {operations} {subject}{pattern}"


def acls(
    *,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    agents: str = ",".join(AGENTS),
    principal: str = "User:bisupervised",
    creation: Annotated[bool, Parameter(negative="")] = False,
    choosing: Annotated[bool, Parameter(negative="")] = False,
    review: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Print what a worker must be allowed to do at a broker that asks, as arguments of `kafka-acls.sh`, a line each.

    Parameters
    ----------
    config
        TOML file with the settings.
    agents
        Which agents the worker runs, separated by commas.
    principal
        Who it is to the broker.
    creation
        What `topics create` needs instead.
    choosing
        What `audit set`, `audit pin` and `audit unpin` need instead.
    review
        What `review` needs instead.
    """
    chosen, faults = parse_agents(agents)
    if faults:
        raise ConfigurationError(faults)
    settings = load_settings(config)
    instead = ((choosing, choosing_acls), (review, review_acls), (creation, creation_acls))
    asked = [acl for wanted, of in instead if wanted for acl in of(settings)]
    needed = asked if choosing or review or creation else worker_acls(settings, chosen)
    sys.stdout.writelines(f"{command(acl, principal)}\n" for acl in needed)
    return DONE
