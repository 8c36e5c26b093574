"""`python -m benchmarks.model`: the local path with a torch model of MiniLM's size, compared with torch alone.

Two setups take turns. A worker (`--agents local`) works off a backlog, and its model logs its batches. Then the same
model gets the same batches in a process that does nothing else. torch has the same number of threads in both, which a
user sets by `OMP_NUM_THREADS`. Rates are those of the middle of a run. Two processes that do the same work differ by a
tenth and more. Therefore the worker's model also repeats its batches at the end, in the worker's process.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from bisupervised.streams.topics.creating import create_topics
from rich.console import Console
from rich.table import Table

from .command import command, missed
from .minilm import AGAIN, CALLS, MINILM, MODEL, RECORDS, SMALL, Call, Shape, export, read_calls, texts
from .process import ROOT, environment_with
from .spread import Spread, ratios, spread
from .worker import PATIENCE_S, Worker, produce, settings_for, wait_until_answered

#: batches at each end of a run that do not count for its rate
EDGE = 3


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    shape: Shape = MINILM
    rounds: int = 5
    batches: int = 40  #: in a round
    batch_size: int = 32
    threads: int = 1  #: of torch


SMOKE = Sizes(SMALL, rounds=1, batches=12, batch_size=8)


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to `build/model.json`."""

    model_vs_torch: Spread  #: records a second of the worker, divided by those of torch alone
    model_vs_itself: Spread  #: the same, divided by those of the worker's own model when it repeats its batches
    worker_per_s: Spread  #: records a second
    torch_per_s: Spread
    batch_records: Spread  #: mean of a batch of the worker
    asked_share: Spread  #: share of the time in which the worker's model was at work; the rest it waits for the worker
    threads: int
    records: int  #: of all rounds
    answered: int  #: records that the workers' models were asked about


def measure(servers: str, sizes: Sizes, folder: Path, say: Console) -> Report:
    """Measure the worker and torch alone, in turn."""
    model = folder / "minilm.pt2"
    export(sizes.shape, model)
    ours, itself, theirs = list[list[Call]](), list[list[Call]](), list[list[Call]]()
    for number in range(sizes.rounds):
        say.print(f"round {number + 1} of {sizes.rounds}: a worker, then torch alone …")
        environment = {"OMP_NUM_THREADS": str(sizes.threads), MODEL: str(model)}
        asked, again, alone = (folder / f"{number}.{side}" for side in ("worker", "again", "torch"))
        _work_off(servers, sizes, folder, environment | {CALLS: str(asked), AGAIN: str(again)})
        _ask_again(asked, folder, environment | {CALLS: str(alone)})
        ours.append(read_calls(asked))
        itself.append(read_calls(again))
        theirs.append(read_calls(alone))
    worker_per_s, again_per_s, torch_per_s = ([rate(calls) for calls in side] for side in (ours, itself, theirs))
    return Report(
        model_vs_torch=ratios(worker_per_s, torch_per_s),
        model_vs_itself=ratios(worker_per_s, again_per_s),
        worker_per_s=spread(worker_per_s),
        torch_per_s=spread(torch_per_s),
        batch_records=spread([asked_in(calls) / len(calls) for calls in ours]),
        asked_share=spread([asked_share(calls) for calls in ours]),
        threads=sizes.threads,
        records=sizes.rounds * sizes.batches * sizes.batch_size,
        answered=sum(map(asked_in, ours)),
    )


def _work_off(servers: str, sizes: Sizes, folder: Path, environment: dict[str, str]) -> None:
    """Let a worker answer a backlog."""
    records, written = sizes.batches * sizes.batch_size, Path(environment[CALLS])
    local = {
        "model": "benchmarks.minilm:AskedTwice",
        "output": "logits",
        "batch_size": sizes.batch_size,
        "predict_timeout_s": 300,
    }
    path, settings = settings_for(servers, folder, local=local)
    asyncio.run(create_topics(settings))
    asyncio.run(produce(settings, [orjson.dumps({"input": ids}) for ids in texts(records)]))
    with Worker(path, "local", **environment, **{RECORDS: str(records)}) as worker:
        # the broker is not asked meanwhile, for that would take CPU time from the worker
        worker.wait_until(lambda: asked_in(read_calls(written)) >= records, "the end of its backlog")
        wait_until_answered(settings, records)


def _ask_again(asked: Path, folder: Path, environment: dict[str, str]) -> None:
    """Run the model alone on the same batches."""
    command = [sys.executable, "-m", "benchmarks.minilm", str(asked)]
    there = environment_with({"PYTHONPATH": str(ROOT), **environment})
    subprocess.run(command, env=there, cwd=folder, check=True, timeout=PATIENCE_S)


def asked_in(calls: Sequence[Call]) -> int:
    """The number of records in these calls."""
    return sum(len(call.numbers) for call in calls)


def rate(calls: Sequence[Call]) -> float:
    """Records a second in the middle of a run, from the beginning of one batch to that of another."""
    middle = calls[EDGE:-EDGE]
    return asked_in(middle[:-1]) / (middle[-1].began - middle[0].began)


def asked_share(calls: Sequence[Call]) -> float:
    """The share of that time in which the model was at work."""
    middle = calls[EDGE:-EDGE]
    return sum(call.ended - call.began for call in middle[:-1]) / (middle[-1].began - middle[0].began)


def as_table(report: Report) -> Table:
    """The report as a table."""
    table = Table("", "measured", "target", title=f"A model of MiniLM's size, {report.threads} thread(s) of torch")
    table.add_row("worker, of torch alone", report.model_vs_torch.percent, "≥ 95 %")
    table.add_row("worker, of its own model asked again in the same process", report.model_vs_itself.percent, "")
    table.add_row("worker, records/s", str(report.worker_per_s), "")
    table.add_row("torch alone, records/s", str(report.torch_per_s), "")
    table.add_row("records in a batch", str(report.batch_records), "")
    table.add_row("of its time, the worker's model was at work", report.asked_share.percent, "")
    return table


def faults(report: Report) -> list[str]:
    """The targets that were missed."""
    held = {
        "model_vs_torch": report.model_vs_torch.median >= 0.95,
        "answered": report.answered == report.records,
    }
    return missed(held)


def main() -> int:
    """Returns 0 where every target is met; `--smoke` checks none."""
    return command("model", __doc__, (Sizes(), SMOKE), measure, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
