"""`make versions`: the pipeline on the versions of Kafka that people run, in both modes of delivery.

    python tests/versions/run.py [VERSION ...]

For each: `check --connect`; then 2,000 requests through two workers, of which one is killed, and the broker too; then
everything is counted. Beside all of it, consumers of `results` by another client read what is committed: one for each
protocol of groups that the broker knows. Where `check` finds faults, a worker must end and say the same. The table goes
to build/versions/table.md, for docs/kafka-versions.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bisupervised.streams.sandbox.kafka_jars import KafkaRelease
from support.pipeline import Outcome, Pipeline, Sent, mixed, out_of_order, remote_and_pipeline, tally
from versions.brokers import BUILD, VersionedBroker, number_of
from versions.readers import Reader, protocols_of, readers, saw

#: newest patch of each line
VERSIONS = ("2.4.1", "2.5.1", "2.8.2", "3.0.2", "3.4.1", "3.7.2", "3.9.1", "4.0.1", "4.1.1", "4.3.0")
DELIVERIES = ("exactly_once", "at_least_once")
#: what brokers do by default from a version on, and how they are told not to: partitions that verify transactions, and
#: groups of the new protocol (`group.protocol=consumer`) beside ours
_LEFT_OUT = (
    ((3, 6), "transaction.partition.verification.enable", "false"),
    ((4, 0), "group.coordinator.rebalance.protocols", "classic"),
)
SETTLE_S = 240.0
CHECK_S = 60.0
HEADINGS = ("Kafka", "delivery", "broker", "lost", "twice", "out of order", "seen by confluent-kafka", "seconds")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run."""

    version: str
    delivery: str
    properties: dict[str, str]

    @property
    def broker(self) -> str:
        """What is special about it."""
        return ", ".join(f"`{key}={value}`" for key, value in self.properties.items())


@dataclass(slots=True)
class Found:
    """What came of it."""

    lost: int = 0
    twice: int = 0
    out_of_order: int = 0
    seen: str = ""  #: the protocols of groups by which another client saw the same
    unseen: str = ""  #: where it saw something else
    seconds: float = 0.0
    refusal: str = ""  #: what `check --connect` and the worker say, where both refuse the broker
    error: str = ""

    def right(self, trial: Trial) -> bool:
        """Whether it is as it is promised."""
        twice = self.twice and trial.delivery == "exactly_once"
        return not (self.error or self.lost or self.out_of_order or twice or self.unseen)

    @property
    def counts(self) -> list[str]:
        """The cells of the table."""
        told = self.error or (f"refused: {self.refusal}" if self.refusal else "")
        if told:
            return [told, "", "", ""]
        return [*map(str, (self.lost, self.twice, self.out_of_order)), self.unseen or self.seen]


def trials(versions: Sequence[str]) -> list[Trial]:
    """Every version in both modes; and exactly once where a broker leaves out what newer ones do by default."""
    plain = [Trial(version, delivery, {}) for version in versions for delivery in DELIVERIES]
    without = [
        Trial(version, "exactly_once", {key: value})
        for since, key, value in _LEFT_OUT
        for version in versions
        if number_of(version) >= since
    ]
    return plain + without


def run(trial: Trial, folder: Path) -> Found:
    """One broker, two workers, two kills. Whatever goes wrong is in what is found."""
    found, began = Found(), time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    broker = VersionedBroker(trial.version, folder / "broker", trial.properties)
    stream = {"delivery": trial.delivery, "transaction_timeout_s": 10.0, "drain_s": 5.0, "watchdog_s": 40.0}
    try:
        broker.start(print)
        with remote_and_pipeline(broker.bootstrap_servers, folder, delay_s=0.02, stream=stream) as (_, pipeline):
            if faults := checked(pipeline):
                refused(found, faults, pipeline)
            else:
                protocols = protocols_of(number_of(trial.version), trial.properties)
                with readers(broker.bootstrap_servers, pipeline.topic("results"), folder, protocols) as others:
                    sent, outcomes = killed(broker, pipeline)
                    count(found, sent, outcomes)
                    compare(found, outcomes, others)
    except Exception as error:  # noqa: BLE001  # the next version may work
        found.error = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    finally:
        broker.stop()
    found.seconds = time.monotonic() - began
    return found


def checked(pipeline: Pipeline) -> str:
    """The faults that `check --connect` finds; '' for none."""
    told = pipeline.start(["bisupervised.streams.cli", "check", "--connect", "--config", str(pipeline.config)])
    told.wait(CHECK_S)
    return " ".join(line.split("  ")[-1] for line in told.tail().splitlines() if line.startswith("fault"))


def refused(found: Found, faults: str, pipeline: Pipeline) -> None:
    """Where `check` finds faults, a worker must end, and say the same."""
    worker = pipeline.worker()
    try:
        status = worker.wait(CHECK_S)
    except subprocess.TimeoutExpired:
        found.error = f"check says {faults}, and the worker runs on"
        return
    if status and faults in worker.tail():
        found.refusal = faults
    else:
        found.error = f"check says {faults}, and the worker ends with status {status}: {worker.tail(1)}"


def killed(broker: VersionedBroker, pipeline: Pipeline) -> tuple[list[Sent], list[Outcome]]:
    """Send, kill a worker, send, kill the broker, send. What was sent, and every outcome."""
    first, second = pipeline.worker(), pipeline.worker()
    second.wait_for("partition_acquired", 1)
    sent = pipeline.send(mixed(700))
    first.kill()
    third = pipeline.worker()
    sent += pipeline.send(mixed(700))
    third.wait_for("worker_started")
    broker.kill()
    broker.start()
    sent += pipeline.send(mixed(600))
    return sent, pipeline.settle(sent, SETTLE_S)


def count(found: Found, sent: list[Sent], outcomes: list[Outcome]) -> None:
    """Compare what was sent with what came of it."""
    counted = tally(sent, outcomes)
    found.lost, found.twice = len(counted.lost) + len(counted.foreign), len(counted.duplicated)
    found.out_of_order = out_of_order(outcomes)


def compare(found: Found, outcomes: Sequence[Outcome], others: Sequence[Reader]) -> None:
    """Whether the other client saw each outcome in `results`, and as often as we."""
    results = Counter(outcome.place for outcome in outcomes if outcome.topic == "results")
    told = [saw(reader, results) for reader in others]
    wrong = [text for text in told if ": " in text]
    found.seen, found.unseen = ", ".join(told), "; ".join(wrong)


def row(trial: Trial, found: Found) -> str:
    """A line of the table."""
    return (
        "| " + " | ".join([trial.version, trial.delivery, trial.broker, *found.counts, f"{found.seconds:.0f}"]) + " |"
    )


def main() -> int:
    """Each in turn. Ends with 1 where one is not right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", default=[*VERSIONS, KafkaRelease.shipped().version])
    parser.add_argument("--delivery", choices=DELIVERIES)
    arguments = parser.parse_args()
    table = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    right = True
    for number, trial in enumerate(trials(arguments.versions)):
        if arguments.delivery in (None, trial.delivery):
            found = run(trial, BUILD / "runs" / f"{number}-{trial.version}-{trial.delivery}")
            table.append(row(trial, found))
            print(table[-1], flush=True)
            right &= found.right(trial)
    (BUILD / "table.md").write_text("\n".join(table) + "\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
