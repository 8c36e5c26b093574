"""Lines of `bisupervised topics acls`, carried out and taken back: what `kafka-acls.sh` would do with each of them."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

#: numbers of Kafka's protocol
_RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactional_id": 5}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10, "IdempotentWrite": 12}
_PATTERNS = {"literal": 3, "prefixed": 4}
_ALLOW = 3


class Grant(NamedTuple):
    """One operation on one resource, or on all whose names begin so."""

    principal: str
    resource: str  #: 'topic', 'group', 'transactional_id' or 'cluster'
    name: str
    operation: str
    pattern: str  #: 'literal' or 'prefixed'


def parsed(lines: Iterable[str]) -> list[Grant]:
    """What the lines grant. A word that `kafka-acls.sh` does not know ends the test."""
    return [grant for line in lines for grant in _parsed(line)]


def _parsed(line: str) -> list[Grant]:
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--operation", action="append", choices=_OPERATIONS, required=True)
    parser.add_argument("--resource-pattern-type", choices=_PATTERNS, default="literal")
    subject = parser.add_mutually_exclusive_group(required=True)
    for resource in ("topic", "group", "transactional-id"):
        subject.add_argument(f"--{resource}")
    subject.add_argument("--cluster", action="store_const", const="kafka-cluster")
    told = parser.parse_args(shlex.split(line))
    ((resource, name),) = ((key, getattr(told, key)) for key in _RESOURCES if getattr(told, key))
    return [Grant(told.allow_principal, resource, name, one, told.resource_pattern_type) for one in told.operation]


def grant(servers: str, grants: Iterable[Grant]) -> None:
    """Let the broker allow it. `servers`: where we may do everything."""
    asyncio.run(_ask(servers, [_request(CreateAclsRequest, one) for one in grants]))


def revoke(servers: str, grants: Iterable[Grant]) -> None:
    """Let the broker allow it no longer."""
    asyncio.run(_ask(servers, [_request(DeleteAclsRequest, one) for one in grants]))


async def _ask(servers: str, requests: list[Any]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        client = admin._client  # the admin client itself has no call for it
        node = client.get_random_node()
        answers = await asyncio.gather(*(client.send(node, request) for request in requests))
    finally:
        await admin.close()
    told = [
        each for answer in answers for each in getattr(answer, "creation_responses", None) or answer.filter_responses
    ]
    assert [each for each in told if each[0]] == []


def _request(kind: Any, one: Grant) -> Any:
    resource, pattern = _RESOURCES[one.resource], _PATTERNS[one.pattern]
    return kind(resource, one.name, pattern, one.principal, "*", _OPERATIONS[one.operation], _ALLOW)
