"""A remote model behind HTTP: Open Inference Protocol v2 with latency, a price and a request limit.

    python -m bisupervised.streams.sandbox.model_server --model build/demo/remote.pt2 --port 0

It listens on 127.0.0.1 only. The first line it prints is JSON with its port and URL. `GET /meter` returns the bill.
`make_app` takes any function for a model, so tests need neither a file nor a process. A model returns probabilities; if
its callable has an attribute `outputs`, it returns an array for each of these names.
"""

from __future__ import annotations

import asyncio
import math
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
import orjson
from aiohttp import web
from cyclopts import App, Parameter
from numpy.typing import NDArray

from ...agents.local.model import ModelPolicy, load_model
from ...schemas.errors import ConfigurationError

HOST = "127.0.0.1"
MOST_BODY_BYTES = 16 * 1024 * 1024
INPUT, OUTPUT = "input", "probabilities"

#: the model: takes n inputs, returns an array (n, classes) or a mapping of arrays (n,)
Predict = Callable[[list[Any]], Any]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a call takes: log-normal, which is close to the times of real servers."""

    median_s: float = 0.0  #: half of all calls take longer; 0 adds no wait
    spread: float = 0.4  #: standard deviation of the logarithm; 0 makes every call take the median

    def draw_s(self, chance: random.Random) -> float:
        return self.median_s * math.exp(self.spread * chance.gauss(0.0, 1.0)) if self.median_s else 0.0


@dataclass(frozen=True, slots=True)
class Limit:
    """How many calls are let through."""

    per_second: float = math.inf  #: calls per second in the long run
    burst: int = 10  #: calls at once after a pause


class TokenBucket:
    """A token bucket: it refills at the limit's rate and holds at most its burst."""

    def __init__(self, limit: Limit, now: float) -> None:
        self._limit = limit
        self._tokens = float(limit.burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take a token and return 0, or return the seconds until there is one. `now`: monotonic, seconds."""
        if math.isinf(self._limit.per_second):
            return 0.0
        gained = (now - self._at) * self._limit.per_second
        self._tokens, self._at = min(self._limit.burst, self._tokens + gained), now
        if self._tokens < 1:
            return (1 - self._tokens) / self._limit.per_second
        self._tokens -= 1
        return 0.0


@dataclass(slots=True)
class CallMeter:
    """The bill. A refused or invalid call costs nothing."""

    price: float = 0.0  #: of one call
    calls: int = 0  #: calls answered
    inputs: int = 0  #: inputs in them
    refused: int = 0  #: calls answered 429
    invalid: int = 0  #: calls answered 400, 404 or 413
    failed: int = 0  #: calls answered 500
    batches: int = 0  #: batches that have ended
    batched: int = 0  #: inputs answered in them
    batch_share: float = 0.5  #: what an input in a batch costs, as a share of a call

    def snapshot(self) -> dict[str, float]:
        return {
            "calls": self.calls,
            "inputs": self.inputs,
            "refused": self.refused,
            "invalid": self.invalid,
            "failed": self.failed,
            "batches": self.batches,
            "batched": self.batched,
            "cost": (self.calls + self.batched * self.batch_share) * self.price,
        }


class InputTensor(msgspec.Struct, frozen=True):
    """An input of a call. The protocol allows `data` to be flat or nested."""

    name: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    datatype: str
    data: list[Any]


class WantedOutput(msgspec.Struct, frozen=True):
    """An output that a call asks for by name."""

    name: str


class InferenceCall(msgspec.Struct, frozen=True):
    """The body of a call."""

    inputs: list[InputTensor]
    id: str | None = None
    outputs: list[WantedOutput] | None = None


_call_decoder = msgspec.json.Decoder(InferenceCall)
_NUMBERS = frozenset({"FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})


#: numpy's kinds of arrays, as the protocol calls their elements
_DATATYPES = {"f": "FP64", "i": "INT64", "b": "BOOL", "U": "BYTES"}


class BadCall(Exception):
    """A call that is refused with an HTTP status. The message says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(slots=True)
class ModelService:
    """The model, and the limit, latency and meter of the calls to it."""

    predict: Predict
    name: str = "model"
    version: str = "1"
    features: int | None = None  #: numbers in one input; None leaves it to the model
    texts: bool = False  #: an input is one text (BYTES), not numbers
    outputs: tuple[str, ...] = (OUTPUT,)  #: names of the outputs; where there are several, `predict` returns a mapping
    latency: Latency = field(default_factory=Latency)
    limit: Limit = field(default_factory=Limit)
    meter: CallMeter = field(default_factory=CallMeter)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: random.Random = field(default_factory=random.Random)
    bucket: TokenBucket = field(init=False)
    thread: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = TokenBucket(self.limit, self.clock())
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    def rows(self, body: bytes) -> tuple[str | None, list[Any]]:
        """The id and the inputs of a call. Raises `BadCall`."""
        try:
            call = _call_decoder.decode(body)
        except msgspec.DecodeError as error:
            raise BadCall(400, f"the body is not a call: {error}") from error
        if len(call.inputs) != 1 or call.inputs[0].name != INPUT:
            raise BadCall(400, f"the model takes one input, called {INPUT!r}")
        unknown = [output.name for output in call.outputs or () if output.name not in self.outputs]
        if unknown:
            there = " and ".join(map(repr, self.outputs))
            raise BadCall(400, f"there is no output {unknown[0]!r}; there is {there}")
        return call.id, _texts(call.inputs[0]) if self.texts else self._shaped(call.inputs[0])

    def _shaped(self, tensor: InputTensor) -> list[Any]:
        if tensor.datatype not in _NUMBERS:
            raise BadCall(400, f"the input holds numbers, not {tensor.datatype!r}")
        try:
            values = np.asarray(tensor.data, dtype=np.float64).reshape(tensor.shape)
        except (ValueError, TypeError) as error:
            raise BadCall(400, f"the data are not {tensor.shape} numbers") from error
        if values.ndim < 2 or not len(values):
            raise BadCall(400, f"the shape is [inputs, numbers], not {tensor.shape}")
        if self.features is not None and values.shape[1:] != (self.features,):
            raise BadCall(400, f"an input has {self.features} numbers, not {list(values.shape[1:])}")
        return list(values)

    async def answer(self, rows: list[Any]) -> Any:  # noqa: ANN401  # an array or a tensor, as the model made it
        """Run the model in its own thread. Raises what the model raises."""
        answered = await asyncio.get_running_loop().run_in_executor(self.thread, self.predict, rows)
        self.meter.calls += 1
        self.meter.inputs += len(rows)
        return answered


def _texts(tensor: InputTensor) -> list[Any]:
    """The texts, one for each input; the shape may be [inputs] or [inputs, 1]. Raises `BadCall`."""
    if tensor.datatype != "BYTES":
        raise BadCall(400, f"the input holds texts, BYTES, not {tensor.datatype!r}")
    values = np.asarray(tensor.data, dtype=object).ravel()
    if tensor.shape not in ([len(values)], [len(values), 1]) or not len(values):
        raise BadCall(400, f"the shape is [inputs] with a text for each, not {tensor.shape}")
    if not all(isinstance(value, str) for value in values):
        raise BadCall(400, "the data are not texts alone")
    return list(values)


_SERVICE = web.AppKey("service", ModelService)


def make_app(service: ModelService) -> web.Application:
    """The web application of one model. Its clean-up ends the model's thread."""
    app = web.Application(client_max_size=MOST_BODY_BYTES, middlewares=[_errors_as_json])
    app[_SERVICE] = service
    app.on_cleanup.append(_close)
    app.add_routes(
        [
            web.get("/v2/health/live", _live),
            web.get("/v2/health/ready", _ready),
            web.get("/v2/models/{model}", _metadata),
            web.get("/v2/models/{model}/ready", _model_ready),
            web.post("/v2/models/{model}/infer", _infer),
            web.get("/meter", _meter),
        ]
    )
    return app


async def _close(app: web.Application) -> None:
    app[_SERVICE].thread.shutdown(wait=False, cancel_futures=True)


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give every error the body of the protocol, {"error": why}; aiohttp's own errors, too."""
    meter = request.app[_SERVICE].meter
    try:
        return await handler(request)
    except BadCall as error:
        meter.invalid += 1
        return _json({"error": str(error)}, status=error.status)
    except web.HTTPException as error:
        meter.invalid += 1
        return _json({"error": error.reason}, status=error.status)


def _json(document: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, headers=headers, content_type="application/json")


async def _live(_: web.Request) -> web.Response:
    return _json({"live": True})


async def _ready(_: web.Request) -> web.Response:
    return _json({"ready": True})


async def _meter(request: web.Request) -> web.Response:
    return _json(request.app[_SERVICE].meter.snapshot())


def _asked(request: web.Request) -> ModelService:
    service, asked = request.app[_SERVICE], request.match_info["model"]
    if asked != service.name:
        raise BadCall(404, f"there is no model {asked!r}; there is {service.name!r}")
    return service


async def _model_ready(request: web.Request) -> web.Response:
    return _json({"name": _asked(request).name, "ready": True})


async def _metadata(request: web.Request) -> web.Response:
    service = _asked(request)
    takes = {"datatype": "BYTES", "shape": [-1]}
    if not service.texts:
        takes = {"datatype": "FP32", "shape": [-1, service.features or -1]}
    return _json(
        {
            "name": service.name,
            "versions": [service.version],
            "platform": "bisupervised",
            "inputs": [{"name": INPUT, **takes}],
            "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, -1]} for name in service.outputs],
        }
    )


async def _infer(request: web.Request) -> web.Response:
    """Check the limit, read the inputs, wait, answer. A refused call is quick and free."""
    service = _asked(request)
    wait_s = service.bucket.take(service.clock())
    if wait_s:
        service.meter.refused += 1
        return _json({"error": "too many requests"}, status=429, headers={"retry-after": f"{wait_s:.3f}"})
    identity, rows = service.rows(await request.read())
    await service.sleep(service.latency.draw_s(service.chance))
    try:
        outputs = _as_outputs(await service.answer(rows))
    except Exception as error:  # noqa: BLE001  # a model may raise anything, and the server must go on
        service.meter.failed += 1
        return _json({"error": f"the model failed: {error}"}, status=500)
    return _json(_reply(service, identity, outputs))


def _as_outputs(answered: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # whatever the model made
    if isinstance(answered, Mapping):
        return [_output(name, np.asarray(values)) for name, values in answered.items()]
    return [_output(OUTPUT, np.asarray(answered, dtype=np.float32))]


def _output(name: str, values: NDArray[Any]) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": _DATATYPES[values.dtype.kind] if values.dtype != np.float32 else "FP32",
        "shape": list(values.shape),
        "data": values.ravel().tolist(),
    }


def _reply(service: ModelService, identity: str | None, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    reply = {"model_name": service.name, "model_version": service.version, "outputs": outputs}
    return reply if identity is None else {"id": identity, **reply}


async def serve(service: ModelService, port: int, announce: Callable[[str], None]) -> None:
    """Serve a model until SIGTERM or Ctrl-C."""
    await until_stopped(make_app(service), port, announce)


async def until_stopped(app: web.Application, port: int, announce: Callable[[str], None]) -> None:
    """Serve an application until SIGTERM or Ctrl-C. `announce` gets a line of JSON with the port and the URL."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        bound = runner.addresses[0][1]
        announce(orjson.dumps({"port": bound, "url": f"http://{HOST}:{bound}"}).decode())
        await stop.wait()
    finally:
        await runner.cleanup()


command = App(help="Serve one model by the Open Inference Protocol v2, on 127.0.0.1.", version_flags=[])


@command.default
def run_server(
    *,
    model: str,
    port: int = 0,
    name: str = "model",
    features: int | None = None,
    texts: bool = False,
    latency_ms: Annotated[float, Parameter(help="Median of a call, milliseconds.")] = 0.0,
    latency_spread: Annotated[float, Parameter(help="Spread of the log-normal; 0 for none.")] = 0.4,
    limit: Annotated[float, Parameter(help="Calls per second before 429.")] = math.inf,
    burst: Annotated[int, Parameter(help="Calls let through at once after a pause.")] = 10,
    price: Annotated[float, Parameter(help="Price of a call.")] = 0.0,
    seed: Annotated[int | None, Parameter(help="Seed of the latencies.")] = None,
) -> int:
    """Serve one model by the Open Inference Protocol v2, on 127.0.0.1.

    Parameters
    ----------
    model
        module:callable, or a file ending in .pt2, .pt or .ts, that puts out probabilities.
    port
        0 takes a free one.
    name
        The model's name in addresses.
    features
        Numbers in one input; other shapes are refused.
    texts
        An input is one text, datatype BYTES, not numbers.
    """
    try:
        loaded = load_model(ModelPolicy(model))
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    service = ModelService(
        predict=loaded.call,
        name=name,
        features=features,
        texts=texts,
        outputs=tuple(getattr(loaded.call, "outputs", (OUTPUT,))),
        latency=Latency(latency_ms / 1000, latency_spread),
        limit=Limit(limit, burst),
        meter=CallMeter(price),
        chance=random.Random(seed),
    )
    try:
        asyncio.run(serve(service, port, print_line))
    except OSError as error:
        sys.stderr.write(f"port {port} of {HOST} cannot be used: {error.strerror or error}; name another --port\n")
        return 1
    return 0


def print_line(line: str) -> None:
    """Print the line at once, for the process that started this one."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(command(result_action="return_value"))
