"""A named job whose broker is not there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.tools.job import Interrupted, Job

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "remote" / "open_inference.toml"


@pytest.fixture
def settings() -> Settings:
    """With a broker's address at which nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = {
        "BISUPERVISED_REMOTE__API_KEY": "key",
        "BISUPERVISED_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
        "BISUPERVISED_KAFKA__REQUEST_TIMEOUT_S": "0.5",
        "BISUPERVISED_STREAM__WATCHDOG_S": "1",  # for so long it asks again
    }
    return load_settings(EXAMPLE, environment)


async def test_a_job_that_reaches_no_broker_was_interrupted(settings: Settings) -> None:
    job = Job(settings, "replay-one", [TopicPartition("fallback", 0)], "requests", 2**62)
    with pytest.raises(Interrupted, match="run it again, and it goes on"):
        await job.open()
    await job.close()
