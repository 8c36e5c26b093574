"""What a signal means while a story runs, and after it."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import pytest
from bisupervised.streams.console.signals import interruptible

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


def test_signals_mean_afterwards_what_they_meant_before() -> None:
    before, during = handlers(), []

    def story(_: ExitStack) -> int:
        during.extend(handlers())
        return 3

    assert interruptible(story, lambda: None) == 3
    assert handlers() == before
    assert during != before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_story_and_a_second_one_does_not_disturb_the_end(number: signal.Signals) -> None:
    before, told = handlers(), []

    def end() -> None:
        os.kill(os.getpid(), number)
        told.append("ended")

    def story(started: ExitStack) -> int:
        started.callback(end)
        os.kill(os.getpid(), number)
        told.append("never")
        return 0

    with pytest.raises(KeyboardInterrupt):
        interruptible(story, lambda: told.append("interrupted"))
    assert told == ["interrupted", "ended"]
    assert handlers() == before


def test_what_was_started_is_ended_where_the_story_fails() -> None:
    told: list[str] = []

    def story(started: ExitStack) -> int:
        started.callback(told.append, "ended")
        raise RuntimeError("the story fails")

    with pytest.raises(RuntimeError):
        interruptible(story, lambda: told.append("interrupted"))
    assert told == ["ended"]
