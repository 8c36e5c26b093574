"""Alert rules: each fires in promtool's cases, and most by a real Prometheus on real workers in that condition."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bisupervised.streams.sandbox.ports import free_port
from support.pipeline import Pipeline, Setup, request
from support.prometheus import PROMETHEUS, PROMTOOL, RULES, Prometheus, prometheus
from support.scraping import Scraped

DASHBOARD = RULES.parents[1] / "grafana" / "dashboards" / "bisupervised.json"

pytestmark = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None, reason="prometheus and promtool are not here: apt-get install prometheus"
)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Prometheus]:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with prometheus(folder) as made:
        yield made


def promtool(*arguments: str | Path, said: str = "") -> None:
    done = subprocess.run([str(PROMTOOL), *arguments], input=said, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_each_rule_fires_in_its_case_and_in_no_other() -> None:
    promtool("test", "rules", RULES.with_name("alerts_test.yml"))


def test_prometheus_understands_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(expressions) > 40
    rules = [
        {"record": f"panel:{place}", "expr": re.sub(r"\$__(rate_interval|range)", "5m", expression)}
        for place, expression in enumerate(expressions)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    promtool("check", "rules", path)


def test_the_exposition_pleases_promtool(setup: Setup) -> None:
    _, pipeline = setup()
    scraped = Scraped(pipeline)
    pipeline.wait_for_outcomes(pipeline.send([request(n) for n in range(10)]))
    promtool("check", "metrics", said=scraped.text())


@pytest.mark.long(35)
def test_no_worker_then_one_then_one_that_starts_again_and_again(setup: Setup, watched: Prometheus) -> None:
    _, pipeline = setup()
    watched.wait_for("BisupervisedNoWorker")
    port = free_port()
    watched.scrape(f"127.0.0.1:{port}")
    for _ in range(4):
        scraped = Scraped(pipeline, port=port)
        watched.wait_until_quiet("BisupervisedNoWorker")
        time.sleep(2.0)  # it is scraped at least once more
        scraped.worker.kill()
    watched.wait_for("BisupervisedWorkerRestarts", instance=f"127.0.0.1:{port}")


def test_the_remote_refuses_every_call(setup: Setup, watched: Prometheus) -> None:
    remote, pipeline = setup()
    remote.refusal = (401, {})
    watch(watched, pipeline)
    pipeline.send([request(n) for n in range(20)])
    watched.wait_for("BisupervisedRemoteStopped")


def test_the_remote_is_down_and_comes_back(setup: Setup, watched: Prometheus) -> None:
    remote, pipeline = setup(remote={"breaker_failures": 2, "breaker_cool_down_s": 1.0, "batch_size": 1, "tries": 2})
    remote.refusal = (503, {})
    watch(watched, pipeline)
    sent = pipeline.send([request(n) for n in range(20)])
    watched.wait_for("BisupervisedBreakerOpen")
    assert all(found["agent"] != "remote" for found in watched.firing().get("BisupervisedNoProgress", []))
    remote.refusal = None
    pipeline.wait_for_outcomes(sent)
    watched.wait_until_quiet("BisupervisedBreakerOpen")


def test_most_records_end_in_fallback(setup: Setup, watched: Prometheus) -> None:
    _, pipeline = setup()
    watch(watched, pipeline)
    for begin in range(0, 100, 20):  # a rate needs a counter that grows under its eyes
        pipeline.wait_for_outcomes(pipeline.send([request(n, remote=0.4) for n in range(begin, begin + 20)]))
        time.sleep(1.0)
    watched.wait_for("BisupervisedFallbackShareHigh")


def test_a_partition_stops(setup: Setup, watched: Prometheus) -> None:
    _, pipeline = setup(partitions=1)
    pipeline.send([request(n) for n in range(5)])
    pipeline.commit("local", "requests", 0, 10_000)  # the topic does not have it
    watch(watched, pipeline)
    watched.wait_for("BisupervisedPartitionStopped", agent="local", topic=pipeline.topic("requests"), partition="0")


def test_an_agent_crashes_again_and_again(setup: Setup, watched: Prometheus) -> None:
    _, pipeline = setup(local={"batch_size": 8})
    watch(watched, pipeline, "--crashing")
    pipeline.wait_for_outcomes(pipeline.send([request(n, local=0.95) for n in range(200)]))
    watched.wait_for("BisupervisedAgentRestarts", agent="local")


def test_a_remote_that_never_answers_makes_no_progress_and_the_lag_grows(setup: Setup, watched: Prometheus) -> None:
    remote, pipeline = setup(remote={"timeout_s": 100.0})
    remote.close_gate()
    watch(watched, pipeline)
    for begin in range(0, 2000, 500):
        pipeline.send([request(n) for n in range(begin, begin + 500)])
        time.sleep(2.0)
    watched.wait_for("BisupervisedNoProgress", agent="remote")
    watched.wait_for("BisupervisedLagGrows", agent="remote")
    remote.open_gate()


def test_a_worker_that_gets_no_cpu_says_so_when_it_does(setup: Setup, watched: Prometheus) -> None:
    _, pipeline = setup()
    worker = watch(watched, pipeline).worker
    worker.signal(signal.SIGSTOP)
    time.sleep(2.5)
    worker.signal(signal.SIGCONT)
    watched.wait_for("BisupervisedEventLoopBlocked")


def watch(watched: Prometheus, pipeline: Pipeline, *options: str) -> Scraped:
    """A worker, scraped before anything happens to it."""
    scraped = Scraped(pipeline, options=options)
    watched.scrape(scraped.target)
    watched.wait_until_scraped(scraped.target)
    return scraped
