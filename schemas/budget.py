"""What workers write into the budget's topic. Its order is the fleet's agreement on who may spend what."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from .decoding import decoded

#: parts of a currency's unit: amounts are whole numbers, so that all readers of the topic add up to the same
NANO = 1_000_000_000
#: version of the struct below
VERSION = 1


class Amount(NamedTuple):
    """What is spent: billionths of a currency's unit, and calls. What has no budget is 0."""

    money: int = 0
    calls: int = 0

    def plus(self, other: Amount) -> Amount:
        return Amount(self.money + other.money, self.calls + other.calls)

    def minus(self, other: Amount) -> Amount:
        return Amount(self.money - other.money, self.calls - other.calls)

    def at_most(self, other: Amount) -> Amount:
        return Amount(min(self.money, other.money), min(self.calls, other.calls))

    def at_least(self, other: Amount) -> Amount:
        return Amount(max(self.money, other.money), max(self.calls, other.calls))

    def covers(self, other: Amount) -> bool:
        return self.money >= other.money and self.calls >= other.calls


NOTHING = Amount()


def _version() -> int:
    return VERSION


class BudgetEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record of the budget's topic; its key is the pipeline's `name`."""

    kind: Literal["lease", "return"]
    id: str  #: of the lease; a lease that stands there twice counts once
    period: str  #: such as 2026-11-25T06, UTC
    amount: Amount  #: asked for, or given back
    limit: Amount = NOTHING  #: of the whole period, as the one who asks knows it
    worker: str = ""  #: who asks, for people
    return_id: str = ""  #: of a return; one that stands there twice counts once. '' where an older worker wrote it
    # a factory: `omit_defaults` would leave out a plain default, and no reader could tell one version from another
    v: int = msgspec.field(default_factory=_version)  #: version of this struct


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(BudgetEntry)


def encode_entry(entry: BudgetEntry) -> bytes:
    """The value of a record."""
    return _encoder.encode(entry)


def decode_entry(value: bytes) -> BudgetEntry:
    """Raises `msgspec.DecodeError`, also for another version: what it means is not known here."""
    entry = decoded(_decoder, value)
    if entry.v != VERSION:
        raise msgspec.ValidationError(f"the entry is of version {entry.v}, and {VERSION} is read here")
    return entry
