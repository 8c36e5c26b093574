"""Passwords and certificates for the broker are replaced while clients live: each connection reads them again."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, conn
from aiokafka.errors import KafkaError
from bisupervised.streams.kafka.connection import Connection, Mechanism, SecurityProtocol
from bisupervised.streams.settings.broker import connection
from bisupervised.streams.settings.keys.kafka import KafkaSettings
from bisupervised.streams.topics.admin import admin_client
from support.secured import KEY_PASSWORD, PASSWORD, USER, Secured

PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own class is put back: the process is shared."""
    monkeypatch.setattr(conn, "AIOKafkaConnection", conn.AIOKafkaConnection)


async def cut(producer: AIOKafkaProducer) -> None:
    """Every connection ends, as when a broker restarts."""
    for one in list(producer.client._conns.values()):
        one.close()


async def answered(ask: Callable[[], Awaitable[object]]) -> None:
    """Within its patience: clients try again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                async with asyncio.timeout(2.0):
                    await ask()
                return
            except (KafkaError, TimeoutError):
                await asyncio.sleep(0.1)


async def refused(reach: Connection, ask: Callable[[], Awaitable[object]]) -> str:
    """Why, once the broker has not let a connection in."""
    assert reach.renewal is not None
    async with asyncio.timeout(PATIENCE_S):
        while not reach.renewal.refusal:
            try:
                async with asyncio.timeout(0.5):
                    await ask()
            except (KafkaError, TimeoutError):
                continue
            await asyncio.sleep(0.05)
    return reach.renewal.refusal


async def comes_in_anew(reach: Connection) -> None:
    """An admin client and a consumer that are made now, of a connection that was read long ago."""
    async with admin_client(reach, PATIENCE_S) as admin:
        await admin.list_topics()
    consumer = AIOKafkaConsumer(**reach.options())
    try:
        await consumer.start()
        await consumer.topics()
    finally:
        await consumer.stop()


async def rotate(reach: Connection, put_wrong: Callable[[], object], put_right: Callable[[], object]) -> str:
    producer = AIOKafkaProducer(**reach.options(), retry_backoff_ms=50, request_timeout_ms=2000)
    await producer.start()

    async def ask() -> None:
        await producer.client.fetch_all_metadata()

    try:
        await ask()
        await comes_in_anew(reach)
        put_wrong()
        await cut(producer)
        why = await refused(reach, ask)
        put_right()
        await answered(ask)
        assert reach.renewal is not None
        assert (reach.renewal.refusal, reach.renewal.refusals > 0) == ("", True)
        await comes_in_anew(reach)
        return why
    finally:
        await producer.stop()


@pytest.mark.parametrize(("door", "mechanism"), [("SASL_PLAINTEXT", "SCRAM-SHA-256"), ("SASL_SSL", "PLAIN")])
def test_a_password_is_read_again_for_each_connection(
    secured: Secured, tmp_path: Path, caplog: pytest.LogCaptureFixture, door: SecurityProtocol, mechanism: Mechanism
) -> None:
    caplog.set_level(logging.INFO, logger="bisupervised")
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    reach = connection(
        KafkaSettings(
            bootstrap_servers=secured.doors[door],
            security_protocol=door,
            sasl_mechanism=mechanism,
            sasl_username=USER,
            sasl_password_file=str(file),
            ssl_ca_file=secured.file("ca.pem") if door == "SASL_SSL" else "",
        )
    )
    why = asyncio.run(rotate(reach, lambda: file.write_text("a-wrong-canary"), lambda: file.write_text(PASSWORD)))
    assert why == f"it refuses the user {USER!r}: is the password right?"
    told = [vars(record).get("action") for record in caplog.records]
    assert [told.count(action) for action in ("broker_refuses", "broker_accepts")] == [1, 1]
    assert [word for word in (PASSWORD, "a-wrong-canary") if word in caplog.text] == []


def test_certificates_are_read_again_for_each_connection(secured: Secured, tmp_path: Path) -> None:
    names = ("ca.pem", "client.pem", "client.key")
    for name in names:
        shutil.copy(secured.file(name), tmp_path / name)
    (tmp_path / "key-password").write_text(KEY_PASSWORD)
    reach = connection(
        KafkaSettings(
            bootstrap_servers=secured.doors["SSL"],
            security_protocol="SSL",
            ssl_ca_file=str(tmp_path / "ca.pem"),
            ssl_certificate_file=str(tmp_path / "client.pem"),
            ssl_key_file=str(tmp_path / "client.key"),
            ssl_key_password_file=str(tmp_path / "key-password"),
        )
    )
    why = asyncio.run(
        rotate(
            reach,
            lambda: shutil.copy(secured.file("other-ca.pem"), tmp_path / "ca.pem"),
            lambda: shutil.copy(secured.file("ca.pem"), tmp_path / "ca.pem"),
        )
    )
    assert why.startswith("its certificate is not trusted")
