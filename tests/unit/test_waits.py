"""The formula of the longest pause: each term is a wait of the code, and the defaults keep to the aim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bisupervised.streams.commands.check_waits import look_at_waits
from bisupervised.streams.kafka.consumer import heartbeat_s
from bisupervised.streams.plane.ownership import CLOSING_S, LAST_FLUSH_S
from bisupervised.streams.plane.partition import REOPEN_S
from bisupervised.streams.plane.plane import LEAVING_S, SAYING_S
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.keys.kafka import StreamSettings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker.waits import Waits, waits

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "remote" / "open_inference.toml"


def settings(**stream: Any) -> Settings:
    read = load_settings(EXAMPLE, {"BISUPERVISED_REMOTE__API_KEY": "key"})
    return read.model_copy(update={"stream": StreamSettings(**stream)})


def test_the_defaults_keep_to_the_aim() -> None:
    usual = settings()
    assert usual.stream.pause_aim_s == 45.0
    assert waits(usual).longest == ("leave", 44.0)
    assert look_at_waits(usual).level == "ok"


def test_each_path_is_the_sum_of_its_waits() -> None:
    given = Waits(session_s=30.0, request_s=20.0, drain_s=7.0, take_s=11.0)
    release = 7.0 + LAST_FLUSH_S + CLOSING_S
    first = 1.0 + release
    next_one = 1.0 + LAST_FLUSH_S + CLOSING_S
    assert given.leave == release + LEAVING_S + SAYING_S + first + next_one + 11.0
    assert given.kill == 30.0 + first + next_one + 11.0
    assert given.freeze == given.kill + REOPEN_S
    assert given.broker == 20.0 + first + 11.0
    assert given.transaction == 3 * 11.0 + REOPEN_S
    assert given.longest == ("freeze", given.freeze)


def test_a_short_session_has_quicker_heartbeats() -> None:
    assert heartbeat_s(1.5) == 0.5
    assert heartbeat_s(30.0) == 1.0


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (
            {"drain_s": 30.0},
            "a partition stands still for at most 84 s when a worker is replaced, more than pause_aim_s = 45: lower "
            "[stream] drain_s or transaction_timeout_s, or raise the aim",
        ),
        (
            {"drain_s": 1.0, "transaction_timeout_s": 60.0},
            "a partition stands still for at most 180.5 s when a transaction is lost, more than pause_aim_s = 45: "
            "lower [stream] transaction_timeout_s, or raise the aim",
        ),
        (
            {"pause_aim_s": 40.0},
            "a partition stands still for at most 44 s when a worker is replaced, more than pause_aim_s = 40: lower "
            "[stream] drain_s or transaction_timeout_s, or raise the aim",
        ),
    ],
)
def test_check_says_where_settings_allow_more(stream: dict[str, float], said: str) -> None:
    found = look_at_waits(settings(**stream))
    assert (found.about, found.level, found.text) == ("stream", "note", said)
