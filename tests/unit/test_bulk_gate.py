"""Whether batches may be created, by what the provider says of the lines of those before."""

from __future__ import annotations

import logging

import orjson
import pytest
from bisupervised.agents.remote.bulk.gate import PROBE_INPUTS, BulkGate, Tally
from bisupervised.agents.remote.bulk.provider import LineResult
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.retry import CallRefused
from bisupervised.agents.remote.transport import Response

POLICY = BreakerPolicy(failures=5, cool_down_s=10.0, terminal_cool_down_s=600.0)
CONTENT = {"error": {"message": "too long", "code": "context_length_exceeded"}}


def tally(*statuses: int | None, first: int = 0) -> Tally:
    """Of lines that end so; None for one without a response."""
    made = Tally(OpenAIChat("m").raise_for, POLICY.failures)
    for number, status in enumerate(statuses, first):
        body = orjson.dumps({"error": {"message": f"said {status}"}})
        response = None if status is None else Response(status, {}, body)
        made.take(LineResult(f"b0-{number}", response))
    return made


def stopped() -> BulkGate:
    gate = BulkGate(POLICY)
    assert gate.weigh(gate.begin("b", 0.0), tally(*[400] * 5), 0.0) == "settings"
    return gate


def test_one_line_that_is_answered_says_that_refusals_are_the_inputs_own() -> None:
    gate = BulkGate(POLICY)
    assert gate.weigh(gate.begin("b", 0.0), tally(*[400] * 50, 200), 0.0) == "own"
    assert gate.admits(0.0)


@pytest.mark.parametrize("statuses", [(), (None, None), (503, 429), (None, 500)])
def test_what_is_not_answered_and_not_refused_tells_nothing(statuses: tuple[int | None, ...]) -> None:
    gate = BulkGate(POLICY)
    assert gate.weigh(gate.begin("b", 0.0), tally(*statuses), 0.0) == "own"
    assert gate.admits(0.0)


def test_refused_lines_add_up_over_batches_until_one_is_answered() -> None:
    gate = BulkGate(POLICY)
    for first in (0, 10):
        for number in (0, 2):
            assert gate.weigh(gate.begin("b", 0.0), tally(400, 422, first=first + number), 0.0) == "unknown"
        assert gate.weigh(gate.begin("b", 0.0), tally(200), 0.0) == "own"
    for first in (20, 22):
        assert gate.weigh(gate.begin("b", 0.0), tally(400, 400, first=first), 0.0) == "unknown"
    assert gate.weigh(gate.begin("b", 0.0), tally(400, first=24), 0.0) == "settings"
    assert not gate.admits(9.9)
    assert gate.admits(10.0)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405])
def test_one_line_is_enough_where_it_speaks_of_every_call_and_nothing_was_answered(status: int) -> None:
    gate = BulkGate(POLICY)
    assert gate.weigh(gate.begin("b", 0.0), tally(status), 0.0) == "settings"
    answered = BulkGate(POLICY)
    answered.weigh(answered.begin("b", 0.0), tally(200), 0.0)
    assert answered.weigh(answered.begin("b", 0.0), tally(status), 0.0) == "unknown"


def test_batches_that_were_under_way_when_everything_stopped_wait_as_well() -> None:
    gate = BulkGate(POLICY)
    tickets = [gate.begin("b", 0.0), gate.begin("c", 0.0), gate.joined(0.0)]
    assert [gate.weigh(ticket, tally(*[400] * 9), 0.0) for ticket in tickets] == ["settings"] * 3


def test_what_was_refused_before_the_settings_were_mended_is_asked_again() -> None:
    gate = BulkGate(POLICY)
    old, other = gate.begin("b", 0.0), gate.begin("c", 0.0)
    gate.weigh(old, tally(*[400] * 5), 0.0)
    assert gate.weigh(gate.begin("d", 10.0), tally(200), 20.0) == "own"
    assert gate.weigh(other, tally(*[400] * 9), 30.0) == "unknown"
    assert gate.admits(30.0)


