"""The command line: `bisupervised --help`.

Exit codes: 0 done; 1 could not be done; 2 the command line or the settings are wrong; 130 interrupted.
Each command imports what it needs when it runs: `--help` is instant, and nobody pays for torch unasked.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from cyclopts import App, CycloptsError, Parameter, validators
from rich.console import Console
from rich.markup import escape

from ..agents.heap import without_collecting
from ..schemas.errors import BiSupervisedError, ConfigurationError
from .commands.manual import OPTIONS, OVERVIEW, PAGES, page_of
from .console.options import DONE, FAILED, INTERRUPTED, MISUSED, Config, Json
from .console.standard import hold_standard_places
from .flow import AGENTS, AgentName, parse_agents
from .telemetry.release import release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .settings.file import Configuration

app = App(
    name="bisupervised",
    help="Two supervisors around a small local and a large remote model, exactly once, on Kafka.",
    version=release,
    help_flags=["--help", "-h"],
    help_format="markdown",
    help_epilogue=OVERVIEW,
    suppress_keyboard_interrupt=False,  # `run` turns it into an exit code, as it does with all else
)
topics = App(name="topics", help="Make the topics.", **page_of("topics"))
app.command(topics)
topics.command(
    f"{__package__}.commands.acls:acls",
    name="acls",
    help="Print what a worker must be allowed to do at a broker that asks, as arguments of kafka-acls.sh.",
)

#: commands over recorded predictions, loaded when they are called: their names and what they are for
_OFFLINE = {
    "curve": "Show how right the system is for every share of remote calls, before anything is rejected.",
    "calibrate": "Find both thresholds from labelled predictions, the second one with a guarantee.",
    "plan": "Say how many labels a promise takes, before anybody labels.",
    "replicate": "Recompute the paper's figures from its recorded predictions.",
    "rehearse": "Run recorded predictions through the real pipeline, and compare every decision with the offline one.",
    "rejudge": "Judge the remote answers of a running system again under new thresholds, without a paid call.",
    "recording": "Make a recording from the topics of a running system: what both models answered, joined with labels.",
}
for _name, _purpose in _OFFLINE.items():
    app.command(f"{__package__}.offline.commands:{_name}", name=_name, help=_purpose, **page_of(_name))
#: commands that ask both models, likewise
_RECORD = {
    "record": "Ask both models about every labelled input, and keep what they say.",
    "fit": "From a labelled file to both thresholds and a report: record, choose the score, calibrate.",
}
for _name, _purpose in _RECORD.items():
    app.command(f"{__package__}.record.commands:{_name}", name=_name, help=_purpose, **page_of(_name))
app.command(
    f"{__package__}.commands.schema:schema",
    name="schema",
    help="Print an interface document: AsyncAPI for a configuration, or the JSON Schema of a record.",
    **page_of("schema"),
)

#: commands over the topics for people: name, function, and what it is for
_TOOLS = {
    "produce": "Send requests from a file: CSV, JSON Lines, Parquet, or a folder of images.",
    "tail": "Watch results or fallback, a line per record.",
}
for _name, _purpose in _TOOLS.items():
    app.command(f"{__package__}.tools.commands:{_name}", name=_name, help=_purpose, **page_of(_name))


def _add(group: App, page: str, function: str, purposes: Mapping[str, str]) -> None:
    """Commands of a group, each with what it is for; `function`: where it stands, with its name for `{}`."""
    for name, purpose in purposes.items():
        target, end = f"{__package__}.{function.format(name)}", PAGES[page].as_markdown()
        group.command(target, name=name, help=purpose, help_epilogue=end)


fallback = App(name="fallback", help="List, show and replay what could not be answered.", **page_of("fallback"))
app.command(fallback)
_FALLBACK = {
    "list": "List what could not be answered.",
    "show": "Show everything about one fallback record.",
    "replay": "Send fallback records through the pipeline again, exactly once.",
}
_add(fallback, "fallback", "tools.commands:fallback_{}", _FALLBACK)

batches = App(name="batches", help="The batches that the remote is asked in.", **page_of("batches"))
app.command(batches)
_BATCHES = {
    "list": "List the batches under way, and the last ones that are over.",
    "show": "Show everything about one batch.",
    "cancel": "Ask the provider to answer no more of a batch.",
}
_add(batches, "batches", "batches.commands:batches_{}", _BATCHES)

audit = App(name="audit", help="Is the promise still true?", **page_of("audit"))
app.command(audit)
_AUDIT = {
    "report": "Say whether the promise is still true: estimates, intervals and the alarm.",
    "wanted": "List the drawn requests that wait for a label.",
    "simulate": "Say how soon an audit would notice that the promise is broken, and how often it would cry wolf.",
}
_add(audit, "audit", "audit.commands:{}", _AUDIT)
_VERSIONS = {
    "history": ("history", "List the versions of the thresholds that were chosen: who, when, why."),
    "set": ("set_version", "Put a rung in force, or the rung of a former version."),
    "pin": ("pin", "Put a rung in force and hold it there."),
    "unpin": ("unpin", "Let go of a pin."),
}
for _name, (_function, _purpose) in _VERSIONS.items():
    _end = PAGES["audit"].as_markdown()
    audit.command(f"{__package__}.audit.versions:{_function}", name=_name, help=_purpose, help_epilogue=_end)
labels = App(name="labels", help="Say what is right, for an audit.", **page_of("labels"))
app.command(labels)
labels.command(
    f"{__package__}.audit.commands:labels_import",
    name="import",
    help="Write the labels of a file to the topic `labels`.",
    help_epilogue=PAGES["labels"].as_markdown(),
)
app.command(
    f"{__package__}.review.commands:review",
    name="review",
    help="Serve a page on which people label, one input after the other.",
    **page_of("review"),
)
reviewers = App(name="reviewers", help="Say who may label.", **page_of("reviewers"))
app.command(reviewers)
reviewers.command(
    f"{__package__}.review.commands:reviewers_add",
    name="add",
    help="Let a person in.",
    help_epilogue=PAGES["reviewers"].as_markdown(),
)


def worker(
    *,
    config: Config = None,
    agents: Annotated[str, Parameter(help="Which agents to run, separated by commas.")] = ",".join(AGENTS),
    begin_anew: Annotated[bool, Parameter(negative="")] = False,
    processes: int = 1,
    member: Annotated[int | None, Parameter(show=False)] = None,
) -> int:
    """Run agents until SIGTERM or Ctrl-C: requests in, results and fallback out.

    Parameters
    ----------
    begin_anew
        Begin where committed offsets have expired or were deleted, as [stream] start says, and go on with what is left
        of batches whose records are gone. Without it such partitions stop. What the topics hold may be answered, and
        paid, again: use it for one start.
    processes
        Run as many workers, each a process with a core of its own, as one: they share the partitions, the page and the
        signals, and where one fails, all end.
    member
        Descriptor by which a process of several hears who it is.
    """
    with without_collecting():  # what is made until the first record stays; then the worker collects by itself
        chosen, faults = parse_agents(agents)
        if processes != 1:
            return _workers(processes, config, chosen, faults, begin_anew=begin_anew)
        configuration = _configuration(config, faults)
        from .settings.file import ConfigurationFile
        from .worker.app import run_worker

        place = None
        if member is not None:
            from .crew.member import take_place

            place = take_place(member)
        return run_worker(configuration, chosen, ConfigurationFile(config), begin_anew=begin_anew, place=place)


def _workers(
    processes: int, config: Path | None, agents: Sequence[AgentName], faults: Sequence[str], *, begin_anew: bool
) -> NoReturn:
    from .crew.starting import become_parent, plan_of, unfit

    settings = _configuration(config, [*faults, *unfit(processes)]).settings
    words = ["worker", "--agents", ",".join(agents)]
    words += [] if config is None else [f"--config={config}"]
    words += ["--begin-anew"] if begin_anew else []
    become_parent(plan_of(settings, processes, words))


def create(*, config: Config = None, json: Json = False) -> int:
    """Make what is missing of the topics, the budget's too where there is one. Existing topics are left as they are."""
    settings = _configuration(config).settings
    from .console.output import tell
    from .topics.creating import create_topics

    # what it would say about an unreachable broker, the error below says better
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    lines = asyncio.run(create_topics(settings))
    tell(
        {"topics": [dict(zip(("name", "state"), line.split(": ", 1), strict=True)) for line in lines]},
        (),
        lines,
        as_json=json,
    )
    return DONE


