"""Reading the metrics of a worker, as Prometheus does."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping, Sequence

from prometheus_client.parser import text_string_to_metric_families
from support.pipeline import AGENTS, Pipeline, Worker, wait_until


class Scraped:
    """A worker whose metrics are served."""

    def __init__(
        self,
        pipeline: Pipeline,
        agents: str | None = None,
        port: int = 0,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        command = ["support.scraped", "--config", str(pipeline.config), "--port", str(port), *options]
        self.worker: Worker = pipeline.start([*command, "--agents", agents] if agents else command, env)
        planes = len(agents.split(",")) if agents else AGENTS
        self.worker.wait_for("partition_acquired", planes * pipeline.partitions)
        self.worker.wait_for("metrics_served")
        [told] = [line for line in self.worker.told() if line.get("action") == "metrics_served"]
        self.port = int(told["port"])

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def text(self) -> str:
        """What `/metrics` says."""
        with urllib.request.urlopen(f"http://{self.target}/metrics", timeout=10) as response:
            return str(response.read().decode())

    def total(self, series: str, **labels: str) -> float:
        """The sum of the samples that have these labels."""
        samples = [one for family in text_string_to_metric_families(self.text()) for one in family.samples]
        wanted = labels.items()
        return sum(one.value for one in samples if one.name == series and wanted <= one.labels.items())

    def wait_for_total(self, value: float, series: str, **labels: str) -> None:
        """Until the sum is this. What is committed is counted a moment after it can be read."""
        what = f"{series} {labels} = {value}"
        wait_until(lambda: self.total(series, **labels) == value, what, explain=self.text)