def test_probes_are_small_and_one_at_a_time() -> None:
    gate = stopped()
    assert gate.wants_small("large", PROBE_INPUTS + 1)
    assert not gate.wants_small("small", PROBE_INPUTS)
    gate.begin("small", 10.0)
    assert not gate.admits(1e9), "until its outcome is there"


def test_a_batch_is_made_small_only_when_all_small_ones_have_probed_and_they_are_few() -> None:
    gate, now = stopped(), 10.0
    made = 0
    for number in range(20):
        now += 600.0
        if gate.may_split(f"large {number}"):
            made += 1
            assert not gate.may_split("another"), "its part has to come first"
            gate.gone(f"large {number}", -1)
            assert not gate.wants_small(f"part {number}", PROBE_INPUTS)
            assert not gate.may_split("another"), "it has to probe first"
        small = f"part {min(number, made - 1)}"
        assert gate.weigh(gate.begin(small, now), tally(*[400] * 5), now) == "settings"
    assert made == 8


def test_a_probe_that_is_refused_doubles_the_distance_and_one_that_is_answered_ends_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    gate, now = stopped(), 0.0
    for distance in (10.0, 20.0, 40.0):
        assert not gate.admits(now + distance - 0.1)
        now += distance
        assert gate.admits(now)
        gate.weigh(gate.begin("b", now), tally(400), now)
    gate.renewed(now)
    assert gate.admits(now), "a person says that it may be mended"
    assert gate.weigh(gate.begin("b", now), tally(200, 400), now) == "own"
    assert (gate.stopped, gate.admits(now)) == ("", True)
    told = [getattr(record, "action", "") for record in caplog.records]
    assert told == ["remote_stopped", *["remote_probe", "remote_stopped"] * 3, "remote_probe", "breaker_closed"]


def test_a_probe_that_tells_nothing_leaves_its_place_to_another() -> None:
    gate = stopped()
    ticket = gate.begin("b", 10.0)
    gate.abandoned(ticket)
    assert gate.admits(10.0)
    gone = gate.begin("c", 10.0)
    assert not gate.admits(10.0)
    gate.gone("c", gone)
    assert gate.admits(10.0)


def test_refusals_of_whole_batches_add_up_as_well() -> None:
    gate = BulkGate(POLICY)
    for _ in range(4):
        gate.refused(gate.begin("b", 0.0), CallRefused("no", may_be_input=True), 0.0)
        assert gate.stopped == ""
    gate.refused(gate.begin("b", 0.0), CallRefused("the reason", may_be_input=True), 0.0)
    assert "the reason" in gate.stopped


def test_one_batch_that_is_refused_again_and_again_stops_nothing_while_others_are_under_way() -> None:
    gate = BulkGate(POLICY)
    for _ in range(20):
        gate.refused(gate.begin("b", 0.0), CallRefused("no", may_be_input=True), 0.0, "b")
    assert gate.stopped == ""
    gate.refused(gate.begin("c", 0.0), CallRefused("no", may_be_input=True), 0.0, "c")
    assert gate.stopped


def test_a_batch_that_is_seen_to_be_answered_in_part_speaks_for_the_settings() -> None:
    gate = BulkGate(POLICY)
    ticket = gate.begin("b", 0.0)
    gate.weigh(gate.begin("c", 0.0), tally(*[400] * 4), 0.0)
    gate.answered(ticket)
    assert gate.weigh(gate.begin("d", 0.0), tally(*[400] * 4), 0.0) == "unknown"
    assert gate.answers == 1


def test_refusals_for_the_content_count_as_well_for_it_may_be_a_template_around_every_input() -> None:
    made = Tally(OpenAIChat("m").raise_for, POLICY.failures)
    for number in range(9):
        made.take(LineResult(f"b0-{number}", Response(400, {}, orjson.dumps(CONTENT))))
    gate = BulkGate(POLICY)
    assert len(made.refused) == POLICY.failures
    assert gate.weigh(gate.begin("b", 0.0), made, 0.0) == "settings"
