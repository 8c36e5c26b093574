"""The right to make one call, and what is known of it when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from ....schemas.budget import NOTHING, Amount
from ....schemas.errors import Timeout
from ..protocol import Usage
from ..retry import surely_free
from ..spending.purse import Reserved


class Door(Protocol):
    """What a permit tells the gate that gave it."""

    def heard(self, headers: Mapping[str, str]) -> None: ...
    def used(self, permit: Permit, usage: Usage) -> None: ...
    def settle(self, reserved: Reserved, used: Amount) -> None: ...
    def leave(self, permit: Permit, error: BaseException | None) -> None: ...


class Permit:
    """The right to make one call. A context with one door out: however the call ends, the breaker hears of it."""

    __slots__ = (
        *("_gate", "_reserved", "asked", "asks_known", "ended", "guess", "impatient", "money", "opened", "order"),
        *("probes", "records", "status", "stopped", "ticket", "tokens", "well"),
    )

    def __init__(self, gate: Door, ticket: int, guess: int, tokens: float, reserved: Reserved | None = None) -> None:
        self._gate = gate
        self._reserved = reserved
        self.ticket = ticket
        self.order = 0  #: it is the call of this number
        self.ended = 0  #: the number of the last call that had begun when this one ended
        self.well = False  #: others had been answered by then
        self.opened = 0  #: times the circuit had opened by then
        self.stopped = False  #: every call was in vain by then
        self.probes = False  #: its outcome decides whether others may follow
        self.asks_known = False  #: of a probe: it asks what was answered before
        self.records: frozenset[str] = frozenset()  #: that it asks about
        self.asked = ""  #: the whole address that is asked, as a log may show it
        self.status: int | None = None  #: of the response
        self.money: int | None = None  #: nano-units that it was billed, where that is known
        self.guess = guess
        self.tokens = tokens  #: reserved
        self.impatient = False  #: it gets less time than a call should: its timeout is not the remote's fault

    @property
    def succeeded(self) -> bool:
        """The response's status is a success."""
        return self.status is not None and 200 <= self.status < 300

    def heard(self, headers: Mapping[str, str], status: int) -> None:
        """A response has come, whatever its status."""
        self.status = status
        self._gate.heard(headers)

    def used(self, usage: Usage | None) -> None:
        """What the call was billed for, where the remote tells."""
        if usage is not None:
            self._gate.used(self, usage)

    def give_back(self) -> None:
        """The call was not made."""
        if self._reserved is not None:
            self._gate.settle(self._reserved, NOTHING)
        self._gate.leave(self, asyncio.CancelledError())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reserved is not None:
            self._gate.settle(self._reserved, self._billed(self._reserved, error))
        unheard = self.impatient and isinstance(error, Timeout)
        self._gate.leave(self, asyncio.CancelledError() if unheard else error)

    def _billed(self, reserved: Reserved, error: BaseException | None) -> Amount:
        """What is known, nothing where that is sure, and otherwise the most that it can have been."""
        if self.money is not None:
            return Amount(self.money, reserved.amount.calls)
        return NOTHING if surely_free(error, self.status) else reserved.amount
