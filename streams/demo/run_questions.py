"""The second example from end to end: text in, text out, scored by likelihood, through chat completions."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from ...agents.answers import read_tokens
from ...agents.supervision.calibration import Infeasible, clopper_pearson, local_threshold
from ...agents.supervision.recording import Recording
from ...schemas.errors import BiSupervisedError
from ..console.signals import interruptible, run_coroutine
from ..sandbox.broker import Broker, BrokerError
from ..sandbox.end_to_end import read_meter, stream
from ..sandbox.processes import Process, page_of, start_server, start_worker, wait_until_ready
from ..settings.file import load_settings
from ..topics.creating import create_topics
from .chat_server import completion, likelihood
from .questions import MODEL_VARIABLE, Question, load, make_split, side, train
from .report import Alone, Bill, Outcome, Report, as_json, as_table, make_report
from .run import CALLS_PER_SECOND, IN_FLIGHT, LATENCY_MS, PRICE, from_fallback, from_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..settings.tables import Settings

#: share of the questions that the local supervisor should defer
REMOTE_FRACTION = 0.45
#: share of the right answers that the remote supervisor may reject, and the chance that it rejects more
FALSE_POSITIVE_RATE, DELTA = 0.06, 0.1
_SHOWN = 6
SCORE = "token_mean"


@dataclass(frozen=True, slots=True)
class _Thresholds:
    local: float
    remote: float


def run_questions(out: Path, *, seed: int) -> int:
    """Run it and write `questions.json` below `out`. Returns 1 where an event was lost or duplicated."""
    console = Console(highlight=False)
    try:
        return interruptible(
            lambda processes: _run(out, seed, console, processes),
            lambda: console.print("stopping the worker, the remote and the broker"),
        )
    except BrokerError as error:
        raise BiSupervisedError(str(error)) from error


def _run(out: Path, seed: int, console: Console, processes: ExitStack) -> int:
    """The whole story, in order."""
    folder = out / "questions"
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "local.pt"
    split = make_split(seed)
    console.print("[bold]1[/] A small model that writes answers, and the thresholds")
    with console.status("  training it (seconds)"):
        train(split.training, seed, weights)
        thresholds = _calibrate(split.calibration, weights)
    console.print(f"  {weights}; thresholds: local {thresholds.local:.3f}, remote {thresholds.remote:.3f}")
    console.print("[bold]2[/] Kafka, a scripted model behind chat completions, and the worker")
    broker = Broker()
    processes.callback(broker.stop)
    broker.start(lambda told: console.print(f"  {told}"))
    url = _start_server(folder, seed, processes)
    config = folder / "bisupervised.toml"
    config.write_text(_toml(broker.bootstrap_servers, url, thresholds))
    settings = load_settings(config, {})
    run_coroutine(create_topics(settings))
    worker = start_worker(config, folder, processes, env={MODEL_VARIABLE: str(weights.resolve())})
    run_coroutine(wait_until_ready(settings, worker, folder))
    console.print(f"  the worker's page, while it runs: {page_of(folder / 'worker.log') or 'none, see worker.log'}")
    console.print(f"[bold]3[/] {len(split.held_out):,} questions in, results and fallback out")
    report = run_coroutine(_stream(settings, split.held_out, weights, worker, url, console))
    document = as_json(report) | {"threshold_local": thresholds.local, "threshold_remote": thresholds.remote}
    (out / "questions.json").write_text(json.dumps(document, indent=2) + "\n")
    console.print(as_table(report, "Questions in words"))
    console.print(f"The same as JSON: {out / 'questions.json'}. Logs: {folder}")
    return 0 if report.sound and not worker.returncode else 1


def _calibrate(questions: Sequence[Question], weights: Path) -> _Thresholds:
    """From questions that the model has not learned: half for the first threshold, half for the second."""
    recording = _recording(questions, weights)
    half = len(recording) // 2
    line = local_threshold(recording[:half].local.scores, REMOTE_FRACTION)
    found = clopper_pearson(recording[half:], line, FALSE_POSITIVE_RATE, DELTA)
    if isinstance(found, Infeasible):
        raise BiSupervisedError(f"these questions certify no second threshold: {found.reason}")
    return _Thresholds(line, found.threshold)


def _recording(questions: Sequence[Question], weights: Path) -> Recording:
    """What both models say to each question."""
    texts = [question.text for question in questions]
    read = read_tokens(load(weights)(list(texts)), len(texts), SCORE)
    local = [(answer.prediction, answer.score) for answer in read]
    remote = [likelihood(completion(text)) for text in texts]
    return Recording(side(questions, local), side(questions, remote))


def _start_server(folder: Path, seed: int, processes: ExitStack) -> str:
    options = {
        "--latency-ms": LATENCY_MS,
        "--limit": CALLS_PER_SECOND,
        "--price": PRICE,
        "--seed": seed,
    }
    return start_server(options, folder, processes, module="bisupervised.streams.demo.chat_server")


def _toml(servers: str, url: str, thresholds: _Thresholds) -> str:
    """The configuration, as a user would write it. JSON's strings are TOML's too."""
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

[remote.openai_chat]
system = "Answer with the number in words, and nothing else."
prompt = "{{input}}"
temperature = 0
max_tokens = 16
"""


async def _stream(
    settings: Settings, questions: Sequence[Question], weights: Path, worker: Process, url: str, console: Console
) -> Report:
    """Everything in, everything out, and count."""
    keyed = {str(number): question for number, question in enumerate(questions)}
    events = {key: orjson.dumps({"id": key, "input": question.text}) for key, question in keyed.items()}
    outcomes, seconds = await stream(settings, events, worker, (from_result, from_fallback), console)
    console.print(_some(keyed, {outcome.id: outcome for outcome in outcomes}))
    meter, alone = await read_meter(url), _recording(questions, weights)
    bill = Bill(int(meter["calls"]), int(meter["refused"]), meter["cost"], PRICE)
    truth = {key: question.answer for key, question in keyed.items()}
    return make_report(truth, outcomes, Alone(alone.local.accuracy, alone.remote.accuracy), bill, seconds)


def _some(keyed: dict[str, Question], outcomes: dict[str, Outcome]) -> Table:
    """The first questions and what became of them."""
    table = Table("Question", "Answer", "By")
    for key in list(keyed)[:_SHOWN]:
        outcome = outcomes.get(key)
        if outcome is not None:
            table.add_row(keyed[key].text, outcome.prediction or f"({outcome.reason})", outcome.answered_by or "")
    return table
