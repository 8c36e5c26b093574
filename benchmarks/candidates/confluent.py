"""confluent-kafka, exactly once: the consume-process-produce loop of its documentation.

Tuned: up to 1,000 messages from a call of `consume`, orjson, one transaction every 100 ms, a producer's queue that
holds a whole transaction. The partitioner is Java's, as its documentation advises.
"""

from __future__ import annotations

import time

import orjson
from confluent_kafka import Consumer, Message, Producer
from shared import COMMIT_S, arguments, decide

asked = arguments()
consumer = Consumer(
    {
        "bootstrap.servers": asked.servers,
        "group.id": asked.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
    }
)
producer = Producer(
    {
        "bootstrap.servers": asked.servers,
        "transactional.id": asked.transactional_id,
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": 1_000_000,
    }
)


def answer(message: Message) -> None:
    """Decide, and produce the answer."""
    value, trusted = decide(orjson.loads(message.value()))
    topic = asked.results if trusted else asked.doubtful
    producer.produce(topic, orjson.dumps(value), message.key())


def transact(messages: list[Message]) -> None:
    """Answer what is consumed within 100 ms, then commit."""
    producer.begin_transaction()
    end = time.monotonic() + COMMIT_S
    while True:
        for message in messages:
            if message.error():
                raise RuntimeError(message.error())
            answer(message)
        producer.poll(0)
        left_s = end - time.monotonic()
        if left_s <= 0:
            break
        messages = consumer.consume(1000, left_s)
    positions = consumer.position(consumer.assignment())
    producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
    producer.commit_transaction()


consumer.subscribe([asked.requests])
producer.init_transactions()
while True:
    if arrived := consumer.consume(1000, 0.1):
        transact(arrived)
