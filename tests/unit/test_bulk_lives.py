"""What becomes of batches that are refused: too large for the provider's queue, line by line, or at its door."""

from __future__ import annotations

import asyncio
import logging

import pytest
from bisupervised.agents.remote.bulk.gate import PROBE_INPUTS, BulkGate
from bisupervised.agents.remote.bulk.provider import Line
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.retry import CallRefused, Terminal
from bisupervised.schemas.errors import RemoteError
from support.lives import Partition, ToldProvider, answer, at_most, at_once, batched, refusal, tokens_of
from support.virtual_time import on_virtual_time

LONG = "how much? " * 4000
HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written to disk is written at once: virtual time does not pass while a thread works."""
    monkeypatch.setattr(asyncio, "to_thread", at_once)


def critical(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]


# larger than the provider's queue


@on_virtual_time
async def test_a_batch_that_alone_is_larger_than_the_queue_is_split_until_it_fits() -> None:
    provider = ToldProvider()
    partition = Partition([batched(offset) for offset in range(40)], provider)
    provider.fails = at_most(11 * tokens_of(partition.inputs, "how much?"), partition.inputs)
    await partition.close((0, 40))
    await partition.until(lambda: partition.over)
    assert partition.outcomes() == {offset: ["answers"] for offset in range(40)}
    assert set(provider.answered.values()) == {1}
    assert max(len(lines) for lines in provider.created if not provider.fails(lines)) <= 11
    assert partition.queue.most >= 5 * tokens_of(partition.inputs, "how much?")
    assert partition.log.entries[-1].batch_tokens == partition.queue.most
    partition.check_no_window()


@on_virtual_time
async def test_what_is_known_to_be_larger_than_the_queue_is_split_before_it_is_sent() -> None:
    provider = ToldProvider()
    partition = Partition([batched(offset) for offset in range(40)], provider)
    partition.queue.most = 10 * tokens_of(partition.inputs, "how much?")
    await partition.close((0, 40))
    await partition.until(lambda: partition.over)
    assert [len(lines) for lines in provider.created] == [10] * 4
    assert partition.kinds() == {"answers": 40}
    partition.check_no_window()


@on_virtual_time
async def test_a_batch_waits_whole_while_others_fill_the_queue() -> None:
    provider = ToldProvider(busy=True, fails=lambda _: "token_limit_exceeded")
    partition = Partition([batched(offset) for offset in range(40)], provider)
    await partition.close((0, 40))
    await partition.until(lambda: len(provider.created) > 10)
    assert {len(lines) for lines in provider.created} == {40}
    provider.fails = lambda _: ""
    await partition.until(lambda: partition.over)
    assert partition.kinds() == {"answers": 40}


@on_virtual_time
async def test_an_input_that_alone_is_larger_than_the_queue_falls_back_and_says_why() -> None:
    records = [batched(offset, LONG if offset == 5 else "how much?") for offset in range(10)]
    provider = ToldProvider()
    partition = Partition(records, provider)
    provider.fails = at_most(5 * tokens_of(partition.inputs, "how much?"), partition.inputs)
    await partition.close((0, 10))
    await partition.until(lambda: partition.over)
    outcomes = partition.outcomes()
    assert outcomes.pop(5) == ["refused"]
    assert outcomes == {offset: ["answers"] for offset in range(10) if offset != 5}
    [why] = [
        batch.why
        for entry in partition.log.entries
        for batch in entry.batches
        if batch.state == "ended" and batch.reason
    ]
    assert "larger than the provider's queue" in why
    partition.check_no_window()


@on_virtual_time
async def test_an_input_is_not_blamed_while_nothing_is_taken_of_others() -> None:
    """Somebody who is not seen may fill the queue. After a day, all that was there then has left."""
    provider = ToldProvider(fails=lambda _: "token_limit_exceeded")
    partition = Partition([batched(0)], provider)
    await partition.close((0, 1))
    await partition.until(lambda: len(provider.created) > 20)
    assert partition.outcomes() == {}
    await partition.until(lambda: partition.over)
    assert partition.outcomes() == {0: ["refused"]}


# refused line by line


@on_virtual_time
async def test_inputs_that_are_all_refused_wait_until_a_small_batch_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = ToldProvider(line=refusal)
    partition = Partition([batched(offset) for offset in range(300)], provider)
    await partition.close((0, 100), (100, 200), (200, 300))
    await partition.until(lambda: len(provider.created) > 10)
    assert partition.outcomes() == {}
    assert "Unknown parameter" in partition.gate.stopped
    assert "Unknown parameter" in critical(caplog)[0]
    assert max(len(lines) for lines in provider.created[3:]) <= PROBE_INPUTS
    distances = [later - before for before, later in zip(provider.tried_at[3:], provider.tried_at[4:], strict=False)]
    assert distances[-1] >= 600.0, "as seldom as a stopped remote is probed"
    assert {batch.state for batch in partition.owner._ledger.open.values()} <= {"closed", "running"}
    provider.line = answer
    await partition.until(lambda: partition.over)
    assert partition.outcomes() == {offset: ["answers"] for offset in range(300)}
    assert set(provider.answered.values()) == {1}
    assert partition.gate.stopped == ""
    partition.check_no_window()


@on_virtual_time
async def test_no_more_than_a_few_batches_are_made_small_however_long_everything_is_refused() -> None:
    provider = ToldProvider(line=refusal)
    gate = BulkGate(BreakerPolicy(terminal_cool_down_s=10.0))
    partition = Partition([batched(offset) for offset in range(600)], provider, gate)
    await partition.close((0, 300), (300, 600))
    await partition.until(lambda: len(provider.created) > 40)
    assert len(partition.owner._ledger.open) <= 10
    assert sum(batch.records for batch in partition.owner._ledger.open.values()) == 600
    provider.line = answer
    await partition.until(lambda: partition.over)
    assert partition.kinds() == {"answers": 600}


@on_virtual_time
async def test_a_refused_line_beside_answered_ones_is_its_inputs_own() -> None:
    provider = ToldProvider(line=lambda line: refusal(line) if line.custom_id.startswith("b0-7-") else answer(line))
    partition = Partition([batched(offset) for offset in range(10)], provider)
    await partition.close((0, 10))
    await partition.until(lambda: partition.over)
    assert partition.kinds() == {"answers": 9, "refused": 1}
    assert partition.outcomes()[7] == ["refused"]


@on_virtual_time
async def test_of_a_few_lines_that_are_all_refused_nobody_knows_and_they_go_into_another_batch() -> None:
    provider = ToldProvider(line=refusal)
    partition = Partition([batched(offset) for offset in range(2)], provider)
    await partition.close((0, 2))
    await partition.until(lambda: partition.over)
    assert partition.outcomes() == {0: ["batched"], 1: ["batched"]}
    assert partition.gate.stopped == ""


@on_virtual_time
async def test_one_line_is_enough_where_the_provider_says_that_it_refuses_everything() -> None:
    provider = ToldProvider(line=lambda line: refusal(line, 404))
    partition = Partition([batched(0)], provider)
    await partition.close((0, 1))
    await partition.until(lambda: partition.gate.stopped)
    assert partition.outcomes() == {}


@on_virtual_time
async def test_inputs_fall_back_where_the_settings_do_not_wait_for_a_remote_that_refuses_everything() -> None:
    provider = ToldProvider(line=refusal)
    partition = Partition([batched(offset) for offset in range(30)], provider, BulkGate(waits=False))
    await partition.close((0, 30))
    await partition.until(lambda: partition.over)
    assert partition.kinds() == {"remote_error": 30}


@on_virtual_time
async def test_a_batch_that_another_worker_created_stops_all_as_well() -> None:
    provider = ToldProvider(line=refusal)
    partition = Partition([batched(offset) for offset in range(30)], provider)
    await partition.close((0, 30))
    await partition.until(lambda: provider.created)
    await partition.stop()
    heir = Partition(partition.records, provider)
    [batch] = partition.owner._ledger.open.values()
    assert batch.state == "running"
    heir.owner._ledger.open[batch.id] = batch
    heir.owner._live(batch, None, taken_over=True)
    await heir.until(lambda: heir.gate.stopped)
    assert heir.outcomes() == {}


# refused at the door


@pytest.mark.parametrize(
    "error", [Terminal("no such model"), CallRefused("bad option", may_be_input=True)], ids=["terminal", "refused"]
)
def test_a_provider_that_refuses_every_batch_is_asked_seldom_and_loudly(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    @on_virtual_time
    async def scenario() -> None:
        provider = ToldProvider(create_error=lambda _: error)
        partition = Partition([batched(offset) for offset in range(60)], provider)
        await partition.close((0, 30), (30, 60))
        await partition.until(lambda: len(provider.tried_at) > 20)
        assert partition.outcomes() == {}
        assert str(error) in critical(caplog)[0]
        assert provider.tried_at[-1] - provider.tried_at[-7] >= HOUR_S * 0.9, "of both batches together"
        provider.create_error = lambda _: None
        await partition.until(lambda: partition.over)
        assert partition.kinds() == {"answers": 60}
        partition.check_no_window()

    scenario()


@on_virtual_time
async def test_batches_that_the_provider_all_fails_do_not_speak_for_each_other() -> None:
    """Each was created, and nothing of any was asked: that says nothing against one of them."""
    provider = ToldProvider(fails=lambda _: "invalid_model")
    partition = Partition([batched(offset) for offset in range(60)], provider)
    await partition.close((0, 30), (30, 60))
    await partition.until(lambda: len(provider.created) > 20)
    assert partition.outcomes() == {}
    assert "invalid_model" in partition.gate.stopped


@on_virtual_time
async def test_an_input_that_spoils_its_batch_while_others_are_answered_falls_back_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuses(lines: list[Line]) -> Exception | None:
        spoilt = any(line.custom_id.startswith("b0-3-") for line in lines)
        return CallRefused("cannot be processed", may_be_input=True) if spoilt else None

    provider = ToldProvider(create_error=refuses)
    partition = Partition([batched(offset) for offset in range(100)], provider)
    await partition.close((0, 7), (7, 50))
    await partition.until(lambda: 20 in partition.outcomes())
    await partition.close((50, 100))
    await partition.until(lambda: partition.over)
    assert partition.kinds() == {"remote_error": 1, "answers": 99}
    assert partition.outcomes()[3] == ["remote_error"]
    assert critical(caplog) == [], "the others are answered"
    partition.check_no_window()


@on_virtual_time
async def test_a_probe_that_gets_no_answer_for_another_reason_leaves_its_place() -> None:
    provider = ToldProvider(create_error=lambda _: Terminal("no such key"))
    partition = Partition([batched(offset) for offset in range(10)], provider, BulkGate(BreakerPolicy(cool_down_s=1.0)))
    await partition.close((0, 5), (5, 10))
    await partition.until(lambda: partition.gate.stopped)
    provider.create_error = lambda _: RemoteError("busy")
    await partition.until(lambda: len(provider.tried_at) > 6)
    provider.create_error = lambda _: None
    await partition.until(lambda: partition.over)
    assert partition.kinds() == {"answers": 10}
