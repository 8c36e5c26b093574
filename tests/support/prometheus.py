"""A real Prometheus with our alert rules, where one is installed (Debian: `apt-get install prometheus`)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bisupervised.streams.sandbox.ports import free_port
from support.pipeline import wait_until

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml"


class Prometheus:
    """Scrapes every second, and lets no rule wait: `for` is taken out of them, nothing else."""

    def __init__(self, folder: Path) -> None:
        self._targets = folder / "targets.json"
        self.port = free_port()
        rules = folder / "alerts.yml"
        rules.write_text(re.sub(r"^ *for: .*\n", "", RULES.read_text(), flags=re.MULTILINE))
        self.scrape()
        found = {"job_name": "bisupervised", "file_sd_configs": [{"files": [str(self._targets)]}]}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [found],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML

    def scrape(self, *targets: str) -> None:
        """From now on, these."""
        self._targets.write_text(json.dumps([{"targets": list(targets)}]))

    def firing(self) -> dict[str, list[dict[str, str]]]:
        """Alerts that fire now: the labels of each, by name."""
        found: dict[str, list[dict[str, str]]] = {}
        for alert in self._ask("alerts")["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return found

    def wait_until_scraped(self, target: str) -> None:
        """Until it has figures of this target: it takes up new ones every five seconds only."""
        wait_until(lambda: bool(self._ask("query?query=" + quote(f'up{{instance="{target}"}} == 1'))["result"]), target)

    def _ask(self, what: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{what}", timeout=10) as response:
            return json.load(response)["data"]

    def wait_for(self, alert: str, **labels: str) -> None:
        """Until this alert fires, with these labels."""
        wait_until(
            lambda: any(labels.items() <= found.items() for found in self.firing().get(alert, [])),
            f"the alert {alert} {labels}",
            explain=lambda: str(self.firing()),
        )

    def wait_until_quiet(self, alert: str) -> None:
        """Until it does not fire any more."""
        wait_until(lambda: alert not in self.firing(), f"{alert} to end", explain=lambda: str(self.firing()))


@contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """On loopback, until the end of the block."""
    assert PROMETHEUS is not None
    made = Prometheus(folder)
    command = [PROMETHEUS, "--config.file", "prometheus.yml", "--storage.tsdb.path", "data"]
    listens = f"--web.listen-address=127.0.0.1:{made.port}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, listens], cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: answers(made.port), "prometheus", explain=(folder / "prometheus.log").read_text)
            yield made
        finally:
            process.terminate()
            process.wait(20)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2):
            return True
    except OSError:
        return False
