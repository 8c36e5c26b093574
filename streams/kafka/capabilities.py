"""What a broker of some version can do, as it says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.protocol.admin import ApiVersionRequest

from .asking import ask_any

if TYPE_CHECKING:
    from aiokafka.client import AIOKafkaClient

#: in this version TxnOffsetCommit came with Kafka 2.5, and with it what exactly once relies on
_TXN_OFFSET_COMMIT, _SINCE_2_5 = 28, 3
#: came with Kafka 3.0
_DESCRIBE_TRANSACTIONS = 65
#: what to do about a broker that is too old for exactly once
TOO_OLD = (
    'the broker is older than Kafka 2.5, which exactly once needs: set [stream] delivery = "at_least_once", or take a '
    "newer broker"
)


class Capabilities(NamedTuple):
    """What of a broker the worker depends on."""

    exactly_once: bool  #: it says whether a transaction may still change a committed offset
    tells_endings: bool  #: it says how the last transaction of a producer ended


async def capabilities(client: AIOKafkaClient) -> Capabilities:
    """Ask a broker that answers. Raises `KafkaError` where none does."""
    told: Any = (await ask_any(client, ApiVersionRequest())).answer
    highest = {key: most for key, _, most in told.api_versions}
    return Capabilities(highest.get(_TXN_OFFSET_COMMIT, -1) >= _SINCE_2_5, _DESCRIBE_TRANSACTIONS in highest)
