"""A broker's answer to a produce request, as the client's own handler gets it: what is raised, and of which records."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    KafkaError,
    NotLeaderForPartitionError,
    UnknownError,
)
from aiokafka.producer import sender
from aiokafka.producer.message_accumulator import BatchBuilder, MessageBatch
from aiokafka.protocol import produce
from bisupervised.streams.kafka.refusals import Refusal, hear_refusals

TP = TopicPartition("results", 0)
WORDS = "Compacted topic cannot accept message without key in topic partition results-0."


@pytest.fixture(autouse=True)
def unpatched() -> Iterator[None]:
    """The client's own parts are put back: the process is shared."""
    before = sender.SendProduceReqHandler, produce.ProduceRequest._CLASSES
    hear_refusals()
    yield
    sender.SendProduceReqHandler, produce.ProduceRequest._CLASSES = before


def answered(code: int, named: list[tuple[int, str | None]], words: str | None) -> KafkaError | None:
    """What becomes of a batch when the broker answers so; None while it is to be sent again."""
    response = produce.ProduceResponse_v8(
        topics=[("results", [(0, code, -1, -1, 0, named, words)])], throttle_time_ms=0
    )
    again = produce.ProduceResponse_v8.decode(response.encode())
    batch = MessageBatch(TP, BatchBuilder(1000, 0), 1.0, 0.0)
    of_a_sender = SimpleNamespace(
        _retry_backoff=0.1, _txn_manager=object(), client=SimpleNamespace(force_metadata_update=lambda: None)
    )
    made: Any = sender.SendProduceReqHandler(of_a_sender, {TP: batch})
    made.handle_response(again)
    return batch.future.exception() if batch.future.done() else None


async def test_single_records_are_named_in_the_brokers_words() -> None:
    error = answered(87, [(0, WORDS), (2, None)], "One or more records have been rejected")
    assert isinstance(error, Refusal)
    assert {index: str(why) for index, why in error.culprits([10, 11, 12]).items()} == {
        10: f"INVALID_RECORD: {WORDS}",
        12: "INVALID_RECORD: One or more records have been rejected",
    }


@pytest.mark.parametrize("code", [10, 18, 32, 43, 44, 87])
async def test_a_batch_that_is_refused_without_a_word_about_its_records(code: int) -> None:
    error = answered(code, [], "no")
    assert isinstance(error, Refusal)
    assert error.culprits([3, 4]) == {}, "not known which"
    assert str(error.culprits([3])[3]).endswith(": no")
    assert error.too_large == (code in {10, 18})


async def test_a_place_outside_the_batch_is_nobodys() -> None:
    error = answered(87, [(7, "no"), (-1, "no")], None)
    assert isinstance(error, Refusal)
    assert error.culprits([3, 4]) == {}


async def test_an_error_that_the_client_does_not_know_has_its_number_and_words() -> None:
    error = answered(93, [], "a fault of the broker's")
    assert isinstance(error, UnknownError)
    assert "error 93: a fault of the broker's" in str(error)


async def test_what_is_the_brokers_fault_is_no_refusal() -> None:
    assert isinstance(answered(2, [], None), CorruptRecordException)
    assert answered(NotLeaderForPartitionError.errno, [], None) is None, "to be sent again"


async def test_the_answer_with_words_is_asked_for() -> None:
    request: Any = produce.ProduceRequest("id", -1, 1000, [("results", [(0, b"batch")])])
    assert request.prepare({0: (3, 13)}).API_VERSION == 8
    assert request.prepare({0: (0, 7)}).API_VERSION == 7, "a broker before 2.4"
    hear_refusals()
    assert produce.ProduceRequest._CLASSES.count(produce.ProduceRequest_v8) == 1


async def test_long_words_are_cut() -> None:
    assert len(str(Refusal(87, "word " * 1000))) < 350
