"""Fallback records made by the data plane itself, for what no agent can answer or no topic can take."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ....schemas.codec import fall_back, without_value
from ....schemas.records import Facts, Incoming, Outgoing

#: bytes of the longest key that a record without its value still carries
_KEY_BYTES = 1024


class FallbackSubstitute:
    """Speaks for one agent. `facts_of` reads what is known about a record of its input topic."""

    def __init__(self, agent: str, facts: Callable[[Incoming], Facts]) -> None:
        self._agent = agent
        self._facts = facts

    def failed(self, record: Incoming, detail: str) -> Outgoing:
        """`model_error`, after the last try."""
        return fall_back(record, self._facts(record), "model_error", detail, self._agent)

    def too_large(self, record: Incoming, detail: str) -> Outgoing:
        """`too_large`: without the value, which stays where it was read, as does a key that is large itself."""
        outcome = without_value(record, self._facts(record), detail, self._agent)
        return outcome if len(outcome.key or b"") <= _KEY_BYTES else msgspec.structs.replace(outcome, key=None)

    def refused(self, record: Incoming, detail: str) -> Outgoing:
        """`invalid_request`."""
        return fall_back(record, self._facts(record), "invalid_request", detail, self._agent)
