"""The whole pipeline comes in with tokens that end while it works: the broker cuts each connection whose token did."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pipeline import Pipeline, Remote, check_exactly_once, check_kinds, mixed, wait_until
from support.secured import Secured, unsigned_token
from support.threaded import served
from support.token_endpoint import CLIENT, SECRET, TokenEndpoint

#: seconds that a token lives; the broker lets a connection live no longer
LIFE_S = 3.0


def kafka_of(secured: Secured, **keys: str) -> dict[str, str]:
    door = {"bootstrap_servers": secured.doors["SASL_PLAINTEXT"], "security_protocol": "SASL_PLAINTEXT"}
    return door | {"sasl_mechanism": "OAUTHBEARER"} | keys


def test_tokens_of_an_endpoint_end_and_are_fetched_again(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BISUPERVISED_KAFKA__SASL_OAUTH_CLIENT_SECRET", SECRET)
    (tmp_path / "secret").write_text(SECRET)
    endpoint = TokenEndpoint(LIFE_S)
    with served(endpoint.app) as url, Remote() as remote:
        kafka = kafka_of(
            secured,
            sasl_oauth_url=f"{url}/token",
            sasl_oauth_client_id=CLIENT,
            sasl_oauth_client_secret_file=str(tmp_path / "secret"),
            sasl_oauth_scope="kafka",
        )
        with Pipeline(secured.broker.bootstrap_servers, tmp_path, remote.url, {"kafka": kafka}) as pipeline:
            worker = pipeline.ready_worker()
            sent = pipeline.send(mixed(30))
            pipeline.wait_for_outcomes(sent)
            fetched = len(endpoint.given)
            wait_until(lambda: len(endpoint.given) >= fetched + 2, "two more tokens")
            sent += pipeline.send(mixed(30))
            outcomes = pipeline.settle(sent)
            told = worker.log.read_text()
    check_exactly_once(sent, outcomes)
    assert endpoint.asked[0] == {"grant_type": "client_credentials", "scope": "kafka"}
    assert [canary for canary in (SECRET, *endpoint.given) if canary in told] == []


def test_a_token_in_a_file(secured: Secured, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(unsigned_token(600))
    kafka = kafka_of(secured, sasl_oauth_token_file=str(tmp_path / "token"))
    with (
        Remote() as remote,
        Pipeline(secured.broker.bootstrap_servers, tmp_path, remote.url, {"kafka": kafka}) as pipeline,
    ):
        sent = pipeline.send(mixed(9))
        pipeline.worker()
        outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)
