"""`make bench-remote`: how well the remote agent uses what it may use, and whether it ever asks for more.

1. A limit that is enforced by a token bucket and, separately, by a fixed window, over a backlog of ten windows.
2. Many calls in flight: calls answered per second against what concurrency ÷ latency allows.
3. A fleet of 1 to 100 workers with rebalances, in virtual time (`fleet.py`).

1 and 2 are real HTTP: the whole remote agent against a server (`server.py`) in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson
from aiohttp import ClientSession
from bisupervised.agents.agents import RemoteAgent
from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.transport import AiohttpTransport
from bisupervised.schemas.codec import RequestFormat, encode_facts
from bisupervised.schemas.records import FACTS_HEADER, Facts, Headers, Incoming, Outgoing, Source
from rich.console import Console
from rich.table import Table

from .command import missed
from .fleet import FleetPolicy, Found, simulate

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How long it all takes."""

    per_minute: float = 6000.0  #: calls
    window_s: float = 10.0  #: seconds of a window of the server: a minute, compressed
    windows: int = 10  #: of backlog
    in_flight: int = 500
    latency_s: float = 2.0  #: seconds, with half of it more or less
    rounds: int = 14  #: latencies that the concurrent run lasts
    fleet_minutes: float = 60.0
    skew_minutes: float = 10.0


SMOKE = Sizes(1200.0, 1.0, 4, 20, 0.2, 5, 3.0, 2.0)


class Limited(NamedTuple):
    """What a server with a limit saw."""

    used: float  #: share of the limit, after the first window
    refused: int  #: calls refused after the first window
    refused_at_first: int  #: and in it


@dataclass(slots=True)
class Report:
    """What is written to `build/remote.json`."""

    limit_used_token_bucket: float
    limit_used_fixed_window: float
    too_many_requests: int  #: after the first window, both servers
    too_many_requests_in_first_window: int
    concurrency_efficiency: float
    fleet_windows_over_limit: int
    fleet_limit_used: float
    fleet_rebalances: int
    fleet_sizes: int  #: different numbers of workers that there were
    skew_half_10_workers: float  #: share of the limit used where half of the partitions have a backlog
    skew_tenth_10_workers: float
    skew_half_100_workers: float


class _Record(NamedTuple):
    """A doubtful record, made up."""

    offset: int
    headers: Headers
    topic: str = "doubtful"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b'{"input": [0.25, 0.75]}'


class _Batch:
    """A batch that nobody waits for: the server counts."""

    wanted = True

    def __init__(self, number: int) -> None:
        facts = Facts(Source("requests", 0, number), agent="local")
        self.records: Sequence[Incoming] = [_Record(number, [(FACTS_HEADER, encode_facts(facts))])]

    def resolve(self, outcomes: Sequence[Outgoing]) -> None:
        """Each must have its answer."""
        if [outcome.to for outcome in outcomes] != ["answers"]:
            raise RuntimeError(f"no answer: {outcomes}")

    def release(self) -> None:
        """Nobody takes it back."""

    def called_before(self, position: int) -> bool:
        """Each is delivered once."""
        return False

    def called(self, position: int) -> None:
        """Nobody asks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


@contextmanager
def server(kind: str, **options: float) -> Iterator[str]:
    """A server in a process of its own. Yields its URL."""
    named = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "benchmarks.server", kind, *named]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the server has no output")
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


async def drive(url: str, limits: LimitsPolicy, calls: int) -> list[tuple[float, float]]:
    """Send a backlog of so many calls through the remote agent. Returns the server's log."""
    client = RemoteClient(
        AiohttpTransport(connections=limits.in_flight), OpenInference("big"), ClientPolicy(url), gate=Gate(limits)
    )
    agent = RemoteAgent(Remote(client, RequestFormat()))
    agent.owns(1, 1)
    try:
        await agent.run(_backlog(calls))
        while agent.statistics()["in_flight"]:  # noqa: ASYNC110  # the last calls; nothing tells of their end
            await asyncio.sleep(0.05)
    finally:
        await agent.close()
    return await log_of(url)


async def log_of(url: str) -> list[tuple[float, float]]:
    """When which call came, seconds on the server's clock, and how long its answer took; -1: refused."""
    async with ClientSession() as session, session.get(f"{url}/log") as response:
        log: list[tuple[float, float]] = orjson.loads(await response.read())
        return log


async def _backlog(calls: int) -> AsyncIterator[Any]:
    for number in range(calls):
        yield _Batch(number)


def limited(kind: str, sizes: Sizes) -> Limited:
    """Use a limit that a server enforces."""
    calls = round(sizes.per_minute / 60 * sizes.window_s * sizes.windows)
    options = {"per_minute": sizes.per_minute, "window_s": sizes.window_s, "latency_s": 0.05, "spread": 0.5}
    with server(kind, capacity=max(2.0, sizes.per_minute / 60 * 0.2), **options) as url:
        policy = LimitsPolicy(sizes.per_minute, in_flight=64, window_s=sizes.window_s)
        return weigh(asyncio.run(drive(url, policy, calls)), sizes)


