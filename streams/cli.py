"""The command line: `bisupervised --help`.

Exit codes: 0 done; 1 could not be done; 2 the command line or the settings are wrong; 130 interrupted.
Each command imports what it needs when it runs: `--help` is instant, and nobody pays for torch unasked.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter, validators
from rich.console import Console
from rich.markup import escape

from ..schemas.errors import BiSupervisedError, ConfigurationError
from .offline.options import RecordingOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .settings import Settings
    from .topology import AgentName

AGENTS: tuple[AgentName, ...] = ("local", "remote", "remote_supervisor")

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130

Config = Annotated[
    Path | None,
    Parameter(
        name=("--config", "-c"),
        help="TOML file with the settings. `BISUPERVISED_<TABLE>__<KEY>` in the environment overrides it.",
    ),
]


def _finite(_: object, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")


Finite = Annotated[float, Parameter(validator=_finite)]


def _version() -> str:
    try:
        return version("bisupervised")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"


app = App(
    name="bisupervised",
    help="Two supervisors around a small local and a large remote model, exactly once, on Kafka.",
    version=_version,
    help_flags=["--help", "-h"],
    help_format="markdown",
    suppress_keyboard_interrupt=False,  # `run` turns it into an exit code, as it does with all else
)
topics = App(name="topics", help="Make the topics.")
app.command(topics)

#: commands over recorded predictions, loaded when they are called: their names and what they are for
_OFFLINE = {
    "curve": "Show how right the system is for every share of remote calls, before anything is rejected.",
    "calibrate": "Find both thresholds from labelled predictions, the second one with a guarantee.",
    "replicate": "Recompute the paper's figures from its recorded predictions.",
}
for _name, _purpose in _OFFLINE.items():
    app.command(f"{__package__}.offline.commands:{_name}", name=_name, help=_purpose)


@app.command
def worker(
    *,
    config: Config = None,
    agents: Annotated[str, Parameter(help="Which agents to run, separated by commas.")] = ",".join(AGENTS),
) -> int:
    """Run agents until SIGTERM or Ctrl-C: requests in, results and fallback out."""
    chosen, faults = parse_agents(agents)
    settings = _settings(config, faults)
    from .app import run_worker

    return run_worker(settings, chosen)


@topics.command
def create(*, config: Config = None) -> int:
    """Make what is missing of the five topics. Existing topics are left as they are."""
    settings = _settings(config)
    from .topics import create_topics

    # what it would say about an unreachable broker, the error below says better
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    for line in asyncio.run(create_topics(settings)):
        _say(line)
    return DONE


@app.command
def check(*, config: Config = None) -> int:
    """Print every fault of the configuration, or ok."""
    _settings(config)
    _say("ok")
    return DONE


@app.command
def broker(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 9092,
    data: Path | None = None,
) -> int:
    """Run Apache Kafka on this machine, for trying things out.

    Parameters
    ----------
    port
        Port on 127.0.0.1; 0 takes a free one.
    data
        Folder that keeps its data; a temporary one by default.
    """
    from .broker import run_broker

    return run_broker(port, data)


@app.command
def demo(
    *,
    out: Path = Path("build"),
    rounds: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 8,
    seed: int = 0,
    example: Literal["digits", "questions"] = "digits",
) -> int:
    """Run the whole job on an example: broker, remote model, worker, and a report at the end.

    Parameters
    ----------
    out
        Folder to write `demo.json` and everything else into.
    rounds
        How many times each held-out digit is sent.
    seed
        Seed of the split and of the training.
    example
        Handwritten digits, with a class for an answer; or questions in words, answered by text through chat
        completions, each once.
    """
    if example == "questions":
        from .demo.run_questions import run_questions

        return run_questions(out, seed=seed)
    from .demo.run import run_demo

    return run_demo(out, rounds=rounds, seed=seed)


@app.command
def rehearse(
    *,
    recording: RecordingOptions,
    local_threshold: Finite,
    remote_threshold: Finite,
    latency_ms: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 0.0,
    limit: Annotated[float, Parameter(validator=validators.Number(gt=0), show_default=False)] = math.inf,
    price: Annotated[float, Parameter(validator=validators.Number(gte=0))] = 0.0,
    bootstrap_servers: str | None = None,
    first: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
) -> int:
    """Run recorded predictions through the real pipeline, and compare every decision with the offline one.

    Exits 1 where a decision differs, or an input is lost or answered twice.

    Parameters
    ----------
    local_threshold
        A local score below this is doubtful, and the remote is asked.
    remote_threshold
        A remote score below this is rejected.
    latency_ms
        Median of a remote call, milliseconds.
    limit
        Remote calls per second before they are refused; without it all are let through.
    price
        Price of a remote call.
    bootstrap_servers
        Broker to run on; the embedded one is started without it.
    first
        Only so many inputs, from the first on.
    json
        Print JSON instead of a table.
    out
        File to write the same JSON to.
    """
    given = recording.read().first(first)
    from .offline.rehearsal import Conditions, run_rehearsal
    from .offline.rules import TwoThresholds

    conditions = Conditions(latency_ms, limit, price, bootstrap_servers)
    rule = TwoThresholds(local_threshold, remote_threshold)
    return run_rehearsal(given, rule, conditions, as_document=json, out=out)


@app.command(name="recording")
def record(
    *,
    config: Config = None,
    labels: Path,
    out: Path,
    id_column: str | None = None,
    source_column: str | None = None,
    truth_column: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read what both models said off the topics of a running system, joined with labels, as a recording.

    The file is read by the commands over recordings: --local FILE --remote FILE --where pair=true

    Parameters
    ----------
    labels
        What would have been right: .csv, .jsonl or .parquet, by source (topic-partition-offset) or id.
    out
        File to write, ending in .jsonl.
    id_column
        Column of the labels with the request's id.
    source_column
        Column of the labels with the request's topic-partition-offset.
    truth_column
        Column of the labels with the right answer.
    json
        Print the counts as JSON.
    """
    settings = _settings(config, [] if out.suffix == ".jsonl" else [f"--out: must end in .jsonl (got {str(out)!r})"])
    from .offline.topics_recording import run_recording

    return run_recording(settings, labels, out, (id_column, source_column, truth_column), as_document=json)


