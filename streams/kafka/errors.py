"""What can go wrong with a broker, in words that say what to do. The client's errors are translated where they arise.

    BiSupervisedError
    ├── OutboxError            a transaction that did not go through, as far as we know
    │   ├── RecordsRefused     the broker does not take some records; nothing was committed
    │   └── Lost               nobody knows whether it was committed: open again, and ask
    │       ├── Disconnected   a broker went away after the last transaction; nothing was sent since
    │       └── Unsettled      the committed offset may still change: a transaction hangs on it
    ├── NotAllowed             the broker does not let us; nothing was committed
    └── BrokerUnreachable      no broker answered
        └── NotLetIn           one is there, and takes no connection of ours

Trying again does not mend a `NotAllowed`: whoever meets one lets it end the worker, which has lost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from ...schemas.errors import BiSupervisedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .refusals import Refusal

_IDEMPOTENT = ("IdempotentWrite", "cluster", "kafka-cluster")


class OutboxError(BiSupervisedError):
    """A transaction that did not go through, as far as we know."""


class RecordsRefused(OutboxError):
    """The broker does not take some records. Nothing was committed.

    `culprits` holds the index of each record known to be refused and the broker's reason; it is empty when a whole
    batch was refused and it is not known for which of its records.
    """

    def __init__(self, culprits: Mapping[int, Refusal]) -> None:
        super().__init__(f"the broker refuses records: {_said(culprits) or 'some of one batch'}")
        self.culprits = culprits

    def too_large(self, index: int) -> bool:
        """True when the record is refused for its size."""
        return self.culprits[index].too_large


class Lost(OutboxError):
    """The connection, the broker or the producer was lost on the way: the outcome is unknown."""

    arrived = False  #: the records did arrive, all of them: only the commit of their offset is unknown


class Disconnected(Lost):
    """A broker of the last transaction went away, so its end may hang. Of the next one nothing was sent."""

    def __init__(self) -> None:
        super().__init__("a broker of the last transaction went away: its end is said again")


class Unsettled(Lost):
    """A transaction that nobody ends any more holds the committed offset, or one that is about to end."""

    def __init__(self) -> None:
        super().__init__("a transaction hangs on the committed offset: it is not known yet")


class BrokerUnreachable(BiSupervisedError):
    """No broker answered. The message says where it was looked for and what to do."""


class NotLetIn(BrokerUnreachable):
    """A broker is there, and takes no connection of ours: to wait does not help."""


class NotAllowed(BiSupervisedError):
    """The broker does not allow `operation` on the `resource` of this `name`."""

    def __init__(self, operation: str, resource: str, name: str) -> None:
        super().__init__(
            f"the broker does not allow {operation} on the {resource} {name!r}: `bisupervised topics acls` prints what "
            "to grant"
        )
        self.operation, self.resource, self.name = operation, resource, name


def _said(culprits: Mapping[int, Refusal]) -> str:
    """Each thing that it says, once."""
    return "; ".join(dict.fromkeys(str(refusal) for refusal in culprits.values()))


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