def check(
    *,
    config: Config = None,
    connect: Annotated[bool, Parameter(negative="")] = False,
    pay: Annotated[bool, Parameter(negative="")] = False,
    sample: Path | None = None,
    json: Json = False,
) -> int:
    """Print every fault of the configuration, or ok. With --connect, try what it names, too.

    Functions of yours that it names are looked for: their modules are imported, which runs what stands there. No model
    is loaded without --connect.

    Parameters
    ----------
    connect
        Also try the broker, its topics, the model and the remote, each also where an earlier one failed.
    pay
        With --connect, also make one call of the remote, which may cost money.
    sample
        File with the value of a request, or with one on each line (.jsonl): also say what the models would get of it.
    """
    from .commands.check import look_at_own, run_check
    from .commands.check_sample import look_at_sample
    from .commands.check_waits import look_at_retention, look_at_shadows, look_at_waits
    from .commands.findings import as_document
    from .console.output import tell

    if pay and not connect:
        raise ConfigurationError(["--pay: only goes with --connect"])
    try:
        configuration = _configuration(config)
    except ConfigurationError as error:
        if not json:
            raise
        tell(as_document((), error.faults), (), (), as_json=True)
        return MISUSED
    sampled = [] if sample is None else look_at_sample(sample, configuration.settings)
    if connect:
        return run_check(configuration, sampled, pay=pay, as_json=json)
    settings = configuration.settings
    found = [look_at_waits(settings), look_at_retention(settings), *look_at_shadows(settings)]
    found += [*look_at_own(settings), *sampled]
    wrong = any(finding.level == "fault" for finding in found)
    notes = [finding.as_line() for finding in found if finding.level != "ok" or finding.about in ("topics", "sample")]
    tell(as_document(found), (), notes if wrong else (*notes, "ok"), as_json=json)
    return FAILED if wrong else DONE


