"""The error tree. Every leaf that can end a record carries the reason code that goes on the wire.

    BiSupervisedError
    ├── Rejected                 the record goes to `fallback`; trying again would not help
    │   ├── InvalidRequest       invalid_request   cannot be parsed, or lacks its input
    │   ├── InvalidAnswer        invalid_answer    the remote answered something that is no answer
    │   ├── Refused              refused           the remote refuses this input for its own content
    │   └── ModelError           model_error       the model raised, hung or killed the process
    ├── RemoteFailure            the remote call failed; trying again may help
    │   ├── RemoteError          remote_error      connection lost, 5xx
    │   ├── RateLimited          rate_limited      429
    │   └── Timeout              timeout           no answer in time
    ├── BudgetSpent              budget            the bill is capped
    └── ConfigurationError       never on the wire: refuses to start, lists every fault at once

*Reject* and *retry* have different base classes, so that callers decide by class and never by text.

Three reasons are no errors, but what a part decides without one: low_confidence and no_confidence of the remote
supervisor, too_large of the data plane, where the broker takes no record of this size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

Reason = Literal[
    "low_confidence",
    "no_confidence",
    "invalid_request",
    "model_error",
    "remote_error",
    "timeout",
    "rate_limited",
    "budget",
    "invalid_answer",
    "refused",
    "too_large",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
#: of these, those of the remote supervisor: an answer was there, and is not trusted
REJECTED: tuple[Reason, ...] = ("low_confidence", "no_confidence")


class BiSupervisedError(Exception):
    """Base of everything this package raises on purpose."""


class RecordError(BiSupervisedError):
    """An error that can end a record: it knows its reason code."""

    reason: ClassVar[Reason]


class Rejected(RecordError):
    """This record cannot be answered; the same input would fail again."""


class InvalidRequest(Rejected):
    """The request cannot be parsed, or lacks its input."""

    reason = "invalid_request"


class InvalidAnswer(Rejected):
    """The remote returned something that is no answer to the question."""

    reason = "invalid_answer"


class Refused(Rejected):
    """The remote refuses this input for its own content: policy, too long, wrong form."""

    reason = "refused"


class ModelError(Rejected):
    """The model raised on this input, hung on it, or it killed the process."""

    reason = "model_error"


class RemoteFailure(RecordError):
    """The remote call failed in a way that may pass.

    `retry_after_s` is the server's own wish in seconds, None where it gave none.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RemoteError(RemoteFailure):
    """Connection lost, or the server failed (5xx)."""

    reason = "remote_error"


class RateLimited(RemoteFailure):
    """The server asks to slow down (429)."""

    reason = "rate_limited"


class Timeout(RemoteFailure):
    """No answer within the time allowed."""

    reason = "timeout"


class BudgetSpent(RecordError):
    """The budget of this period is spent."""

    reason = "budget"


class ConfigurationError(BiSupervisedError):
    """The configuration cannot work. `faults` holds every fault found, one line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
