"""The commands on a running system, as the command line has them. The module is loaded when one is called."""

from __future__ import annotations

import re
import time
from collections import Counter
from heapq import heappop, heappush
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import orjson
from cyclopts import Parameter, validators

from ...schemas.codec import facts_of, requested_ms
from ...schemas.errors import ConfigurationError, Reason
from ..console.options import DONE, FAILED
from ..console.output import as_text, counted, progress_console
from ..console.signals import run_coroutine
from ..settings.file import load_settings
from ..topics.reading import read_all
from .record_lines import (
    fallback_details,
    fallback_line,
    lines_console,
    print_record,
    printable,
    reason_of,
    record_document,
)
from .replay import LOOPS, ReplayOptions, choose
from .replay_run import Replay, run_replay
from .since_option import since_ms

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")

Config = Annotated[Path | None, Parameter(name=("--config", "-c"), help="TOML file with the settings.")]
Json = Annotated[bool, Parameter(negative="", help="Print JSON, a document a line.")]
Reasons = Annotated[
    tuple[Reason, ...], Parameter(negative="", help="Only records of this reason; may be given several times.")
]
Since = Annotated[str, Parameter(help="Only requests of this time or later: 30m, 2h, 7d, or 2026-01-31T12:00 (UTC).")]
Positive = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]


