"""Whether an input or its server is to blame that it has no answer. Pure functions."""

from __future__ import annotations

from ....schemas.errors import InvalidAnswer, RecordError, RemoteFailure
from ...remote.retry import NotAnAnswer, NotConnected, RetryPolicy, backoff_s, tells_of_remote

#: longest wait that a server may ask for, seconds
_MOST_WISH_S = 60.0


def is_useless(error: RecordError) -> bool:
    """An answer came, and it is none of those that can be used: the model has spoken, and said nothing."""
    return isinstance(error, InvalidAnswer) and not isinstance(error, NotAnAnswer)


def may_be_input(error: RecordError, tried: int, tries: int) -> bool:
    """Whether the input may be to blame: it was refused, or its calls have ended badly so often."""
    return tells_of_remote(error) or (tried >= tries and not isinstance(error, NotConnected))


def wait_s(policy: RetryPolicy, tried: int, chance: float, error: RecordError) -> float:
    """Seconds until the next try, after so many."""
    wish = error.retry_after_s if isinstance(error, RemoteFailure) else None
    return backoff_s(policy, tried - 1, chance, None if wish is None else min(wish, _MOST_WISH_S))
