"""What a consumer has no call for: how its next fetch waits, whether it still fetches, metadata, leaving at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer


def wait_at_broker(consumer: AIOKafkaConsumer, milliseconds: int) -> None:
    """From its next fetch on, a broker that has no records answers after so long; one under way is not changed."""
    consumer._fetcher._fetch_max_wait_ms = milliseconds  # noqa: SLF001  # an option of its making only


def refresh_metadata(consumer: AIOKafkaConsumer) -> None:
    """Have it ask soon how many partitions its topics have: of itself it asks every five minutes."""
    consumer._client.force_metadata_update()  # noqa: SLF001  # nothing public asks


def check_client(consumer: AIOKafkaConsumer) -> None:
    """Raises `KafkaError` where a task has ended that fetching needs: the client itself says that nothing comes."""
    for task in (consumer._fetcher.error_future, consumer._client._sync_task):  # noqa: SLF001  # nothing public tells
        if task.done():
            raise KafkaError("the client has stopped fetching") from (None if task.cancelled() else task.exception())


async def leave_group(consumer: AIOKafkaConsumer) -> None:
    """Tell the group that this member leaves, whatever the client waits for there. Raises `KafkaError`.

    A client that stops during a rebalance says it only when all others have joined. A broker answers one request of a
    connection after the other, so it is said over another one: the group then waits for this member no more.
    """
    ours = consumer._coordinator  # noqa: SLF001  # nothing public tells who we are in the group
    if ours is not None and ours.coordinator_id is not None and ours.member_id:
        request = LeaveGroupRequest(ours.group_id, ours.member_id)
        await consumer._client.send(ours.coordinator_id, request, group=ConnectionGroup.DEFAULT)  # noqa: SLF001  # as above