def parse_agents(text: str) -> tuple[tuple[AgentName, ...], list[str]]:
    """The agents named in `text`, in the order records meet them, and what is wrong with it."""
    named = [name.strip().replace("-", "_") for name in text.split(",") if name.strip()]
    unknown = [name for name in named if name not in AGENTS]
    faults = []
    if unknown or not named:
        got = f" (got {', '.join(map(repr, unknown))})" if unknown else ""
        faults.append(f"--agents: must be some of {', '.join(AGENTS)}{got}")
    return tuple(name for name in AGENTS if name in named), faults


def _settings(config: Path | None, faults: Sequence[str] = ()) -> Settings:
    """The settings. Raises `ConfigurationError` with their faults and those of the command line together."""
    from .settings import load_settings

    try:
        settings = load_settings(config)
    except ConfigurationError as error:
        raise ConfigurationError([*faults, *error.faults]) from error
    if faults:
        raise ConfigurationError(faults)
    return settings


def _say(text: str, *, error: bool = False) -> None:
    Console(stderr=error, soft_wrap=True, highlight=False).print(escape(text))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; None takes the process's own arguments. Faults are told, none as a traceback."""
    try:
        told = Console(stderr=True)
        code = app(arguments, result_action="return_value", exit_on_error=False, error_console=told)
    except CycloptsError:  # told already
        return MISUSED
    except ConfigurationError as error:
        for fault in error.faults:
            _say(fault, error=True)
        return MISUSED
    except BiSupervisedError as error:
        _say(str(error), error=True)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else DONE


def main() -> None:
    sys.exit(run())


if __name__ == "__main__":
    main()
