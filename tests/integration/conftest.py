"""The pipeline of a test: started on demand, ended on every way out, its logs shown when the test fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bisupervised.streams.sandbox.broker import Broker
from support.pipeline import Pipeline, Remote, Setup, remote_and_pipeline
from support.secured import Secured, secured_broker


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker that asks who comes. Its tests go to one process."""
    with secured_broker(tmp_path_factory.mktemp("secured")) as made:
        yield made


@pytest.fixture
def setup(broker: Broker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Setup]:
    """`setup(partitions=…, delay_s=…, stream={…}, …)`: a remote and five topics of one's own."""
    fresh = request.node.get_closest_marker("fresh") is not None
    with ExitStack() as stack:
        made: list[Pipeline] = []

        def make(servers: str = broker.bootstrap_servers, **options: Any) -> tuple[Remote, Pipeline]:
            remote, pipeline = stack.enter_context(remote_and_pipeline(servers, tmp_path, **options))
            pipeline.fresh = fresh
            made.append(pipeline)
            return remote, pipeline

        yield make
        for pipeline in made:  # pytest shows this where the test has failed
            for worker in pipeline.workers:
                print(f"--- {worker.log.name}, {worker!r}")
                worker.abort()  # one that still runs may hang: where?
                print(worker.tail(120))
