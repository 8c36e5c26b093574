"""100,000 records as no careful producer would write them: none stops a worker, and every one has an outcome."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from support.models import FINE
from support.pipeline import Sent, Setup, check_exactly_once, request

RECORDS = 100_000
SEED = 20_261_125
_GOOD = [request(0), request(1, local=0.95), request(2, remote=0.4), request(3, deadline_ms=1)]
_JSON = [record.value or b"" for record in _GOOD]
_TEXTS = ["", "x" * 5000, "<script>alert(1)</script>", "\u202egnp.exe", "NaN", "0" * 400, "a\x00b", "🙂" * 50, "'; --"]
_NAMES = ["traceparent", "tracestate", "bisupervised", "bisupervised-reason", "bisupervised-deadline-ms", "", "é", "x"]
_NUMBERS = [0, -1, 2**63, -(2**70), 10**400, 1e308, 0.1, True, 1_700_000_000_000, 4_102_444_800_000]

Made = Callable[[random.Random], bytes | None]


def junk(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 3, 20, 300)))


def damaged(chance: random.Random) -> bytes:
    """A good request with some bytes changed, cut off, or twice."""
    value = bytearray(chance.choice(_JSON))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(value))
        match chance.randrange(3):
            case 0:
                value[place] = chance.randrange(256)
            case 1:
                value[place:place] = value[: chance.randrange(9)]
            case _:
                del value[place : place + chance.randrange(4)]
                value += b"}"
    return bytes(value)


def nested(chance: random.Random) -> bytes:
    depth = chance.choice((5, 200, 2_000))
    return b'{"input":' + b"[" * depth + b"1" + b"]" * depth + b"}"


def odd(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value, mostly of the wrong kind."""
    match chance.randrange(9 if depth < 3 else 5):
        case 0 | 1:
            return chance.choice(_NUMBERS)
        case 2 | 3:
            return chance.choice(_TEXTS)
        case 4:
            return None
        case 5 | 6:
            return [odd(chance, depth + 1) for _ in range(chance.randrange(6))]
        case _:
            return {chance.choice([*_NAMES, "input", "id"]): odd(chance, depth + 1) for _ in range(chance.randrange(4))}


def misshapen(chance: random.Random) -> bytes:
    """JSON of the right outline, and odd in every field."""
    document = {"input": odd(chance), "id": odd(chance), "deadline_ms": odd(chance), "more": odd(chance)}
    for name in [name for name in document if chance.random() < 0.3]:
        del document[name]
    return json.dumps(document, ensure_ascii=chance.random() < 0.5).encode("utf-8", "replace")


def misfit(chance: random.Random) -> bytes:
    """An input that the model stumbles over: the wrong length, type, label, or deeper."""
    right: list[Any] = [1, 0.5, 0.9, FINE]
    change: list[Callable[[list[Any]], Any]] = [
        lambda row: row[: chance.randrange(4)],
        lambda row: [*row, 1],
        lambda row: ["a", *row[1:]],
        lambda row: [99, *row[1:]],
        lambda row: [row],
    ]
    return orjson.dumps({"input": chance.choice(change)(right)})


def good(chance: random.Random) -> bytes:
    return chance.choice(_JSON)


_KINDS: list[tuple[Made, int]] = [
    (junk, 3),
    (damaged, 4),
    (nested, 1),
    (misshapen, 4),
    (misfit, 1),
    (good, 4),
    (lambda _: None, 1),
]


def fuzzed(chance: random.Random) -> Sent:
    """A record of any kind, with any key, headers and time."""
    (made,) = chance.choices([kind for kind, _ in _KINDS], [weight for _, weight in _KINDS])
    value = made(chance)
    keys = (b"", b"key", chance.randbytes(12)) + (() if value is None else (None,))  # the client sends no empty record
    headers = [
        (chance.choice(_NAMES), chance.choice((b"", b"\xff\xfe", b"{}", b"[1]", chance.randbytes(30))))
        for _ in range(chance.choice((0, 0, 0, 1, 4)))
    ]
    moment = chance.choice((0, 1, 1_700_000_000_000, 4_102_444_800_000, 2**55))
    return Sent(value, chance.choice(keys), headers, moment, chance.randrange(4))


@pytest.mark.long(25)
@pytest.mark.timeout(400)  # it takes 45 s where nothing else runs
def test_none_stops_a_worker_and_each_has_an_outcome(setup: Setup) -> None:
    chance = random.Random(SEED)
    _, pipeline = setup(
        partitions=4,
        remote={"batch_size": 16, "tries": 1, "breaker_cool_down_s": 0.2},
        local={"batch_size": 512, "model": "support.models:plain"},
    )
    # old and future times are tried, too: neither the broker nor retention may take those records away
    for role in ("requests", "doubtful", "answers", "results", "fallback"):
        pipeline.alter(role, message_timestamp_after_max_ms=str(2**62), retention_ms="-1")
    sent = pipeline.send([fuzzed(chance) for _ in range(RECORDS)])
    worker = pipeline.ready_worker()
    outcomes = pipeline.settle(sent, timeout_s=240)
    check_exactly_once(sent, outcomes)
    assert worker.actions()["worker_started"] == 1
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds.keys() >= {"local", "remote", "low_confidence", "invalid_request", "model_error", "timeout"}
    assert kinds["invalid_request"] > RECORDS / 4
    originals = {record.place: record.value for record in sent}
    for outcome in outcomes:
        if outcome.topic == "fallback":
            assert outcome.record.value == originals[outcome.place]
