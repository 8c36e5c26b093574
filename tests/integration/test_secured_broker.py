"""TLS and SASL against a real broker that asks for them; and what a user reads who got them wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pipeline import Pipeline, Remote, check_exactly_once, check_kinds, mixed, run_command
from support.secured import KEY_PASSWORD, PASSWORD, USER, Secured

CANARIES = (PASSWORD, KEY_PASSWORD, "a-wrong-canary")


def ways_in(secured: Secured) -> dict[str, dict[str, str]]:
    """The table [kafka] for each way."""
    by_password = {"sasl_username": USER, "sasl_password_file": secured.file("password")}
    trusting = {"ssl_ca_file": secured.file("ca.pem")}
    certified = trusting | {
        "ssl_certificate_file": secured.file("client.pem"),
        "ssl_key_file": secured.file("client.key"),
        "ssl_key_password_file": secured.file("key-password"),
    }
    ways = {
        "certificate": ("SSL", certified),
        "scram-256": ("SASL_PLAINTEXT", by_password | {"sasl_mechanism": "SCRAM-SHA-256"}),
        "scram-512": ("SASL_SSL", by_password | trusting),
        "plain": ("SASL_SSL", by_password | trusting | {"sasl_mechanism": "PLAIN"}),
        "elsewhere": ("BADNAME", trusting),
    }
    return {
        name: {
            "bootstrap_servers": secured.doors[door],
            "security_protocol": "SSL" if door == "BADNAME" else door,
            **keys,
        }
        for name, (door, keys) in ways.items()
    }


@pytest.mark.parametrize("way", ["certificate", "scram-256", "scram-512", "plain"])
def test_the_whole_pipeline_comes_in(secured: Secured, tmp_path: Path, way: str) -> None:
    kafka = ways_in(secured)[way]
    servers = secured.broker.bootstrap_servers
    with Remote() as remote, Pipeline(servers, tmp_path, remote.url, {"kafka": kafka}) as pipeline:
        sent = pipeline.send(mixed(30))
        worker = pipeline.worker()
        outcomes = pipeline.settle(sent)
        check_exactly_once(sent, outcomes)
        check_kinds(sent, outcomes)
        told = worker.log.read_text() + "".join(str(outcome.record) for outcome in outcomes)
    assert [canary for canary in CANARIES if canary in told] == []


def told_by_topics_create(kafka: dict[str, str], folder: Path) -> str:
    lines = [f'{key} = "{value}"' for key, value in kafka.items()]
    local = ["[local]", 'model = "support.models:steady"', "threshold = 0.5"]
    remote = ["[remote]", 'url = "http://127.0.0.1:1"', 'model = "big"', "threshold = 0.5"]
    config = folder / "config.toml"
    config.write_text("\n".join(["[kafka]", "request_timeout_s = 10", *lines, *local, *remote]))
    status, told = run_command(["topics", "create", "--config", str(config)], folder)
    assert status == 1, told
    assert [canary for canary in CANARIES if canary in told] == []
    assert "Traceback" not in told
    return told


def wrong(secured: Secured, way: str, **keys: str) -> dict[str, str]:
    return {key: value for key, value in (ways_in(secured)[way] | keys).items() if value}


def test_a_wrong_password_is_named(secured: Secured, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("a-wrong-canary")
    for way in ("scram-256", "scram-512", "plain"):
        kafka = wrong(secured, way, sasl_password_file=str(tmp_path / "wrong"))
        assert "does not let us in: it refuses the user 'alice': is the password right?" in told_by_topics_create(
            kafka, tmp_path
        )


def test_a_mechanism_that_the_broker_does_not_take(secured: Secured, tmp_path: Path) -> None:
    kafka = wrong(secured, "scram-256", sasl_mechanism="PLAIN")
    assert "does not take [kafka] sasl_mechanism = 'PLAIN'" in told_by_topics_create(kafka, tmp_path)


def test_a_certificate_of_an_authority_that_is_not_ours(secured: Secured, tmp_path: Path) -> None:
    kafka = wrong(secured, "scram-512", ssl_ca_file=secured.file("other-ca.pem"))
    assert "certificate is not trusted" in told_by_topics_create(kafka, tmp_path)


def test_a_certificate_of_another_host(secured: Secured, tmp_path: Path) -> None:
    told = told_by_topics_create(wrong(secured, "elsewhere"), tmp_path)
    assert "certificate is not trusted" in told
    assert "127.0.0.1" in told


def test_no_certificate_of_our_own(secured: Secured, tmp_path: Path) -> None:
    kafka = wrong(secured, "certificate", ssl_certificate_file="", ssl_key_file="", ssl_key_password_file="")
    told = told_by_topics_create(kafka, tmp_path)
    assert "[kafka] ssl_certificate_file" in told


def test_plain_text_where_the_broker_speaks_tls(secured: Secured, tmp_path: Path) -> None:
    kafka = {"bootstrap_servers": secured.doors["SASL_SSL"]}  # [kafka] security_protocol left out
    assert "[kafka] security_protocol" in told_by_topics_create(kafka, tmp_path)


def test_tls_where_the_broker_speaks_plain_text(secured: Secured, tmp_path: Path) -> None:
    kafka = wrong(secured, "elsewhere", bootstrap_servers=secured.broker.bootstrap_servers)
    assert "[kafka] security_protocol" in told_by_topics_create(kafka, tmp_path)