def fallback_list(
    *,
    config: Config = None,
    reason: Reasons = (),
    since: Since = "",
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 100,
    json: Json = False,
) -> int:
    """List what could not be answered: a line per record, and how many there are of each reason.

    Parameters
    ----------
    limit
        The latest so many.
    """
    settings = load_settings(config)
    options = ReplayOptions("", reason, since_ms=since_ms(since, time.time()), loops=2**31)
    latest: list[tuple[int, int, Any]] = []  # a heap: partitions are read in any order
    reasons: Counter[str] = Counter()

    def see(record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        if choose(record, options) == "replayed":
            reasons[printable(reason_of(record))] += 1
            heappush(latest, (requested_ms(record, facts_of(record)), reasons.total(), record))
            if len(latest) > limit:
                heappop(latest)

    with progress_console().status("  reading the fallback topic"):
        run_coroutine(read_all(settings, settings.topics.fallback, see))
    console = lines_console()
    for _, _, record in sorted(latest, key=itemgetter(0, 1)):
        print_record(console, record, fallback_line, as_json=json)
    total = ", ".join(f"{count:,} {name}" for name, count in reasons.most_common()) or "none"
    progress_console().print(f"{counted(reasons.total(), 'record')}: {total}", markup=False)
    return DONE


def fallback_show(identity: str, /, *, config: Config = None, json: Json = False) -> int:
    """Show everything about one fallback record: value, headers, both verdicts, reason and detail.

    Parameters
    ----------
    identity
        Topic, partition and offset of the request, as `fallback list` prints it: requests-0-17.
    """
    settings = load_settings(config)
    found: list[Any] = []

    def see(record: Any) -> None:  # noqa: ANN401  # aiokafka has no types
        if str(facts_of(record).source) == identity:
            found.append(record)

    run_coroutine(read_all(settings, settings.topics.fallback, see))
    console = lines_console()
    for record in found:
        if json:
            console.out(orjson.dumps(record_document(record)).decode(), highlight=False)
        else:
            console.out("\n".join(fallback_details(record)), highlight=False)
    if not found:
        progress_console().print(
            f"no fallback record of {identity}: `fallback list` prints those there are", markup=False
        )
    return DONE if found else FAILED


def fallback_replay(
    name: str,
    /,
    *,
    config: Config = None,
    reason: Reasons = (),
    since: Since = "",
    to: str | None = None,
    limit: Positive = None,
    loops: Annotated[int, Parameter(validator=validators.Number(gte=1))] = LOOPS,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> int:
    """Send fallback records through the pipeline again: key, value and headers as they were.

    A replay has a name, and covers what the fallback topic held when it was first run. Killed half way and run
    again, it repeats nothing and misses nothing; run again when it is finished, it does nothing.

    Parameters
    ----------
    name
        Name of the replay: letters, digits, dots, hyphens and underscores.
    to
        Topic to send to; the topic of requests by default.
    limit
        Records to replay at most.
    loops
        Times one record may be replayed, over all replays; those over it are left and counted.
    dry_run
        Count what would be done, and do nothing.
    """
    settings = load_settings(config)
    topics = settings.topics
    faults = (
        [] if _NAME.fullmatch(name) else [f"NAME: must be letters, digits, dots, hyphens, underscores (got {name!r})"]
    )
    if to in (topics.doubtful, topics.answers, topics.results, topics.fallback):
        faults.append(f"--to: {to} is written by the pipeline itself; name the topic of requests, or one of your own")
    if faults:
        raise ConfigurationError(faults)
    options = ReplayOptions(
        to or topics.requests, tuple(sorted(set(reason))), since, since_ms(since, time.time()), limit, loops
    )
    with progress_console().status("  replaying") as status:

        def watch(replay: Replay) -> None:
            status.update(f"  {replay.counts.replayed:,} replayed, {replay.size:,} records to go")

        replay = run_coroutine(run_replay(settings, name, options, dry_run=dry_run, watch=watch))
    document = {"name": name, "dry_run": dry_run, "resumed": replay.resumed, **msgspec.structs.asdict(replay.counts)}
    text = as_text(document) if json else "\n".join(replay_lines(replay, dry_run=dry_run))
    lines_console().out(text, highlight=False)
    return DONE


def replay_lines(replay: Replay, *, dry_run: bool) -> list[str]:
    """The lines that are printed: what became of the records, over all runs of the name."""
    counts = replay.counts
    began = ""
    if replay.resumed:
        began = f"{'was finished before' if replay.finished else 'goes on from a former run'}; in all "
    would = "would be " if dry_run else ""
    lines = [f"replay {replay.name}: {began}{counts.replayed:,} {would}replayed to {replay.options.to}"]
    left = {
        f"left: replayed {replay.options.loops} times already (--loops)": counts.over_loops,
        "left: the value was too large to carry, and is gone from its source": counts.gone,
        "left: the value was too large to carry, and another request lies at its source: the topic was made anew": (
            counts.another
        ),
        "left: the broker refuses it, as too large with its replay header": counts.refused,
        "not chosen: of another reason, or older": counts.not_chosen,
        "offsets were deleted by retention before the replay came to them": counts.deleted,
        f"of the replayed {would}sent with the time of now: {replay.options.to} might delete older ones unread": (
            counts.aged
        ),
    }
    return [*lines, *(f"  {count:,} {why}" for why, count in left.items() if count)]


def tail(
    what: Literal["results", "fallback"],
    /,
    *,
    config: Config = None,
    from_beginning: Annotated[bool, Parameter(negative="")] = False,
    limit: Positive = None,
    follow: bool = True,
    json: Json = False,
) -> int:
    """Watch answers or fallbacks as they come: a line per committed record.

    Parameters
    ----------
    what
        results or fallback.
    from_beginning
        From the oldest record that is kept, not from now on.
    limit
        End after so many.
    follow
        Wait for more; without, end where the topic ends now (which shows something with --from-beginning).
    """
    from .tail import run_tail

    settings = load_settings(config)
    run_coroutine(run_tail(settings, what, from_beginning=from_beginning, limit=limit, follow=follow, as_json=json))
    return DONE


def produce(
    file: Path,
    /,
    *,
    config: Config = None,
    to: str | None = None,
    key: str | None = None,
    as_text: Annotated[bool, Parameter(negative="")] = False,
    skip_bad: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
) -> int:
    """Send requests from a file: .csv, .jsonl, .parquet, or a folder of images.

    Every row is checked before the first is sent: with a bad one nothing is sent, and each is named.

    Parameters
    ----------
    file
        Rows with a header (.csv), one JSON value a line (.jsonl), .parquet, or a folder with images.
    to
        Topic to send to; the topic of requests by default.
    key
        Field whose value becomes the record's key; no key by default.
    as_text
        Take every cell of a .csv as text; otherwise numbers, lists, true, false and null are read as JSON.
    skip_bad
        Send the good rows, and name the others.
    """
    from .produce import run_produce

    return run_produce(load_settings(config), file, to, key, as_text=as_text, skip_bad=skip_bad, as_json=json)
