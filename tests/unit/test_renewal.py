"""Credentials for the broker are read again where their files have changed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import conn
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import AuthenticationFailedError, KafkaConnectionError
from bisupervised.streams.kafka.connection import Connection, Credentials, Renewal
from bisupervised.streams.settings.broker import connection
from bisupervised.streams.settings.keys.kafka import KafkaSettings
from bisupervised.streams.telemetry.health import Health, HealthPolicy


def of_file(file: Path) -> Connection:
    return connection(
        KafkaSettings(
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username="alice",
            sasl_password_file=str(file),
        )
    )


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that connections came in with."""
    passwords: list[str] = []

    async def connect(self: Any) -> None:
        passwords.append(self._sasl_plain_password)
        if self._sasl_plain_password == "old":
            raise AuthenticationFailedError

    monkeypatch.setattr(AIOKafkaConnection, "connect", connect)
    monkeypatch.setattr(conn, "AIOKafkaConnection", AIOKafkaConnection)
    return passwords


async def test_each_connection_of_a_client_comes_in_with_the_password_of_now(
    tmp_path: Path, connected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file = tmp_path / "password"
    await asyncio.to_thread(file.write_text, "first")
    reach = await asyncio.to_thread(of_file, file)
    arguments = {key: value for key, value in reach.options().items() if key != "bootstrap_servers"}
    await conn.create_conn("nowhere", 1, **arguments)
    await asyncio.to_thread(file.write_text, "old")
    for _ in range(2):
        with pytest.raises(AuthenticationFailedError):
            await conn.create_conn("nowhere", 1, **arguments)
    assert reach.renewal is not None
    assert (reach.renewal.refusals, "'alice'" in reach.renewal.refusal) == (2, True)
    await asyncio.to_thread(file.write_text, "new\n")
    await conn.create_conn("nowhere", 1, **arguments)
    await asyncio.to_thread(file.unlink)  # in the middle of being replaced
    await conn.create_conn("nowhere", 1, **arguments)
    assert connected == ["first", "old", "old", "new", "new"]
    assert reach.renewal.refusal == ""
    told = [vars(record).get("action") for record in caplog.records]
    assert told == ["broker_refuses", "broker_accepts", "credentials_unread"]


def test_what_rides_along_is_found_and_a_password_is_still_one() -> None:
    renewal = Renewal(Credentials("secret"), lambda last: last)
    options = renewal.carried({"sasl_plain_password": "secret", "ssl_context": (context := SimpleNamespace())})
    assert options == {"sasl_plain_password": "secret", "ssl_context": context}
    assert context.renewal is options["sasl_plain_password"].renewal is renewal
    assert "secret" not in repr(renewal)


def test_who_was_never_let_in_is_told_by_what_was_to_be_done(caplog: pytest.LogCaptureFixture) -> None:
    renewal = Renewal(Credentials(), lambda last: last)
    renewal.refused(AuthenticationFailedError(), "alice")
    assert (renewal.refusals, caplog.records) == (1, [])


def test_what_is_not_about_credentials_is_no_refusal() -> None:
    renewal = Renewal(Credentials(), lambda last: last)
    renewal.refused(KafkaConnectionError("reset"), "alice")
    renewal.refused(ConnectionRefusedError(), "alice")
    assert (renewal.refusal, renewal.refusals) == ("", 0)


def test_without_files_nothing_is_read_again() -> None:
    assert connection(KafkaSettings()).renewal is None


def test_a_worker_that_the_broker_refuses_is_not_ready_and_says_why() -> None:
    health = Health(HealthPolicy(30.0), [])
    health.refused("it refuses the user 'alice': is the password right?")
    assert health.reasons(0.0) == ["the broker does not let us in: it refuses the user 'alice': is the password right?"]
    assert health.alive, "a restart would not help"
    health.refused("")
    assert health.reasons(0.0) == []
