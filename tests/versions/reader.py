"""A consumer of one topic by confluent-kafka, read committed, in a process and an environment of its own.

    python reader.py SERVERS TOPIC GROUP PROTOCOL

Writes a line for each record that it is given: its partition, its offset, its value in Base64. Ends on SIGTERM.
"""

from __future__ import annotations

import base64
import signal
import sys

from confluent_kafka import Consumer, KafkaException


def main(servers: str, topic: str, group: str, protocol: str) -> None:
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    while not ended:
        message = consumer.poll(0.2)
        if message is None or message.error():
            continue
        value = base64.b64encode(message.value() or b"").decode()
        print(message.partition(), message.offset(), value, flush=True)
        try:
            consumer.commit(message, asynchronous=True)
        except KafkaException:  # the broker is away, or the group forms anew: some records are given once more
            continue
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
