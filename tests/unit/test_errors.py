from __future__ import annotations

import pytest
from bisupervised.schemas import errors
from bisupervised.schemas.errors import (
    REASONS,
    BiSupervisedError,
    BudgetSpent,
    ConfigurationError,
    RateLimited,
    RecordError,
    Rejected,
    RemoteError,
    RemoteFailure,
    Timeout,
)


def leaves(kind: type[RecordError]) -> list[type[RecordError]]:
    """The classes of this module below `kind` that have a reason of their own."""
    found = [kind] if "reason" in vars(kind) else []
    below = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return found + [leaf for child in below for leaf in leaves(child)]


#: what is decided without an error
DECIDED = ("low_confidence", "no_confidence", "too_large")


def test_every_reason_on_the_wire_has_exactly_one_class_unless_it_is_decided_without_an_error() -> None:
    assert sorted([*DECIDED, *(leaf.reason for leaf in leaves(RecordError))]) == sorted(REASONS)


def test_the_drawing_names_every_class_and_reason() -> None:
    for leaf in leaves(RecordError):
        assert f"{leaf.__name__} " in (errors.__doc__ or "")
        assert f" {leaf.reason} " in (errors.__doc__ or "")
    for reason in DECIDED:
        assert f" {reason} " in (errors.__doc__ or "")


@pytest.mark.parametrize("leaf", leaves(RecordError))
def test_reject_and_retry_never_mix(leaf: type[RecordError]) -> None:
    kinds = [issubclass(leaf, kind) for kind in (Rejected, RemoteFailure, BudgetSpent)]
    assert sum(kinds) == 1


@pytest.mark.parametrize("kind", [RemoteError, RateLimited, Timeout])
def test_a_remote_failure_may_carry_the_servers_wish(kind: type[RemoteFailure]) -> None:
    assert kind("x").retry_after_s is None
    assert kind("x", retry_after_s=2.0).retry_after_s == 2.0


def test_a_configuration_error_lists_every_fault_and_is_never_on_the_wire() -> None:
    error = ConfigurationError(["one", "two"])
    assert (error.faults, str(error)) == (("one", "two"), "one\ntwo")
    assert isinstance(error, BiSupervisedError)
    assert not isinstance(error, RecordError)
