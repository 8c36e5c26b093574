"""`bisupervised batches`: what it says of a running system, and a batch that is taken back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bisupervised.streams import cli
from support.batching import overrides, provider
from support.bulk_server import LyingBulkServer
from support.pipeline import Pipeline, Setup, check_exactly_once, request, wait_until


def said(pipeline: Pipeline, capsys: pytest.CaptureFixture[str], *command: str, ends: int = 0) -> Any:
    """What a command prints as JSON; None where it prints nothing."""
    capsys.readouterr()
    assert cli.run(["batches", *command, "--config", str(pipeline.config), "--json"]) == ends
    out = capsys.readouterr().out
    return json.loads(out) if out else None


def test_batches_are_listed_shown_and_cancelled(setup: Setup, capsys: pytest.CaptureFixture[str]) -> None:
    server = LyingBulkServer(takes_s=60.0)
    with provider(server) as url:
        _, pipeline = setup(**overrides(url))
        assert said(pipeline, capsys, "list") == {"batches": [], "queue_tokens": 0, "batch_tokens": 0}
        sent = pipeline.send([request(number) for number in range(20)])
        pipeline.worker()
        wait_until(lambda: bool(server.batches), "a batch is created")
        wait_until(lambda: _running(said(pipeline, capsys, "list")) == 20, "all are in batches")
        listed = said(pipeline, capsys, "list")["batches"]
        [by_us, by_provider] = [said(pipeline, capsys, "show", listed[0][key]) for key in ("id", "provider_id")]
        assert by_us == by_provider
        assert [told["state"] for told in by_us["history"]] == ["closed", "creating", "running"]
        assert said(pipeline, capsys, "show", "nobody", ends=1) is None
        for batch in listed:
            assert said(pipeline, capsys, "cancel", batch["id"])["provider_id"] == batch["provider_id"]
        wait_until(lambda: _states(said(pipeline, capsys, "list")) == {"ended"}, "all are over")
        over = said(pipeline, capsys, "list")["batches"]
        assert said(pipeline, capsys, "cancel", over[0]["id"], ends=1) is None
        assert "answered already" in _told(pipeline, capsys, "cancel", over[0]["id"])
        assert "20 fell back" in _told(pipeline, capsys, "list")
        outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    assert {outcome.reason for outcome in outcomes} == {"remote_error"}
    assert server.paid.total() == 0
    assert sum(batch["counts"]["fallen"] for batch in over) == 20


def _running(told: Any) -> int:
    return sum(batch["records"] for batch in told["batches"] if batch["state"] == "running")


def _states(told: Any) -> set[str]:
    return {batch["state"] for batch in told["batches"]}


def _told(pipeline: Pipeline, capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """All that people read."""
    capsys.readouterr()
    cli.run(["batches", *command, "--config", str(pipeline.config)])
    return "".join(capsys.readouterr())


def test_where_nothing_is_asked_in_batches_the_command_says_so(
    setup: Setup, capsys: pytest.CaptureFixture[str]
) -> None:
    _, pipeline = setup()
    assert said(pipeline, capsys, "list", ends=2) is None
    assert 'set it to "batch" or "both"' in _told(pipeline, capsys, "list")
