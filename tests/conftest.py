"""What every test has: a marker by its folder, an event loop that may not block, and a broker on request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import bisupervised.schemas
import pytest
from bisupervised.streams.sandbox.broker import Broker
from blockbuster import blockbuster_ctx

TESTS = Path(__file__).parent
SORTS = ("unit", "contract", "property", "integration", "chaos", "packaging")


def pytest_configure() -> None:
    """`scripts/wheel.py test` says where the package must come from; elsewhere it may come from anywhere."""
    expected = os.environ.get("BISUPERVISED_EXPECTED_IN")
    actual = bisupervised.schemas.__file__
    if expected and not Path(actual).is_relative_to(expected):
        raise pytest.UsageError(f"the tests were to run against {expected}, but import {actual}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's sort is its folder's name, so that none lacks a marker and is left out of every stage."""
    for item in items:
        sort = item.path.relative_to(TESTS).parts[0]
        if sort not in SORTS:
            raise pytest.UsageError(f"{item.path} belongs into one of the folders {', '.join(SORTS)}")
        item.add_marker(sort)


@pytest.fixture(autouse=True)
def no_blocking(request: pytest.FixtureRequest) -> Iterator[None]:
    """A call that blocks the event loop fails the test that made it."""
    if request.node.get_closest_marker("asyncio") is None:
        yield
        return
    with blockbuster_ctx():
        yield


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """One embedded Kafka for the whole run: tests keep apart by the names of their topics and groups."""
    with Broker() as running:
        yield running
