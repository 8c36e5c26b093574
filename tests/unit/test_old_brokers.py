"""What a broker says of its age, and what the worker and `check --connect` make of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.commands import check_kafka
from bisupervised.streams.commands.findings import ok
from bisupervised.streams.kafka.asking import TOO_OLD, Capabilities, capabilities
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.worker import preflight
from support.configurations import configuration_of

#: key and highest version of two requests, as brokers list them
V2_4 = [(28, 0, 2)]
V2_8 = [(28, 0, 3)]
V3_0 = [(28, 0, 3), (65, 0, 0)]
ENV = {
    "BISUPERVISED_LOCAL__MODEL": "my_model:load",
    "BISUPERVISED_LOCAL__THRESHOLD": "0.5",
    "BISUPERVISED_REMOTE__URL": "http://127.0.0.1:1",
    "BISUPERVISED_REMOTE__MODEL": "big",
    "BISUPERVISED_REMOTE__THRESHOLD": "0.5",
}


class Asked(Exception):
    """The worker goes on to ask about its topics."""


class Client:
    """Of a cluster of one."""

    def __init__(self, versions: list[tuple[int, int, int]]) -> None:
        self._versions = versions
        self._conns: dict[Any, Any] = {}
        only = SimpleNamespace(nodeId=1, host="one", port=9092)
        self.cluster = SimpleNamespace(brokers=lambda: [only])

    async def send(self, node: int, request: object) -> Any:
        return SimpleNamespace(api_versions=self._versions)


@pytest.mark.parametrize(
    ("versions", "told"),
    [(V2_4, (False, False)), (V2_8, (True, False)), (V3_0, (True, True)), ([], (False, False))],
)
async def test_what_a_broker_says_of_its_age(versions: list[tuple[int, int, int]], told: tuple[bool, bool]) -> None:
    client: Any = Client(versions)
    assert await capabilities(client) == Capabilities(*told)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Client:
    """One whose versions a test sets."""
    client = Client(V3_0)

    class Admin:
        _client = client

    @asynccontextmanager
    async def admin_client(*_: Any) -> AsyncIterator[Admin]:
        yield Admin()

    async def count_partitions(*_: Any) -> dict[str, int]:
        raise Asked

    async def transactions(*_: Any) -> Any:
        return ok("broker", "transactions work")

    monkeypatch.setattr(check_kafka, "admin_client", admin_client)
    monkeypatch.setattr(check_kafka, "_transactions", transactions)
    monkeypatch.setattr(preflight, "admin_client", admin_client)
    monkeypatch.setattr(preflight, "count_partitions", count_partitions)
    return client


@pytest.mark.parametrize(
    ("delivery", "versions", "refused"),
    [
        ("exactly_once", V2_4, True),
        ("exactly_once", V2_8, False),
        ("exactly_once", V3_0, False),
        ("at_least_once", V2_4, False),
    ],
)
async def test_a_broker_that_is_too_old_is_refused_in_one_line(
    broker: Client, delivery: str, versions: list[tuple[int, int, int]], refused: bool
) -> None:
    broker._versions = versions
    configuration = configuration_of(load_settings(None, {**ENV, "BISUPERVISED_STREAM__DELIVERY": delivery}))
    with pytest.raises(ConfigurationError if refused else Asked) as ended:
        await preflight.preflight(configuration, [])
    assert not refused or ended.value.args
    found = [(finding.level, finding.text) async for finding in check_kafka.look_at_broker(configuration)]
    assert (("fault", TOO_OLD) in found) is refused
    if refused:
        assert isinstance(ended.value, ConfigurationError)
        assert list(ended.value.faults) == [TOO_OLD]
        assert ("ok", "transactions work") not in found
    told = [text for level, text in found if level == "note" and "older than Kafka 3.0" in text]
    assert bool(told) is (delivery == "exactly_once" and versions == V2_8)
