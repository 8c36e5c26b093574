"""What is asked, until when, and who pays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from ....schemas.budget import NANO
from ...tracing import UNTRACED, CallTrace
from ..asking import Bill
from ..protocol import Call, RemoteProtocol


class Asked(NamedTuple):
    """What is asked, in whichever form: as `ask` was given it, with times on the client's clock."""

    inputs: Sequence[Any]
    records: frozenset[str]
    key: str
    deadline: float
    latest: float
    bill: Bill
    trace: CallTrace


class Inquiry(msgspec.Struct, frozen=True):
    """What is asked, until when, and who pays: the same for every try."""

    form: RemoteProtocol  #: which made the call, and reads the answer
    call: Call
    records: frozenset[str]  #: that it is about
    key: str  #: the idempotency key
    inputs: int  #: how many it asks about
    tokens: int  #: that it will take, as the protocol guesses
    most: int  #: nano-units of money that a try can cost
    deadline: float  #: on the client's clock: when the last of the inputs has no use for an answer any more
    latest: float  #: on the client's clock: when the last try must have begun
    bill: Bill
    trace: CallTrace

    @property
    def begin_by(self) -> float:
        """On the client's clock: when the next try must have begun."""
        return min(self.latest, self.bill.ends)

    @property
    def ends(self) -> float:
        """On the client's clock: when a try that has begun must be over."""
        return min(self.deadline, self.bill.ends)

    def is_billed(self, money: int) -> None:
        """A try has cost so many nano-units: each input bears its share."""
        self.bill.cost += money / NANO / self.inputs


def alone(inquiry: Inquiry) -> Inquiry:
    """The same question, of nobody's."""
    return msgspec.structs.replace(
        inquiry, records=frozenset(), deadline=math.inf, latest=math.inf, bill=Bill(), trace=UNTRACED
    )
