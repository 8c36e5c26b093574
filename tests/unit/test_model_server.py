from __future__ import annotations

import io
import random
import statistics
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from bisupervised.streams.sandbox.model_server import (
    MOST_BODY_BYTES,
    CallMeter,
    Latency,
    Limit,
    ModelService,
    TokenBucket,
    make_app,
)

Client = TestClient[Any, Any]


def as_sent(inputs: Any) -> Any:
    """A model whose inputs are its answers."""
    return np.asarray(inputs, dtype=np.float64)


class Clock:
    """A clock that moves when told to, and a sleep that only takes notes."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client_of(clock: Clock) -> AsyncIterator[Callable[..., Any]]:
    clients: list[Client] = []

    async def make(predict: Any = None, **options: Any) -> Client:
        service = ModelService(predict or as_sent, clock=clock, sleep=clock.sleep, chance=random.Random(0), **options)
        client: Client = TestClient(TestServer(make_app(service)))
        await client.start_server()
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


def call(data: Any = ((0.9, 0.1),), **fields: Any) -> dict[str, Any]:
    rows = list(data)
    tensor = {"name": "input", "shape": [len(rows), len(rows[0]) if rows else 0], "datatype": "FP32", "data": rows}
    return {"inputs": [tensor | fields]}


async def infer(client: Client, body: Any, model: str = "model") -> ClientResponse:
    response: ClientResponse = await client.post(f"/v2/models/{model}/infer", json=body)
    return response


async def meter(client: Client) -> dict[str, float]:
    read: dict[str, float] = await (await client.get("/meter")).json()
    return read


async def test_health(client_of: Callable[..., Any]) -> None:
    client = await client_of(name="digits", features=2)
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready"):
        assert (await client.get(path)).status == 200
    described = await (await client.get("/v2/models/digits")).json()
    assert described["name"] == "digits"
    assert described["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 2]}]
    assert described["outputs"][0]["name"] == "probabilities"


async def test_an_answer_per_input_in_order(client_of: Callable[..., Any]) -> None:
    client = await client_of()
    response = await infer(client, call([[0.75, 0.25], [0.125, 0.875]]) | {"id": "mine"})
    assert response.status == 200
    assert await response.json() == {
        "id": "mine",
        "model_name": "model",
        "model_version": "1",
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": [0.75, 0.25, 0.125, 0.875]}],
    }


def scored(rows: list[Any]) -> dict[str, Any]:
    return {"prediction": np.array(["a"] * len(rows)), "score": np.array([0.1 + 0.2] * len(rows)), "n": np.arange(2)}


async def test_a_model_with_several_outputs(client_of: Callable[..., Any]) -> None:
    client = await client_of(scored, outputs=("prediction", "score", "n"))
    wanted = {"outputs": [{"name": "prediction"}, {"name": "score"}]}
    answered = await (await infer(client, call([[1, 0], [0, 1]]) | wanted)).json()
    assert answered["outputs"] == [
        {"name": "prediction", "datatype": "BYTES", "shape": [2], "data": ["a", "a"]},
        {"name": "score", "datatype": "FP64", "shape": [2], "data": [0.1 + 0.2] * 2},
        {"name": "n", "datatype": "INT64", "shape": [2], "data": [0, 1]},
    ]
    refused = await infer(client, call() | {"outputs": [{"name": "probabilities"}]})
    assert (refused.status, (await meter(client))["calls"]) == (400, 1)


async def test_flat_data_are_the_same(client_of: Callable[..., Any]) -> None:
    client = await client_of()
    flat = call(data=[[0.75, 0.25], [0.125, 0.875]])
    flat["inputs"][0]["data"] = [0.75, 0.25, 0.125, 0.875]
    assert (await (await infer(client, flat)).json())["outputs"][0]["shape"] == [2, 2]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ([], "not a call"),
        ({"inputs": []}, "one input"),
        ({"inputs": [call()["inputs"][0]] * 2}, "one input"),
        (call(name="other"), "one input"),
        (call(datatype="BYTES"), "'BYTES'"),
        (call(shape=[3, 2]), "not [3, 2]"),
        (call(shape=[2]), "not [2]"),
        (call(shape=[0, 2], data=[]), "not [0, 2]"),
        (call(shape=[-1, 2]), "not a call"),
        (call(data=[["x", "y"]]), "not [1, 2]"),
        (call(data=[[1, [2]]]), "not [1, 2]"),
        (call([[0.1, 0.2, 0.7]]), "2 numbers, not [3]"),
        (call() | {"outputs": [{"name": "logits"}]}, "'logits'"),
    ],
)
async def test_a_wrong_call_costs_nothing(client_of: Callable[..., Any], body: Any, why: str) -> None:
    client = await client_of(features=2, meter=CallMeter(0.5))
    response = await infer(client, body)
    assert response.status == 400
    assert why in (await response.json())["error"]
    assert await meter(client) == {
        "calls": 0, "inputs": 0, "refused": 0, "invalid": 1, "failed": 0, "cost": 0, "batches": 0, "batched": 0,
    }  # fmt: skip


def texts(data: list[Any], **fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "input", "shape": [len(data)], "datatype": "BYTES", "data": data} | fields]}


def lengths(rows: list[Any]) -> Any:
    return np.array([[len(row), 0.5] for row in rows])


@pytest.mark.parametrize("shape", [[2], [2, 1]])
async def test_a_model_of_texts(client_of: Callable[..., Any], shape: list[int]) -> None:
    client = await client_of(lengths, texts=True)
    described = await (await client.get("/v2/models/model")).json()
    assert described["inputs"] == [{"name": "input", "datatype": "BYTES", "shape": [-1]}]
    answered = await (await infer(client, texts(["", "héé"], shape=shape))).json()
    assert answered["outputs"][0]["data"] == [0.0, 0.5, 3.0, 0.5]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"datatype": "FP32"}, "not 'FP32'"),
        ({"shape": [3]}, "not [3]"),
        ({"shape": [1, 2]}, "not [1, 2]"),
        ({"shape": [0], "data": []}, "not [0]"),
        ({"data": ["a", 1]}, "not texts alone"),
        ({"data": ["a", ["b", "c"]]}, "not texts alone"),
    ],
)
async def test_what_is_no_text_is_refused(client_of: Callable[..., Any], fields: dict[str, Any], why: str) -> None:
    client = await client_of(lengths, texts=True)
    right: dict[str, Any] = {"data": ["a", "b"], "shape": [2]}
    response = await infer(client, texts(**right | fields))
    assert response.status == 400
    assert why in (await response.json())["error"]


async def test_errors_of_http_have_the_same_body(client_of: Callable[..., Any]) -> None:
    client = await client_of()
    not_json = await client.post("/v2/models/model/infer", data=b"\xff")
    no_model = await infer(client, call(), model="other")
    no_path = await client.get("/nowhere")
    too_large = await client.post("/v2/models/model/infer", data=io.BytesIO(b" " * (MOST_BODY_BYTES + 1)))
    assert [r.status for r in (not_json, no_model, no_path, too_large)] == [400, 404, 404, 413]
    for response in (not_json, no_model, no_path, too_large):
        assert list(await response.json()) == ["error"]


async def test_a_model_that_raises(client_of: Callable[..., Any]) -> None:
    def predict(_: Any) -> Any:
        raise RuntimeError("no good")

    client = await client_of(predict, meter=CallMeter(0.5))
    response = await infer(client, call())
    assert response.status == 500
    assert "no good" in (await response.json())["error"]
    assert (await meter(client))["failed"] == 1
    assert (await meter(client))["cost"] == 0


async def test_the_meter_counts_what_is_paid(client_of: Callable[..., Any]) -> None:
    client = await client_of(meter=CallMeter(0.25))
    await infer(client, call())
    await infer(client, call([[1, 0]] * 5))
    read = await meter(client)
    assert (read["calls"], read["inputs"], read["cost"]) == (2, 6, 0.5)


async def test_calls_over_the_limit_are_refused_and_free(client_of: Callable[..., Any], clock: Clock) -> None:
    client = await client_of(limit=Limit(per_second=4, burst=2), meter=CallMeter(1.0))
    statuses = [(await infer(client, call())).status for _ in range(2)]
    refused = await infer(client, call())
    assert [*statuses, refused.status] == [200, 200, 429]
    assert refused.headers["retry-after"] == "0.250"
    assert "error" in await refused.json()
    clock.now += float(refused.headers["retry-after"])
    assert (await infer(client, call())).status == 200, "after the wait it was told"
    read = await meter(client)
    assert (read["calls"], read["refused"], read["cost"]) == (3, 1, 3.0)


async def test_a_call_takes_its_time(client_of: Callable[..., Any], clock: Clock) -> None:
    client = await client_of(latency=Latency(median_s=0.1, spread=0.0))
    await infer(client, call())
    assert clock.slept == [0.1]


def test_the_bucket_fills_no_further_than_the_burst() -> None:
    bucket = TokenBucket(Limit(per_second=10, burst=3), now=0.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [0.0] * 3
    assert bucket.take(1000.0) == pytest.approx(0.1)
    assert bucket.take(1000.05) == pytest.approx(0.05)
    assert bucket.take(1000.1) == 0.0


def test_no_limit_never_refuses() -> None:
    bucket = TokenBucket(Limit(), now=0.0)
    assert not any(bucket.take(0.0) for _ in range(1000))


def test_latencies_are_log_normal() -> None:
    chance, latency = random.Random(1), Latency(median_s=0.2, spread=0.5)
    drawn = [latency.draw_s(chance) for _ in range(4000)]
    assert min(drawn) > 0
    assert statistics.median(drawn) == pytest.approx(0.2, rel=0.05)
    assert statistics.stdev(map(np.log, drawn)) == pytest.approx(0.5, rel=0.05)
