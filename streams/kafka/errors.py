"""What the broker does not allow us, in words that say what to grant. The clients' errors are translated here.

Trying again does not mend it: whoever meets a `NotAllowed` lets it end the worker, which has lost nothing.
"""

from __future__ import annotations

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from ...schemas.errors import BiSupervisedError

_IDEMPOTENT = ("IdempotentWrite", "cluster", "kafka-cluster")


class NotAllowed(BiSupervisedError):
    """The broker does not allow `operation` on the `resource` of this `name`."""

    def __init__(self, operation: str, resource: str, name: str) -> None:
        super().__init__(
            f"the broker does not allow {operation} on the {resource} {name!r}: `bisupervised topics acls` prints what "
            "to grant"
        )
        self.operation, self.resource, self.name = operation, resource, name


def denial(error: BaseException, *, reads: str = "", writes: str = "", group: str = "") -> NotAllowed | None:
    """What `error`, or an error that it was raised from, says is not allowed; None where it is about something else.

    `reads`, `group`: the topic that is read and the group, meant where the client names none. `writes`: the only topic
    that is written, where there is one.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TopicAuthorizationFailedError):
            topic = _named(cause) or reads
            return NotAllowed("Read" if topic == reads else "Write", "topic", topic)
        if isinstance(cause, GroupAuthorizationFailedError):
            return NotAllowed("Read", "group", _named(cause) or group)
        if isinstance(cause, TransactionalIdAuthorizationFailed):
            return NotAllowed("Write", "transactional-id", _named(cause))
        if isinstance(cause, ClusterAuthorizationFailedError):  # Kafka 3 and later: and may write to no topic either
            return NotAllowed("Write", "topic", writes) if writes else NotAllowed(*_IDEMPOTENT)
        cause = cause.__cause__
    return None


def _named(error: BaseException) -> str:
    """The client names one resource, a set of them, or none."""
    what = error.args[0] if error.args else ""
    return what if isinstance(what, str) else ", ".join(sorted(what))


class OutboxError(BiSupervisedError):
    """A transaction that did not go through, as far as we know."""


class Lost(OutboxError):
    """The connection, the broker or the producer was lost on the way: the outcome is unknown."""


class Unsettled(Lost):
    """A transaction that nobody ends any more holds the committed offset, or one that is about to end."""

    def __init__(self) -> None:
        super().__init__("a transaction hangs on the committed offset: it is not known yet")


class BrokerUnreachable(BiSupervisedError):
    """No broker answered. The message says where it was looked for and what to do."""
