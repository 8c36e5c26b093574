"""What `--help` says beside the options: in which group a command stands, what it reads and writes, how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cyclopts import Group

TRY = Group("Try it", sort_key=1)
SET_UP = Group("Set it up", sort_key=2)
RUN = Group("Run it", sort_key=3)
THRESHOLDS = Group("Choose thresholds", sort_key=4)
OPTIONS = Group("Options", sort_key=6)
REST = Group("Handle what comes out", sort_key=5)

EXITS = "0 done; 1 could not be done; 2 the command line or the settings are wrong; 130 interrupted (Ctrl-C)"
_RECORDED = "both files of recorded predictions: .csv, .jsonl or .parquet"


@dataclass(frozen=True, slots=True)
class Page:
    """The end of one command's help."""

    group: Group
    reads: str = ""
    writes: str = ""
    exits: str = EXITS
    examples: tuple[str, ...] = ()

    def as_markdown(self) -> str:
        """As `--help` shows it."""
        told = (("Reads", self.reads), ("Writes", self.writes), ("Exit code", self.exits))
        parts = [f"**{title}:** {text}." for title, text in told if text]
        if self.examples:
            parts.append("**Examples:**")
            parts.append("\n".join(["```", *self.examples, "```"]))
        return "\n\n".join(parts)


