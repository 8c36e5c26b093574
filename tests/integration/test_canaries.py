"""Secrets appear in no log, error, page, metric, record or output of a command: all of it is searched for canaries."""

from __future__ import annotations

import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.pipeline import Pipeline, Remote, check_exactly_once, mixed, run_command
from support.secured import PASSWORD, USER, Secured

CANARIES = {
    "BISUPERVISED_KAFKA__SASL_PASSWORD": PASSWORD,
    "BISUPERVISED_REMOTE__API_KEY": "canary-key-of-the-remote",
    "BISUPERVISED_WEB__TOKEN": "canary-token-of-the-page",
}
WRONG = {"BISUPERVISED_KAFKA__SASL_PASSWORD": "canary-that-is-wrong"}
ROLES = ("requests", "doubtful", "answers", "results", "fallback")


def served(url: str, token: str = "") -> str:
    """Body and headers of a page, also of a refusal."""
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return f"{answer.headers}\n{answer.read().decode()}"
    except urllib.error.HTTPError as refused:
        return f"{refused.headers}\n{refused.read().decode()}"


@pytest.mark.long(30)
def test_no_secret_is_shown_anywhere(secured: Secured, tmp_path: Path) -> None:
    kafka: dict[str, Any] = {
        "bootstrap_servers": secured.doors["SASL_SSL"],
        "security_protocol": "SASL_SSL",
        "sasl_username": USER,
        "ssl_ca_file": secured.file("ca.pem"),
        "request_timeout_s": 10,
    }
    with_password = {**kafka, "sasl_password_file": secured.file("password")}
    remote_table = {"tries": 1, "breaker_cool_down_s": 0.2}
    tables: dict[str, dict[str, Any]] = {
        "kafka": with_password,
        "remote": remote_table,
        "log": {"level": "DEBUG", "json": True},
    }
    with (
        Remote() as remote,
        Pipeline(secured.broker.bootstrap_servers, tmp_path, remote.url, tables) as pipeline,
    ):
        pipeline.configure({**tables, "kafka": kafka})
        sent = pipeline.send(mixed(30))
        worker = pipeline.start(["bisupervised.streams.cli", "worker", "--config", str(pipeline.config)], CANARIES)
        pipeline.wait_for_outcomes(sent)
        [url] = [line["url"] for line in worker.told() if line.get("action") == "web_started"]
        pages = {
            path: served(url.rstrip("/") + path) for path in ("/", "/api/status", "/metrics", "/ready", "/nowhere")
        }
        remote.refusal = (500, {"x-echo": CANARIES["BISUPERVISED_REMOTE__API_KEY"]})
        more = pipeline.send(mixed(9))
        time.sleep(1.0)
        remote.refusal = None
        pipeline.wait_for_outcomes(more)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
        check_exactly_once([*sent, *more], pipeline.outcomes())
        config = ("--config", str(pipeline.config))

        def command(env: dict[str, str], *words: str) -> str:
            return run_command(words, tmp_path, env)[1]

        said = {
            "log": worker.log.read_text(),
            "records": str([(r.key, r.value, r.headers) for role in ROLES for r in pipeline.records(role)]),
            "check": command(CANARIES, "check", *config),
            "check --connect": command(CANARIES, "check", *config, "--connect", "--json"),
            "check with a wrong password": command({**CANARIES, **WRONG}, "check", *config, "--connect"),
            "topics with a wrong password": command({**CANARIES, **WRONG}, "topics", "create", *config),
            "acls": command(CANARIES, "topics", "acls", *config),
            "schema": command(CANARIES, "schema", "asyncapi", *config),
            "config": command(CANARIES, "config"),
            **pages,
        }
    assert "is the password right?" in said["check with a wrong password"] + said["topics with a wrong password"]
    found = [(where, name) for where, text in said.items() for name, value in CANARIES.items() if value in text]
    found += [(where, "wrong") for where, text in said.items() if WRONG["BISUPERVISED_KAFKA__SASL_PASSWORD"] in text]
    assert found == []
    assert all(said.values()), "each has said something"
