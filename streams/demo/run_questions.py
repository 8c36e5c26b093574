"""The second demo from end to end: text in, text out, scored by likelihood, through chat completions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from ...agents.answers import read_tokens
from ...agents.supervision.recording import Recording
from ..sandbox.outcomes import Outcome
from ..sandbox.processes import start_broker, start_server
from .chat_server import completion, likelihood
from .pipeline import (
    CALLS_PER_SECOND,
    IN_FLIGHT,
    LATENCY_MS,
    PRICE,
    Workload,
    exit_status,
    run_interruptible,
    run_workload,
    start_pipeline,
    write_json,
)
from .questions import MODEL_VARIABLE, NumberQuestion, load_answerer, make_split, side, train
from .report import Baselines, as_table
from .thresholds import ThresholdPair, ThresholdTargets, calibrate_pair

TARGETS = ThresholdTargets(remote_fraction=0.45, false_positive_rate=0.06, delta=0.1)
#: questions that are printed with their answers
_SHOWN = 6
#: name of the score of either model, in settings and records
SCORE = "token_mean"


def run_questions(out: Path, *, seed: int, batches: bool = False) -> int:
    """Run the demo and write `questions.json` below `out`. Returns 1 where an event was lost or duplicated.

    `batches`: the remote is asked in batches.
    """
    return run_interruptible(lambda console, processes: _run(out, seed, console, processes, batches=batches))


def _run(out: Path, seed: int, console: Console, processes: ExitStack, *, batches: bool) -> int:
    """The whole story, in order."""
    folder = out / "questions"
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "local.pt"
    split = make_split(seed)
    console.print("[bold]1[/] A small model that writes answers, and the thresholds")
    with console.status("  training it (seconds)"):
        train(split.training, seed, weights)
        thresholds = calibrate_pair(_recording(split.calibration, weights), TARGETS, "questions")
    console.print(f"  {weights}; thresholds: local {thresholds.local:.3f}, remote {thresholds.remote:.3f}")
    console.print("[bold]2[/] Kafka, a scripted model behind chat completions, and the worker")
    servers = start_broker(processes, console)
    url = start_server(_server_options(seed), folder, processes, module="bisupervised.streams.demo.chat_server")
    model = {MODEL_VARIABLE: str(weights.resolve())}
    toml = _toml(servers, url, thresholds, batches=batches)
    pipeline = start_pipeline(folder, toml, processes, model)
    console.print(f"  the worker's page, while it runs: {pipeline.page}")
    console.print(f"[bold]3[/] {len(split.held_out):,} questions in, results and fallback out")
    report, outcomes = run_workload(_workload(split.held_out, weights), pipeline, url, console)
    console.print(_some(split.held_out, outcomes))
    write_json(
        out / "questions.json",
        report,
        {"threshold_local": thresholds.local, "threshold_remote": thresholds.remote},
    )
    console.print(as_table(report, "Questions in words"))
    console.print(f"The same as JSON: {out / 'questions.json'}. Logs: {folder}")
    return exit_status(report, pipeline.worker)


def _recording(questions: Sequence[NumberQuestion], weights: Path) -> Recording:
    """The answers of both models to each question."""
    texts = [question.text for question in questions]
    read = read_tokens(load_answerer(weights)(list(texts)), len(texts), SCORE)
    local = [(answer.prediction, answer.score) for answer in read]
    remote = [likelihood(completion(text)) for text in texts]
    return Recording(side(questions, local), side(questions, remote))


def _workload(questions: Sequence[NumberQuestion], weights: Path) -> Workload:
    """Every question once; its id is its position."""
    alone = _recording(questions, weights)
    events = {str(n): orjson.dumps({"id": str(n), "input": question.text}) for n, question in enumerate(questions)}
    truth = {str(n): question.answer for n, question in enumerate(questions)}
    return Workload(events, truth, Baselines(alone.local.accuracy, alone.remote.accuracy))


def _server_options(seed: int) -> dict[str, object]:
    limits: dict[str, object] = {"--latency-ms": LATENCY_MS, "--limit": CALLS_PER_SECOND, "--price": PRICE}
    return limits | {"--seed": seed, "--batch-s": _BATCH_S}


#: what makes batches of the same configuration
_BATCHES = """
[stream]
ordering = "none"               # the answers of a batch come later than others of the same key

[batch]
records = 250
age_s = 2.0                     # minutes, where a provider takes hours
poll_first_s = 0.5
poll_most_s = 1.0
price_share = 0.5               # of the price above
"""


def _toml(servers: str, url: str, thresholds: ThresholdPair, *, batches: bool) -> str:
    """The configuration, as a user would write it. JSON's strings are TOML's too."""
    mode = "batch" if batches else "direct"
    return f"""\
# The example's configuration, made anew by each run.
name = "questions"

[kafka]
bootstrap_servers = {json.dumps(servers)}

[local]
model = "bisupervised.streams.demo.questions:answerer"
output = "tokens"               # pairs of an answer and its words' log-probabilities
supervisor = "{SCORE}"
threshold = {thresholds.local!r}

[remote]
url = {json.dumps(url)}
protocol = "openai_chat"
model = "scripted"
supervisor = "{SCORE}"
threshold = {thresholds.remote!r}
batch_wait_ms = 0
in_flight = {IN_FLIGHT}
requests_per_minute = {60 * CALLS_PER_SECOND}
limit_window_s = 1  # how the server counts: so many calls a second
price_per_call = {PRICE}
mode = "{mode}"

[remote.openai_chat]
system = "Answer with the number in words, and nothing else."
prompt = "{{input}}"
temperature = 0
max_tokens = 16
{_BATCHES if batches else ""}"""


#: seconds that the scripted model takes for a batch; a provider takes minutes or hours
_BATCH_S = 3.0


def _some(questions: Sequence[NumberQuestion], outcomes: Sequence[Outcome]) -> Table:
    """The first questions and their outcomes."""
    by_id = {outcome.id: outcome for outcome in outcomes}
    table = Table("Question", "Answer", "By")
    for position, question in enumerate(questions[:_SHOWN]):
        outcome = by_id.get(str(position))
        if outcome is not None:
            answer = str(outcome.prediction) if outcome.answered_by else ""
            table.add_row(question.text, answer or f"({outcome.reason})", outcome.answered_by or "")
    return table
