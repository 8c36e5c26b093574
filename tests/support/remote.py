"""A remote by script: responses of the Open Inference Protocol, and a clock that only waiting moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.limiting.breaker import BreakerPolicy
from bisupervised.agents.remote.protocol import RemoteProtocol
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.retry import RetryPolicy
from bisupervised.agents.remote.spending.price import Price
from bisupervised.agents.remote.transport import Response, Script, ScriptedTransport, ScriptStep, Sent

from .virtual_time import VirtualTimeLoop


class Clock:
    """Seconds. Waiting on it takes no time; where the loop's time is virtual, it passes with that."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # not in one
            return self.now
        return self.now + (loop.time() - 1000.0 if isinstance(loop, VirtualTimeLoop) else 0.0)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def probabilities(rows: list[list[float]]) -> Response:
    """A whole answer with these rows."""
    output = {
        "name": "probabilities",
        "datatype": "FP32",
        "shape": [len(rows), len(rows[0])],
        "data": [value for row in rows for value in row],
    }
    document = {"model_name": "big", "model_version": "7", "outputs": [output]}
    return Response(200, {"Content-Type": "application/json"}, orjson.dumps(document))


def inputs_of(sent: Sent) -> list[list[float]]:
    """The rows that a call asks about."""
    [tensor] = orjson.loads(sent.body)["inputs"]
    count, width = tensor["shape"]
    return [tensor["data"][row * width : (row + 1) * width] for row in range(count)]


def echo(sent: Sent) -> Response:
    """A remote whose probabilities are the input."""
    return probabilities(inputs_of(sent))


def spoiled_by(bad: Callable[[list[float]], bool], step: ScriptStep) -> Callable[[Sent], ScriptStep]:
    """A remote that takes this step when one of the inputs is bad, and echoes otherwise."""
    return lambda sent: step if any(map(bad, inputs_of(sent))) else echo(sent)


def client(
    script: Script, clock: Clock, gate: Gate | None = None, **retry: Any
) -> tuple[RemoteClient, ScriptedTransport]:
    """A client of `http://remote` with a price of 2 and no jitter, and its transport.

    Unless a gate is given, there are no limits, and only a terminal error stops the calls.
    """
    return client_of(OpenInference("big"), script, clock, gate, **retry)


def client_of(
    protocol: RemoteProtocol, script: Script, clock: Clock, gate: Gate | None = None, **retry: Any
) -> tuple[RemoteClient, ScriptedTransport]:
    """The same with another protocol."""
    transport = ScriptedTransport(script)
    policy = ClientPolicy("http://remote/", timeout_s=30.0, retry=RetryPolicy(**retry), price=Price(2.0))
    gate = gate or Gate(breaker=BreakerPolicy(failures=1000), waits=False, clock=clock)
    made = RemoteClient(transport, protocol, policy, gate=gate, clock=clock, sleep=clock.sleep, random=lambda: 0.0)
    return made, transport
