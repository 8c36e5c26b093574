"""`faust -A … worker` and `bisupervised worker` are the same path."""

from __future__ import annotations

import pytest
from support.pipeline import Setup, check_exactly_once, check_kinds, mixed

pytestmark = pytest.mark.fresh


def test_fausts_own_command_runs_the_same_pipeline(setup: Setup) -> None:
    _, pipeline = setup()
    sent = pipeline.send(mixed(90))
    command = ["faust", "-A", "bisupervised.streams.faust_app", "worker", "--without-web"]
    pipeline.start(command, {"BISUPERVISED_CONFIG": str(pipeline.config)})
    outcomes = pipeline.settle(sent)
    check_exactly_once(sent, outcomes)
    check_kinds(sent, outcomes)
