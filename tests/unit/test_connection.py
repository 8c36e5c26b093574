"""How the broker is reached, as settings; every fault at once, and no secret in any of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.flow import steps
from bisupervised.streams.settings.broker import connection, read_connection
from bisupervised.streams.settings.file import load_configuration, load_settings
from bisupervised.streams.settings.keys.kafka import KafkaSettings
from bisupervised.streams.worker.making import plane_policy
from pydantic import SecretStr

CANARY = "canary-secret"
MINIMAL = '[local]\nmodel = "m:c"\nthreshold = 0.5\n[remote]\nurl = "http://h"\nmodel = "b"\nthreshold = 0.5\n'


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A certificate of an authority, one of a client with its key, and a password."""
    ca = trustme.CA()
    made = ca.issue_cert("client@example.org")
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    made.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    made.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    (tmp_path / "password").write_text(f"{CANARY}\n")
    (tmp_path / "text").write_text("no certificate")
    return {path.name: str(path) for path in tmp_path.iterdir()}


def test_without_settings_nothing_but_the_address_is_told() -> None:
    assert connection(KafkaSettings()).options() == {
        "bootstrap_servers": "127.0.0.1:9092",
        "security_protocol": "PLAINTEXT",
    }


def test_a_password_comes_from_a_file_and_the_environment_wins(files: dict[str, str]) -> None:
    kafka = KafkaSettings(
        security_protocol="SASL_PLAINTEXT", sasl_username="alice", sasl_password_file=files["password"]
    )
    options = connection(kafka).options()
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("alice", CANARY)
    given = kafka.model_copy(update={"sasl_password": SecretStr("of the environment")})
    assert connection(given).options()["sasl_plain_password"] == "of the environment"


def test_certificates_are_checked_and_so_is_the_host(files: dict[str, str]) -> None:
    kafka = KafkaSettings(
        security_protocol="SSL",
        ssl_ca_file=files["ca.pem"],
        ssl_certificate_file=files["client.pem"],
        ssl_key_file=files["client.key"],
    )
    context = connection(kafka).options()["ssl_context"]
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_the_secret_is_in_no_repr(files: dict[str, str]) -> None:
    kafka = KafkaSettings(security_protocol="SASL_PLAINTEXT", sasl_username="alice", sasl_password=SecretStr(CANARY))
    assert CANARY not in repr(connection(kafka)) + repr(kafka) + str(kafka.model_dump())


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"security_protocol": "SASL_SSL"}, "[kafka] sasl_username: is missing: the user to log in as"),
        ({"security_protocol": "SASL_PLAINTEXT", "sasl_username": "a"}, "[kafka] sasl_password_file: is missing"),
        ({"sasl_username": "a"}, "[kafka] sasl_username: has no effect with security_protocol = 'PLAINTEXT'"),
        ({"ssl_ca_file": "ca.pem"}, "[kafka] ssl_ca_file: has no effect with security_protocol = 'PLAINTEXT'"),
        (
            {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "a", "sasl_password_file": "none"},
            "[kafka] sasl_password_file: cannot be read: No such file or directory",
        ),
        (
            {"security_protocol": "SSL", "ssl_ca_file": "none"},
            "[kafka] ssl_ca_file: cannot be read: No such file or directory",
        ),
        ({"security_protocol": "SSL", "ssl_ca_file": "text"}, "[kafka] ssl_ca_file: holds no certificate in PEM form"),
        ({"security_protocol": "SSL", "ssl_key_file": "client.key"}, "[kafka] ssl_certificate_file: is missing"),
        (
            {"security_protocol": "SSL", "ssl_certificate_file": "ca.pem", "ssl_key_file": "client.key"},
            "[kafka] ssl_key_file: does not open with that password, or does not belong to ssl_certificate_file",
        ),
    ],
)
def test_each_fault_says_what_to_mend(files: dict[str, str], keys: dict[str, Any], fault: str) -> None:
    _, faults = read_connection(KafkaSettings(**{key: files.get(value, value) for key, value in keys.items()}))
    assert any(told.startswith(fault) for told in faults), faults


def test_a_configuration_has_the_connection_and_the_files_are_not_read_again(
    tmp_path: Path, files: dict[str, str]
) -> None:
    path = tmp_path / "config.toml"
    broker = ["[kafka]", 'security_protocol = "SASL_SSL"', 'sasl_username = "alice"']
    broker += [f"sasl_password_file = {files['password']!r}", f"ssl_ca_file = {files['ca.pem']!r}"]
    path.write_text("\n".join([*broker, MINIMAL]))
    configuration = load_configuration(path, {})
    for file in files.values():
        Path(file).unlink()
    policies = [plane_policy(configuration, step) for step in steps(configuration.settings).values()]
    assert all(policy.outbox.connection is configuration.connection for policy in policies)
    assert configuration.connection.options()["sasl_plain_password"] == CANARY
    assert configuration.connection.options()["ssl_context"].get_ca_certs()


def test_all_of_them_come_with_the_other_faults(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    broker = ["[kafka]", 'bootstrap_servers = "nowhere"', 'security_protocol = "SASL_SSL"', 'ssl_ca_file = "none"']
    broker.append(f'sasl_password = "{CANARY}"')
    path.write_text("\n".join([*broker, MINIMAL, "[stream]", "speed = 1", ""]))
    with pytest.raises(ConfigurationError) as raised:
        load_settings(path, {})
    told = "\n".join(raised.value.faults)
    assert CANARY not in told
    for wanted in (
        "[kafka] sasl_password: must not stand in the file; set BISUPERVISED_KAFKA__SASL_PASSWORD",
        "[kafka] bootstrap_servers: must be host:port",
        "[kafka] sasl_username: is missing",
        "[kafka] ssl_ca_file: cannot be read",
        "[stream] speed: unknown key",
    ):
        assert wanted in told