def config(*, out: Path | None = None, remote: str | None = None) -> int:
    """Print a commented example of every option, to begin a configuration with.

    Parameters
    ----------
    out
        File to write it to instead.
    remote
        Print a ready table [remote] instead, for openai, azure, anthropic, gemini, mistral, groq, openrouter, bedrock,
        ollama, vllm, llamacpp, tei, triton or kserve.
    """
    from .console.output import writing
    from .providers.blocks import block
    from .settings.example import example

    text = example() if remote is None else block(remote)
    if out is None:
        sys.stdout.write(text)
        return DONE
    with writing(out):
        out.write_text(text, encoding="utf-8")
    return DONE


def _nodes(_type: object, count: int) -> None:
    from .sandbox.cluster import unfit

    if count != 1 and (why := unfit(count)):
        raise ValueError(why)


def broker(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 9092,
    data: Path | None = None,
    nodes: Annotated[int, Parameter(validator=_nodes)] = 1,
) -> int:
    """Run Apache Kafka on this machine, for trying things out.

    Parameters
    ----------
    port
        Port on 127.0.0.1; 0 takes a free one. Further nodes take the ports after it.
    data
        Folder that keeps its data; a temporary one by default.
    nodes
        Brokers that are one cluster: 1, or 3 to 9. From 3 on, topics may have copies, and one broker may be away.
    """
    from .sandbox.foreground import run_broker

    return run_broker(port, data, nodes)


def demo(
    *,
    out: Path = Path("build"),
    rounds: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 8,
    seed: int = 0,
    example: Literal["digits", "questions", "issues", "drift"] = "digits",
    data: Path | None = None,
    mode: Literal["direct", "batch"] = "direct",
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
        Handwritten digits, with a class for an answer; questions in words, answered by text through chat
        completions, each once; issue reports of yours, told apart as bugs, features and questions; or digits that
        get worse for a while, through three pipelines: fixed thresholds, audited ones, and ones that tighten.
    data
        With issues: the folder that holds issues_train.csv, and issues_test.csv where there is one.
    mode
        With questions: batch asks the remote in batches, for half the price, and shows both bills.
    """
    if mode == "batch" and example != "questions":
        raise ConfigurationError(["--mode batch: only goes with --example questions"])
    if example == "issues":
        from .demo.run_issues import run_issues

        return run_issues(out, data, seed=seed)
    if data is not None:
        raise ConfigurationError(["--data: only goes with --example issues"])
    if example == "questions":
        from .demo.run_questions import run_questions

        return run_questions(out, seed=seed, batches=mode == "batch")
    if example == "drift":
        from .demo.drift.run import run_drift

        return run_drift(out, seed=seed)
    from .demo.run_digits import run_digits

    return run_digits(out, rounds=rounds, seed=seed)


for _command in (demo, broker, config, check, worker):
    app.command(_command, **page_of(_command.__name__))
topics.command(create, help_epilogue=PAGES["topics"].as_markdown())
app["--help"].group = app["--version"].group = OPTIONS


def _configuration(config: Path | None, faults: Sequence[str] = ()) -> Configuration:
    """What a file says. Raises `ConfigurationError` with its faults and those of the command line together."""
    from .settings.file import load_configuration

    try:
        configuration = load_configuration(config)
    except ConfigurationError as error:
        raise ConfigurationError([*faults, *error.faults]) from error
    if faults:
        raise ConfigurationError(faults)
    return configuration


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
    hold_standard_places()
    sys.exit(run())


if __name__ == "__main__":
    main()