PAGES: dict[str, Page] = {
    "demo": Page(
        TRY,
        "nothing of yours, but the reports below --data for the example issues",
        "`demo.json`, logs and models below --out; topics of a broker that it starts and stops itself",
        examples=(
            "bisupervised demo",
            "bisupervised demo --example questions --out /tmp/demo",
            "bisupervised demo --example questions --mode batch",
            "bisupervised demo --example issues --data ./issues",
        ),
    ),
    "broker": Page(
        TRY,
        "its data folder, where one is named",
        "the same; without --data a temporary one, which is removed at the end",
        examples=("bisupervised broker", "bisupervised broker --nodes 3 --data ./kafka"),
    ),
    "config": Page(
        SET_UP,
        "nothing",
        "the example to stdout, or to --out",
        examples=("bisupervised config > my.toml", "bisupervised config --remote openai"),
    ),
    "check": Page(
        SET_UP,
        "the configuration; with --connect also what the broker, the model and the remote say",
        "nothing, but one call of the remote with --pay",
        "0 all is well; 1 something that the configuration names was not found, or does not work; "
        "2 the configuration or the command line is wrong; 130 interrupted",
        (
            "bisupervised check --config my.toml",
            "bisupervised check --config my.toml --sample event.json",
            "bisupervised check --config my.toml --connect",
            "bisupervised check --config my.toml --connect --json | jq '.findings[] | select(.level == \"fault\")'",
        ),
    ),
    "topics": Page(
        SET_UP,
        "the configuration, and which topics there are",
        "the topics that are missing; none that exists is altered",
        examples=("bisupervised topics create --config my.toml",),
    ),
    "schema": Page(
        SET_UP,
        "the names of the topics in the configuration",
        "the document to stdout",
        examples=("bisupervised schema asyncapi --config my.toml", "bisupervised schema result > result.json"),
    ),
    "worker": Page(
        RUN,
        "the configuration, the model, and the topics `requests`, `doubtful` and `answers`",
        "the topics `doubtful`, `answers`, `results` and `fallback`; its log to stderr. SIGTERM and Ctrl-C stop it in "
        "order; SIGHUP, or a change of the file, takes over thresholds and limits",
        "0 stopped; 1 something failed; 2 the settings are wrong; 70 the model hangs; with --processes, that of the "
        "first process that failed",
        (
            "bisupervised worker --config my.toml",
            "bisupervised worker --config my.toml --agents remote",
            "bisupervised worker --config my.toml --processes 4",
            "BISUPERVISED_LOG__JSON=true bisupervised worker --config my.toml",
        ),
    ),
    "produce": Page(
        RUN,
        "a file of events, .csv, .jsonl or .parquet, or a folder of images",
        "the topic `requests`",
        examples=("bisupervised produce events.jsonl --config my.toml",),
    ),
    "tail": Page(
        RUN,
        "the topic `results` or `fallback`, as it grows",
        "lines to stdout",
        examples=("bisupervised tail results --config my.toml",),
    ),
    "fit": Page(
        THRESHOLDS,
        "labelled inputs, the configuration, and both its models; or a recording",
        "the recording to --pairs, as answers come; the thresholds to --out, for `[thresholds] file`; the report to "
        "--report",
        "0 found; 1 the target is infeasible, or not every input was asked: the same command goes on; 2 an input, the "
        "command line or the settings are wrong, and nothing was asked; 130 interrupted",
        (
            "bisupervised fit labelled.csv --config my.toml",
            "bisupervised fit labelled.csv --config my.toml --remote-fraction 0.4 --max-error 0.05 --most-cost 5",
            "bisupervised fit --recording pairs.jsonl --config my.toml --json",
        ),
    ),
    "record": Page(
        THRESHOLDS,
        "labelled inputs: .csv, .jsonl, .parquet, or a folder of images; the configuration, and both its models",
        "the recording to --out, as answers come, and beside it a file that says of what it is",
        "0 every input has its row; 1 not every one, the same command goes on; 2 an input, the command line or the "
        "settings are wrong, and nothing was asked; 130 interrupted",
        (
            "bisupervised record labelled.csv --config my.toml --out pairs.jsonl",
            "bisupervised record images/ --labels labels.csv --config my.toml --out pairs.jsonl --most-cost 5",
            "bisupervised record labelled.csv --config my.toml --out local.jsonl --local-only",
        ),
    ),
    "curve": Page(
        THRESHOLDS,
        _RECORDED,
        "tables or JSON to stdout; a picture to --plot",
        examples=("bisupervised curve --local local.csv --remote remote.csv --price 0.002 --plot curve.png",),
    ),
    "calibrate": Page(
        THRESHOLDS,
        _RECORDED,
        "tables or JSON to stdout; the thresholds to --out, for `[thresholds] file`",
        "0 found; 1 the target is infeasible, or could not be done; 2 the command line is wrong; 130 interrupted",
        (
            "bisupervised calibrate --local local.csv --remote remote.csv \\",
            "    --remote-fraction 0.4 --false-positive-rate 0.05 --out thresholds.json",
        ),
    ),
    "plan": Page(
        THRESHOLDS,
        "nothing",
        "a table or JSON to stdout",
        "0 the promise can be kept with the labels that it names; 1 it is out of reach, or could not be done; "
        "2 the command line is wrong; 130 interrupted",
        ("bisupervised plan --target-error 0.05 --acceptance 0.9",),
    ),
    "rehearse": Page(
        THRESHOLDS,
        _RECORDED,
        "tables or JSON to stdout and to --out; topics of its own, on a broker that it starts unless one is named",
        "0 every decision as offline; 1 one differs, or an input was lost or answered twice, or it could not be done; "
        "2 the command line is wrong; 130 interrupted",
        ("bisupervised rehearse --local local.csv --remote remote.csv --thresholds thresholds.json --first 1000",),
    ),
    "recording": Page(
        THRESHOLDS,
        "the configuration, the topics of the running system, and the labels",
        "the recording to --out; tables or JSON to stdout",
        examples=("bisupervised recording --config my.toml --labels labels.csv --out recording.jsonl",),
    ),
    "rejudge": Page(
        THRESHOLDS,
        "the thresholds, and the topic `answers` of the running system",
        "a report of what would change to stdout; records only where topics for them are named",
        examples=("bisupervised rejudge --config my.toml --thresholds thresholds.json",),
    ),
    "replicate": Page(
        THRESHOLDS,
        "the paper's recorded predictions",
        "tables or JSON to stdout",
        "0 every figure as in the paper; 1 one differs, or could not be done; 2 the command line is wrong; "
        "130 interrupted",
        ("bisupervised replicate --data data/bisupervised",),
    ),
    "fallback": Page(
        REST,
        "the topic `fallback`",
        "lists and records to stdout; with replay the topic `requests`, or another one",
        examples=(
            "bisupervised fallback list --reason low_confidence --config my.toml",
            "bisupervised fallback replay again --reason low_confidence --dry-run --config my.toml",
        ),
    ),
    "batches": Page(
        REST,
        "the log of the batches, the topic `batches`; `cancel` asks the provider, with the key of `[remote]`",
        "nothing; after `cancel`, the worker sees at its next look that the batch has ended",
        "0 done; 1 there is no such batch, or it cannot be cancelled; 2 the settings are wrong, or nothing is asked in "
        "batches; 130 interrupted",
        (
            "bisupervised batches list --config my.toml",
            "bisupervised batches show batch_abc123 --config my.toml",
            "bisupervised batches cancel batch_abc123 --config my.toml",
        ),
    ),
    "audit": Page(
        REST,
        "the topics `audits` and `labels`; history, set, pin and unpin: the topic `thresholds`; simulate: recorded "
        "predictions and a thresholds file",
        "tables, lines or JSON to stdout; set, pin and unpin a version to the topic `thresholds`",
        examples=(
            "bisupervised audit report --config my.toml",
            "bisupervised audit wanted --config my.toml",
            "bisupervised audit history --config my.toml",
            'bisupervised audit set 9 --why "the new catalogue" --config my.toml',
            "bisupervised audit simulate --local local.csv --remote remote.csv --thresholds thresholds.json \\",
            "    --share 0.01 --then-local changed_local.csv --then-remote changed_remote.csv",
        ),
    ),
    "review": Page(
        REST,
        "the topics `audits` (with --fallback: `fallback`) and `labels`, and the file of reviewers",
        "the topic `labels`",
        examples=(
            "bisupervised review --config my.toml --reviewers reviewers.txt",
            "bisupervised review --config my.toml --reviewers reviewers.txt --fallback",
        ),
    ),
    "reviewers": Page(
        REST,
        "the file of reviewers",
        "the same, and the link with the token to stdout",
        examples=("bisupervised reviewers add ann --reviewers reviewers.txt",),
    ),
    "labels": Page(
        REST,
        "a file of labels, .csv, .jsonl or .parquet",
        "the topic `labels`",
        examples=("bisupervised labels import labelled.csv --by ann --config my.toml",),
    ),
}

OVERVIEW = f"""\
**Exit codes:** {EXITS}. A command that has more says so in its own help.

**Output:** results to stdout, what is under way and what went wrong to stderr. Colours and progress only on a \
terminal; `NO_COLOR=1` turns colours off. Where `--json` is there, it is for scripts.

**To begin:**

```
bisupervised demo                              # all of it, on an example
bisupervised config > my.toml                  # every option, commented
bisupervised check --config my.toml --connect  # what is wrong with it
bisupervised topics create --config my.toml
bisupervised worker --config my.toml
```
"""


def page_of(name: str) -> dict[str, Any]:
    """What `App.command` takes to give a command its place and the end of its help."""
    page = PAGES[name]
    return {"group": page.group, "help_epilogue": page.as_markdown(), "sort_key": list(PAGES).index(name)}
