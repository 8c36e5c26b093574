"""Which inputs go into one call. A pure function.

Three bounds are kept where the records wait, by the data plane, which alone knows who else will come: how many records
a batch holds (`batch_size`), how long its first one waits for others (`batch_wait_ms`), and that it is of records that
may be answered together. What is left depends on the inputs themselves, which are known here for the first time: their
bytes, and their shape, where a protocol can only send equal ones together. So a batch is cut here, never joined.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How much goes into one call."""

    bytes: int = 1_000_000  #: of the inputs of one call, as they came; one alone may be larger


@runtime_checkable
class Shaped(Protocol):
    """A protocol that can send only inputs of equal shape in one call."""

    def shape_of(self, given: Any) -> Hashable:  # noqa: ANN401  # an input is any JSON value
        """What must be equal within a call."""
        ...


def cut(
    items: Sequence[T], size_of: Callable[[T], int], shape_of: Callable[[T], Hashable], policy: BatchPolicy
) -> list[list[T]]:
    """Groups of equal shape within the bound of bytes, each in the order of `items`, by their first item."""
    groups: list[list[T]] = []
    open_groups: dict[Hashable, tuple[list[T], int]] = {}
    for item in items:
        shape, size = shape_of(item), size_of(item)
        group, held = open_groups.get(shape, ([], policy.bytes + 1))
        if held + size > policy.bytes:
            group, held = [], 0
            groups.append(group)
        group.append(item)
        open_groups[shape] = group, held + size
    return groups


@dataclass(frozen=True, slots=True)
class Deferral:
    """Which inputs go into the provider's batches, and are not asked as they come."""

    beyond_s: float | None = None  #: those whose deadline is further away; None: all

    def defers(self, deadline_ms: float | None, now_ms: float) -> bool:
        """Whether an input with this deadline does; None for none."""
        if self.beyond_s is None:
            return True
        return deadline_ms is not None and deadline_ms - now_ms > self.beyond_s * 1000.0
