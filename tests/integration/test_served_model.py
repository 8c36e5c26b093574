"""A local model that is a server, on a real broker: it goes away, and nothing falls back because of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from support.pipeline import PATIENCE_S, Remote, Setup, Worker, check_exactly_once, request, wait_until

pytestmark = pytest.mark.fresh


def reasons(worker: Worker) -> list[str]:
    """Why it is not ready."""
    try:
        with urlopen(worker.page + "ready", timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
    except HTTPError as refused:
        with refused:
            told = json.load(refused)
    return list(told["reasons"])


def test_inputs_wait_for_a_server_that_is_away(setup: Setup) -> None:
    with Remote() as small:
        served = {"url": small.url, "protocol": "open_inference", "model": "big", "call_inputs": 16}
        _, pipeline = setup(local=served)
        small.refusal = (503, {})
        sent = pipeline.send([request(number) for number in range(200)])
        worker = pipeline.ready_worker()
        text = "the local model's server"
        wait_until(lambda: any(text in each for each in reasons(worker)), text, PATIENCE_S)
        assert pipeline.records("fallback") == pipeline.records("results") == []
        small.refusal = None
        wait_until(lambda: not reasons(worker), "ready again", PATIENCE_S)
        outcomes = pipeline.settle(sent)
        check_exactly_once(sent, outcomes)
        said = [outcome.result for outcome in outcomes]
        assert {(each.answered_by, each.model) for each in said if each is not None} == {("local", "big@3")}
        assert None not in said
