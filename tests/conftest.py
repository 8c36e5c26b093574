"""What every test has: a marker by its folder, an event loop that may not block, and a broker on request.

With `--one-broker`, the processes of pytest-xdist share a broker, which is started by the one that deals out the tests.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bisupervised.schemas
import pytest
from bisupervised.streams.sandbox.broker import Broker
from blockbuster import blockbuster_ctx
from support.archive import use_archive
from support.dealing import Dealing

TESTS = Path(__file__).parent
SORTS = ("unit", "contract", "property", "integration", "chaos", "packaging")
ONE_BROKER = pytest.StashKey[Broker]()
#: a member may be missed sooner than an ordinary broker allows: tests wait until dead ones are
PROPERTIES = {"group.min.session.timeout.ms": "1000"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--one-broker", action="store_true", help="with -n: one embedded Kafka for all processes")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Dealing | None:
    if not config.getoption("one_broker"):
        return None
    config.option.loadscopereorder = False  # the order is that of pytest_collection_modifyitems
    return Dealing(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # of pytest-xdist, which has no types
    """Tell a process that is about to be started where the broker is."""
    config: pytest.Config = node.config
    if not config.getoption("one_broker"):
        return
    if ONE_BROKER not in config.stash:
        use_archive()
        broker = Broker(properties=PROPERTIES)
        broker.start()
        config.add_cleanup(broker.stop)
        config.stash[ONE_BROKER] = broker
    node.workerinput["broker_port"] = config.stash[ONE_BROKER].port


def pytest_configure() -> None:
    """`scripts/wheel.py test` says where the package must come from; elsewhere it may come from anywhere."""
    expected = os.environ.get("BISUPERVISED_EXPECTED_IN")
    actual = bisupervised.schemas.__file__
    if expected and not Path(actual).is_relative_to(expected):
        raise pytest.UsageError(f"the tests were to run against {expected}, but import {actual}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's sort is its folder's name, so that none lacks a marker and is left out of every stage.

    The longest begin first, and others fill the gaps beside them: one that came last would run alone.
    """
    for item in items:
        sort = item.path.relative_to(TESTS).parts[0]
        if sort not in SORTS:
            raise pytest.UsageError(f"{item.path} belongs into one of the folders {', '.join(SORTS)}")
        item.add_marker(sort)
    items.sort(key=_seconds, reverse=True)


def _seconds(item: pytest.Item) -> float:
    """How long it takes, roughly; 0 where that does not matter."""
    marker = item.get_closest_marker("long")
    return float(marker.args[0]) if marker else 0.0


@pytest.fixture(autouse=True)
def no_blocking(request: pytest.FixtureRequest) -> Iterator[None]:
    """A call that blocks the event loop fails the test that made it."""
    if request.node.get_closest_marker("asyncio") is None:
        yield
        return
    with blockbuster_ctx():
        yield


@pytest.fixture(autouse=True)
def process_as_found() -> Iterator[None]:
    """What a test leaves changed in its process, the test fails by, not one that happens to follow."""
    before = _of_the_process()
    yield
    assert _of_the_process() == before


def _of_the_process() -> dict[str, object]:
    return {
        "Python collects garbage": gc.isenabled(),
        "folder": Path.cwd(),
        "environment": {name: value for name, value in os.environ.items() if name.startswith("BISUPERVISED_")},
        "handler of SIGTERM": signal.getsignal(signal.SIGTERM),
        "handler of SIGINT": signal.getsignal(signal.SIGINT),
        "log level": logging.getLogger().level,
    }


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """One embedded Kafka for the whole run: tests keep apart by the names of their topics and groups.

    Of a shared one only the address is here: whoever stops or kills a broker has one of his own.
    """
    shared = getattr(request.config, "workerinput", {}).get("broker_port")
    if shared is not None:
        yield Broker(port=shared)
        return
    with Broker(properties=PROPERTIES) as running:
        yield running
