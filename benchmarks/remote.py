"""`make bench-remote`: how much of its limits the remote agent uses, and whether it ever exceeds them.

1. A limit that a token bucket enforces and, separately, a fixed window, over a backlog of ten windows.
2. Many calls in flight: answered calls per second, compared with concurrency ÷ latency.
3. A fleet of 1 to 100 workers with rebalances, in virtual time (`fleet.py`).

1 and 2 use real HTTP: the whole remote agent against a server (`server.py`) in a process of its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

from .command import command_without_broker, missed
from .fleet import FleetPolicy, Found, simulate
from .process import ROOT


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is."""

    per_minute: float = 6000.0  #: limit of the server, calls
    window_s: float = 10.0  #: length of a window of the server, which stands for a minute
    windows: int = 10  #: length of the backlog
    in_flight: int = 500
    latency_s: float = 2.0  #: of a call, up to half of it more or less
    rounds: int = 14  #: length of the concurrent run, in latencies
    fleet_minutes: float = 60.0
    skew_minutes: float = 10.0


SMOKE = Sizes(1200.0, 1.0, 4, 20, 0.2, 5, 3.0, 2.0)


class Limited(NamedTuple):
    """What a server with a limit counted."""

    used: float  #: share of the limit, after the first window
    refused: int  #: calls refused after the first window
    refused_at_first: int  #: calls refused in the first window


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
    fleet_sizes: int  #: how many different numbers of workers there were
    skew_half_10_workers: float  #: share of the limit used where half of the partitions have a backlog
    skew_tenth_10_workers: float
    skew_half_100_workers: float


class _Record(NamedTuple):
    """A made-up record of `doubtful`."""

    offset: int
    headers: Headers
    topic: str = "doubtful"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b'{"input": [0.25, 0.75]}'


class _Batch:
    """A batch whose outcomes nobody needs: the server counts the calls."""

    wanted = True

    def __init__(self, number: int) -> None:
        facts = Facts(Source("requests", 0, number), agent="local")
        self.records: Sequence[Incoming] = [_Record(number, [(FACTS_HEADER, encode_facts(facts))])]

    def resolve(self, outcomes: Sequence[Outgoing]) -> None:
        """Check that the outcome is an answer."""
        if [outcome.to for outcome in outcomes] != ["answers"]:
            raise RuntimeError(f"no answer: {outcomes}")

    def release(self) -> None:
        """Do nothing."""

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
    """Send a backlog through the remote agent. Returns the server's log."""
    client = RemoteClient(
        AiohttpTransport(connections=limits.in_flight), OpenInference("big"), ClientPolicy(url), gate=Gate(limits)
    )
    agent = RemoteAgent(Remote(client, RequestFormat()))
    agent.owns(1, 1)
    try:
        await agent.run(_backlog(calls))
        while agent.statistics()["in_flight"]:  # noqa: ASYNC110  # waits for the last calls, whose end nothing signals
            await asyncio.sleep(0.05)
    finally:
        await agent.close()
    return await log_of(url)


async def log_of(url: str) -> list[tuple[float, float]]:
    """The server's log: when each call came, seconds on its clock, and how long the answer took; -1 where refused."""
    async with ClientSession() as session, session.get(f"{url}/log") as response:
        log: list[tuple[float, float]] = orjson.loads(await response.read())
        return log


async def _backlog(calls: int) -> AsyncIterator[Any]:
    for number in range(calls):
        yield _Batch(number)


def limited(kind: str, sizes: Sizes) -> Limited:
    """Measure the use of a limit that the server enforces."""
    calls = round(sizes.per_minute / 60 * sizes.window_s * sizes.windows)
    options = {"per_minute": sizes.per_minute, "window_s": sizes.window_s, "latency_s": 0.05, "spread": 0.5}
    with server(kind, capacity=max(2.0, sizes.per_minute / 60 * 0.2), **options) as url:
        policy = LimitsPolicy(sizes.per_minute, in_flight=64, window_s=sizes.window_s)
        return weigh(asyncio.run(drive(url, policy, calls)), sizes)


def weigh(log: list[tuple[float, float]], sizes: Sizes) -> Limited:
    """The share of the limit that was used, over whole windows: without the first and the last with calls."""
    numbers = [int(at // sizes.window_s) for at, _ in log]
    first, last = min(numbers) + 1, max(numbers)
    accepted = sum(first <= number < last for number, (_, took) in zip(numbers, log, strict=True) if took >= 0)
    refused = [number for number, (_, took) in zip(numbers, log, strict=True) if took < 0]
    allowed = sizes.per_minute / 60 * sizes.window_s * (last - first)
    late = sum(number >= first for number in refused)
    return Limited(accepted / allowed, late, len(refused) - late)


def concurrency(sizes: Sizes) -> float:
    """Answered calls per second, divided by concurrency ÷ latency."""
    calls = sizes.in_flight * sizes.rounds
    with server("free", latency_s=sizes.latency_s, spread=0.5) as url:
        log = asyncio.run(drive(url, LimitsPolicy(in_flight=sizes.in_flight), calls))
    return efficiency(log, sizes.in_flight, sizes.latency_s)


def efficiency(log: list[tuple[float, float]], in_flight: int, latency_s: float) -> float:
    """The mean number of calls that the server works on, divided by `in_flight`.

    It is taken from the end of the first calls to the arrival of the last one: in between there is always a backlog.
    """
    began = sorted(at for at, _ in log)
    start, end = began[in_flight - 1] + latency_s, began[-1]
    worked = sum(max(0.0, min(end, at + took) - max(start, at)) for at, took in log)
    return worked / (end - start) / in_flight


def fleet(sizes: Sizes) -> tuple[Found, FleetPolicy]:
    """Simulate a fleet whose size changes all the time. Every partition has a backlog."""
    policy = FleetPolicy(minutes=sizes.fleet_minutes)
    return simulate(policy, workers=1), policy


def skewed(sizes: Sizes, backlogged: float, workers: int) -> float:
    """Simulate the share of the limit that is used where only some partitions have a backlog."""
    policy = FleetPolicy(minutes=sizes.skew_minutes, rebalance_every_s=0.0, backlogged=backlogged)
    return simulate(policy, workers).used(policy.per_minute, policy.minutes)


def measure(sizes: Sizes, say: Console) -> Report:
    """Measure everything, one part after the other."""
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
    """The report as a table."""
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
    """The targets that were missed."""
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
    """Returns 0 where every target is met; `--smoke` checks none."""
    return command_without_broker("remote", __doc__, (Sizes(), SMOKE), measure, as_table, faults)


if __name__ == "__main__":
    sys.exit(main())