def weigh(log: list[tuple[float, float]], sizes: Sizes) -> Limited:
    """Share of the limit over whole windows, from the second in which calls came to the last but one."""
    numbers = [int(at // sizes.window_s) for at, _ in log]
    first, last = min(numbers) + 1, max(numbers)
    accepted = sum(first <= number < last for number, (_, took) in zip(numbers, log, strict=True) if took >= 0)
    refused = [number for number, (_, took) in zip(numbers, log, strict=True) if took < 0]
    allowed = sizes.per_minute / 60 * sizes.window_s * (last - first)
    late = sum(number >= first for number in refused)
    return Limited(accepted / allowed, late, len(refused) - late)


def concurrency(sizes: Sizes) -> float:
    """Answered calls per second, against concurrency ÷ latency."""
    calls = sizes.in_flight * sizes.rounds
    with server("free", latency_s=sizes.latency_s, spread=0.5) as url:
        log = asyncio.run(drive(url, LimitsPolicy(in_flight=sizes.in_flight), calls))
    return efficiency(log, sizes.in_flight, sizes.latency_s)


def efficiency(log: list[tuple[float, float]], in_flight: int, latency_s: float) -> float:
    """Mean of the calls under way, as far as the server is at work on them, against `in_flight`.

    From when the last of the first calls has come until no call comes any more: between, the backlog never ends.
    """
    began = sorted(at for at, _ in log)
    start, end = began[in_flight - 1] + latency_s, began[-1]
    worked = sum(max(0.0, min(end, at + took) - max(start, at)) for at, took in log)
    return worked / (end - start) / in_flight


def fleet(sizes: Sizes) -> tuple[Found, FleetPolicy]:
    """A fleet that changes all the time; every partition has a backlog."""
    policy = FleetPolicy(minutes=sizes.fleet_minutes)
    return simulate(policy, workers=1), policy


def skewed(sizes: Sizes, backlogged: float, workers: int) -> float:
    """Share of the limit that is used where only some partitions have a backlog."""
    policy = FleetPolicy(minutes=sizes.skew_minutes, rebalance_every_s=0.0, backlogged=backlogged)
    return simulate(policy, workers).used(policy.per_minute, policy.minutes)


def measure(sizes: Sizes, say: Console) -> Report:
    """Everything, one after the other."""
    say.print(f"{sizes.windows} windows of {sizes.window_s:g} s against a token bucket …")
    bucket = limited("token_bucket", sizes)
    say.print("the same against a fixed window …")
    window = limited("fixed_window", sizes)
    say.print(f"{sizes.in_flight} calls in flight …")
    efficient = concurrency(sizes)
    say.print("a fleet of 1 to 100 workers, in virtual time …")
    found, policy = fleet(sizes)
    return Report(
        limit_used_token_bucket=bucket.used,
        limit_used_fixed_window=window.used,
        too_many_requests=bucket.refused + window.refused,
        too_many_requests_in_first_window=bucket.refused_at_first + window.refused_at_first,
        concurrency_efficiency=efficient,
        fleet_windows_over_limit=found.over(policy.per_minute),
        fleet_limit_used=found.used(policy.per_minute, policy.minutes),
        fleet_rebalances=found.rebalances,
        fleet_sizes=len(found.sizes),
        skew_half_10_workers=skewed(sizes, 0.5, 10),
        skew_tenth_10_workers=skewed(sizes, 0.1, 10),
        skew_half_100_workers=skewed(sizes, 0.5, 100),
    )


def as_table(report: Report) -> Table:
    """The report for people."""
    table = Table("", "measured", "target")
    rows = (
        ("limit used, token bucket", f"{report.limit_used_token_bucket:.4f}", "≥ 0.99"),
        ("limit used, fixed window", f"{report.limit_used_fixed_window:.4f}", "≥ 0.99"),
        ("429 after the first window", str(report.too_many_requests), "0"),
        ("429 in the first window", str(report.too_many_requests_in_first_window), ""),
        ("of concurrency ÷ latency", f"{report.concurrency_efficiency:.4f}", "≥ 0.98"),
        ("fleet: windows over the limit", str(report.fleet_windows_over_limit), "0"),
        ("fleet: limit used", f"{report.fleet_limit_used:.4f}", "≥ 0.97"),
        ("fleet: rebalances, sizes", f"{report.fleet_rebalances}, {report.fleet_sizes}", ""),
        ("backlog in 50 % of the partitions, 10 workers", f"{report.skew_half_10_workers:.4f}", ""),
        ("backlog in 10 % of the partitions, 10 workers", f"{report.skew_tenth_10_workers:.4f}", ""),
        ("backlog in 50 % of the partitions, 100 workers", f"{report.skew_half_100_workers:.4f}", ""),
    )
    for row in rows:
        table.add_row(*row)
    return table


def faults(report: Report) -> list[str]:
    """Targets that were missed."""
    held = {
        "limit_used_token_bucket": report.limit_used_token_bucket >= 0.99,
        "limit_used_fixed_window": report.limit_used_fixed_window >= 0.99,
        "too_many_requests": report.too_many_requests == 0,
        "concurrency_efficiency": report.concurrency_efficiency >= 0.98,
        "fleet_windows_over_limit": report.fleet_windows_over_limit == 0,
        "fleet_limit_used": report.fleet_limit_used >= 0.97,
    }
    return missed(held)


def main() -> int:
    """0 when every target is met, or nothing was asked of them (`--smoke`)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="in seconds, and no target is checked")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "remote.json")
    told = parser.parse_args()
    say = Console()
    report = measure(SMOKE if told.smoke else Sizes(), say)
    told.out.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(asdict(report), indent=2))
    say.print(as_table(report))
    faulty = [] if told.smoke else faults(report)
    if faulty:
        say.print(f"missed: {', '.join(faulty)}")
    return int(bool(faulty))


if __name__ == "__main__":
    sys.exit(main())
