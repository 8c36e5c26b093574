"""Recorded predictions through the real pipeline: every decision is the one made offline."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from bisupervised.agents.supervision.joint import JointModel, fit_joint
from bisupervised.agents.supervision.recording import Recording
from bisupervised.agents.supervision.thresholds import Line, Target, Thresholds, signed, write_thresholds
from bisupervised.streams.offline.recordings.pairs import Recorded, read_recording
from bisupervised.streams.offline.rehearsal import Conditions, rehearse
from bisupervised.streams.offline.rehearsal_report import Report
from bisupervised.streams.offline.rules import Expected, FromFile, TwoThresholds
from bisupervised.streams.sandbox.broker import Broker
from rich.console import Console
from support.recordings import NEEDS_DATA, files

pytestmark = pytest.mark.long(30)  # all of them
#: inputs of a rehearsal; 0 takes all, as `make rehearsals` does
INPUTS = int(os.environ.get("REHEARSAL_INPUTS", "2000"))
SILENT = Console(quiet=True)
RULES = {"imdb": TwoThresholds(0.9, 0.9), "squadv2": TwoThresholds(0.4, 0.5)}


def recorded(case: str, first: int | None = INPUTS or None) -> Recorded:
    return read_recording(*files(case)).first(first)


def topics(servers: str) -> list[str]:
    async def listed() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        await admin.start()
        try:
            return list(await admin.list_topics())
        finally:
            await admin.close()

    return [name for name in asyncio.run(listed()) if name.startswith("rehearsal-")]


def check(report: Report, given: Recorded, rule: TwoThresholds) -> None:
    """Counted here once more, straight from the arrays."""
    local, remote = given.recording.local, given.recording.remote
    kept, right = local.scores >= rule.local, remote.scores >= rule.remote
    assert (report.mismatches, report.lost, report.duplicated, report.unknown, report.failed) == (0, 0, 0, 0, 0)
    assert report.answered_by_local == kept.sum()
    assert report.answered_by_remote == (~kept & right).sum()
    assert report.rejected == (~kept & ~right).sum()
    assert report.correct == (kept & local.correct).sum() + (~kept & right & remote.correct).sum()
    assert report.remote_calls == (~kept).sum()
    assert min(report.answered_by_local, report.answered_by_remote, report.rejected) > 0


@NEEDS_DATA
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", RULES)
def test_every_decision_is_the_offline_one(case: str, broker: Broker) -> None:
    given, rule = recorded(case), RULES[case]
    report = rehearse(given, rule, Conditions(price=0.5, bootstrap_servers=broker.bootstrap_servers), SILENT)
    check(report, given, rule)
    assert report.cost == report.cost_in_records == 0.5 * report.remote_calls
    assert topics(broker.bootstrap_servers) == [], "on somebody's broker nothing is left behind"
    print(case, report.inputs, "inputs,", report.seconds, "s")


@NEEDS_DATA
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("case", "arbitration"), [("imdb", True), ("squadv2", False)])
def test_the_joint_supervisor_decides_as_it_does_offline(
    case: str, arbitration: bool, broker: Broker, tmp_path: Path
) -> None:
    """A joint model in a thresholds file. With the answers recorded (imdb) it arbitrates as well."""
    given = recorded(case)
    half = len(given.recording) // 2
    model = fit_joint(given.recording[:half])
    assert model.agreement == arbitration
    path = tmp_path / "thresholds.json"
    write_thresholds(path, signed(joint_thresholds(case, model, arbitration=arbitration)))
    rule = FromFile.read(path)
    report = rehearse(given, rule, Conditions(bootstrap_servers=broker.bootstrap_servers), SILENT)
    decisions = rule.decide(given.recording)
    assert (report.mismatches, report.lost, report.duplicated, report.unknown, report.failed) == (0, 0, 0, 0, 0)
    assert report.rejected == decisions.rejected.sum() > 0
    assert report.remote_calls == decisions.deferred.sum()
    after_all = int((decisions.by_remote & decisions.local_after_all).sum())
    assert (after_all > 0) == arbitration, "some local answers are taken once the remote has answered"
    assert report.answered_by_local == decisions.by_local.sum() + after_all
    print(case, "joint", report.inputs, "inputs,", report.seconds, "s")


def joint_thresholds(case: str, model: JointModel, *, arbitration: bool) -> Thresholds:
    return Thresholds(
        version=f"{case} joint",
        local=Line(0.9 if case == "imdb" else 0.1, "recorded"),
        remote=Line(0.7 if case == "imdb" else 0.3, "joint"),
        first="a rehearsal",
        method="paper",
        target=Target("false_positive_rate", 0.05),
        seed=0,
        parts={},
        made="2026-01-01T00:00:00+00:00",
        joint=model,
        joint_of="recorded",
        arbitration=arbitration,
    )


@dataclass(frozen=True)
class Otherwise(TwoThresholds):
    """Tells the worker other thresholds than it decides by."""

    def decide(self, recording: Recording) -> Expected:
        return replace(self, local=self.local + 0.05).decide_truly(recording)

    def decide_truly(self, recording: Recording) -> Expected:
        return TwoThresholds.decide(self, recording)


@NEEDS_DATA
def test_a_pipeline_that_decides_otherwise_is_found_out_even_at_a_limit(broker: Broker) -> None:
    given, rule = recorded("imdb", 200), Otherwise(0.9, 0.9)
    conditions = Conditions(latency_ms=5, limit=20, bootstrap_servers=broker.bootstrap_servers)
    report = rehearse(given, rule, conditions, SILENT)
    scores = given.recording.local.scores
    assert report.mismatches == np.count_nonzero((scores >= 0.9) & (scores < 0.95)) > 0
    assert not report.sound
    assert (report.lost, report.duplicated, report.failed) == (0, 0, 0)
    assert report.remote_calls == np.count_nonzero(scores < 0.9)
    assert report.remote_calls_refused > 0, "the limit was met, and cost time, no answer"
