"""What a broker answers to records that it will never take: which of them, and why, in its own words.

Its fault or the record's? A code belongs here where the same record, sent again to the same topic, would be refused
again although the broker is well: its size, its timestamp, its form, a policy, a schema, a missing key in a compacted
topic. The client does not know all of these codes, drops the words beside them, and does not ask for the version of
the answer that names single records (KIP-467, Kafka 2.4).

`CORRUPT_MESSAGE` is none of them: since Kafka 2.4 it means bytes that were damaged on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, UnknownError, for_code
from aiokafka.producer import sender
from aiokafka.protocol import produce

_TOO_LARGE = {10: "MESSAGE_TOO_LARGE", 18: "RECORD_LIST_TOO_LARGE"}
_REFUSALS = _TOO_LARGE | {
    32: "INVALID_TIMESTAMP",
    43: "UNSUPPORTED_FOR_MESSAGE_FORMAT",
    44: "POLICY_VIOLATION",
    87: "INVALID_RECORD",
}
#: characters of the broker's words that are kept: they go into a record's header
_WORDS = 300


class Refusal(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """The broker never takes a batch, or some records in it."""

    def __init__(self, code: int, words: str = "", named: Mapping[int, str] | None = None) -> None:
        """`named`: what it says of single records, by their place in the batch."""
        said = " ".join(words.split())[:_WORDS]
        super().__init__(f"{_REFUSALS.get(code, code)}: {said}" if said else str(_REFUSALS.get(code, code)))
        self._text = str(self.args[0])
        self.code = code
        self.words = words
        self.named = dict(named or {})

    def __str__(self) -> str:
        return self._text

    @property
    def too_large(self) -> bool:
        """It is about size."""
        return self.code in _TOO_LARGE

    def culprits(self, indexes: Sequence[int]) -> dict[int, Refusal]:
        """The records known to be refused, of a batch that holds the records of these `indexes`; none known: empty."""
        if len(indexes) == 1:
            return {indexes[0]: Refusal(self.code, next(iter(self.named.values()), "") or self.words)}
        named = {place: words for place, words in self.named.items() if 0 <= place < len(indexes)}
        return {indexes[place]: Refusal(self.code, words or self.words) for place, words in named.items()}


def told(code: int, record_errors: Sequence[tuple[int, str | None]] | None, words: str | None) -> KafkaError | None:
    """What a broker says of one batch, as the error that it is; None where the client's own says as much."""
    if code in _REFUSALS:
        return Refusal(code, words or "", {place: text or "" for place, text in record_errors or ()})
    if for_code(code) is UnknownError:
        return UnknownError(f"error {code}: {words or 'the broker does not say more'}")
    return None


class _Handler(sender.SendProduceReqHandler):  # type: ignore[misc]  # aiokafka has no types
    def handle_response(self, response: Any) -> None:  # noqa: ANN401  # as above
        for topic, partitions in response.topics:
            for number, code, *more in partitions:
                batch = self._batches.get(TopicPartition(topic, number))
                named, words = more[-2:] if response.API_VERSION >= _WITH_WORDS else (None, None)
                error = told(code, named, words)
                if batch is not None and error is not None:
                    batch.failure(exception=error)  # what the client says of it after this comes too late
        super().handle_response(response)


#: version of the answer to a produce request from which on it has words
_WITH_WORDS = produce.ProduceResponse_v8.API_VERSION


def hear_refusals() -> None:
    """From now on, the producers of this process raise `Refusal`, with the broker's words."""
    sender.SendProduceReqHandler = _Handler
    classes = produce.ProduceRequest._CLASSES  # noqa: SLF001  # the client knows the version, and does not use it
    if produce.ProduceRequest_v8 not in classes:
        produce.ProduceRequest._CLASSES = (*classes, produce.ProduceRequest_v8)  # noqa: SLF001  # as above
