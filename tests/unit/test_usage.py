"""Token counts of a remote: believed within what the call can have used, doubted aloud beyond."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from bisupervised.agents.remote import usage
from bisupervised.agents.remote.asking import Bill
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.limiting.limits import LimitsPolicy
from bisupervised.agents.remote.protocol import RemoteProtocol, Usage
from bisupervised.agents.remote.protocols.generic_json import GenericJson
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.protocols.tei import Tei
from bisupervised.agents.remote.spending.budget import BudgetPolicy
from bisupervised.agents.remote.spending.funds import Funds
from bisupervised.agents.remote.spending.price import Price
from bisupervised.agents.remote.spending.purse import Purse
from bisupervised.agents.remote.transport import Response, ScriptedTransport
from bisupervised.agents.remote.usage import Believed, Bounds, believed
from bisupervised.schemas.budget import NANO, Amount
from support.remotes import chat_completion, choice

BOUNDS = Bounds(1000, 256)
NONSENSE: tuple[Any, ...] = (-5, 10**12, 10**400, math.nan, math.inf, "12", True, [1], {"a": 1}, 1.5)


def test_what_can_be_is_believed() -> None:
    assert believed(None, BOUNDS) == Believed(None)
    assert believed(Usage(1000, 256, 7, 8), BOUNDS) == Believed(Usage(1000, 256, 7, 8))
    assert believed(Usage(12.0, None), BOUNDS) == Believed(Usage(12, 0))  # type: ignore[arg-type]  # as JSON has it


@pytest.mark.parametrize("prompt", [0, 999, 1000, 1001])
@pytest.mark.parametrize("completion", [0, 256, 257])
@pytest.mark.parametrize("parts", [(0, 0, 0), (1000, 256, 0), (999, 0, 2), (1, 257, 1)])
def test_the_short_way_says_what_the_long_one_does(
    prompt: int, completion: int, parts: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Usage(prompt, completion, *parts)
    short = believed(told, BOUNDS)
    monkeypatch.setattr(usage, "_plausible", lambda *_: False)
    assert short == believed(told, BOUNDS)


@pytest.mark.parametrize("nonsense", NONSENSE, ids=repr)
def test_and_what_cannot_be_stands_for_the_most(nonsense: Any) -> None:
    usage, doubts = believed(Usage(nonsense, nonsense, nonsense, nonsense), BOUNDS)
    assert usage == Usage(1000, 256, 0, 0)
    assert [doubt.split(":")[0] for doubt in doubts] == ["prompt_tokens", "completion_tokens"]
    assert len(doubts[0]) < 100


def chat(usage: Any) -> tuple[RemoteProtocol, Response]:
    document = chat_completion(choice("yes", [-0.1]), usage=usage)
    return OpenAIChat("large", max_tokens=100), Response(200, {}, orjson.dumps(document))


def tei(tokens: str) -> tuple[RemoteProtocol, Response]:
    return Tei("t"), Response(
        200, {"x-compute-tokens": tokens}, b'[[{"label": "a", "score": 0.9}, {"label": "b", "score": 0.1}]]'
    )


def own(count: Any) -> tuple[RemoteProtocol, Response]:
    protocol = GenericJson({"q": "x"}, "a", model="m", prompt_tokens="p", completion_tokens="c")
    return protocol, Response(200, {}, orjson.dumps({"a": "yes", "p": count, "c": count}))


@pytest.mark.parametrize(
    ("protocol", "response"),
    [
        chat({"prompt_tokens": 10**12, "completion_tokens": 10**12}),
        chat({"prompt_tokens": -(10**12), "completion_tokens": "many"}),
        chat({"prompt_tokens": 1e12, "completion_tokens": 3, "prompt_tokens_details": "none"}),
        chat("lots"),
        chat([1, 2]),
        tei("9" * 5000),
        tei("-7"),
        tei("١٢٣٤٥٦٧٨٩٠١٢"),  # digits, and Python reads them
        own(10**12),
        own(-1),
        own("12"),
    ],
)
async def test_a_nonsensical_usage_costs_no_answer_no_budget_and_no_time(
    protocol: RemoteProtocol, response: Response, caplog: pytest.LogCaptureFixture
) -> None:
    purse = Purse(BudgetPolicy(Amount(100 * NANO, 0), "month", lease_share=1.0))
    purse.known = True
    gate = Gate(LimitsPolicy(tokens_per_minute=60_000), funds=Funds(purse, now=lambda: 0.0), clock=lambda: 0.0)
    purse.afford(Amount(), 0.0)  # its period begins
    purse.held = Amount(100 * NANO, 0)
    policy = ClientPolicy("http://remote", price=Price(0.0, 1.0, 1.0), most_answer_tokens=50)
    client = RemoteClient(ScriptedTransport([response] * 3), protocol, policy, gate=gate, clock=lambda: 0.0)
    gate.share(1, 1)
    gate.limits.tokens = None  # it goes at once; what it has used is settled below
    [answer] = await client.ask(
        [{"x": "a text"}] if isinstance(protocol, GenericJson) else ["a text"], "key", None, Bill()
    )
    assert answer.prediction in ("yes", "a")
    assert client.meter.implausible == 1
    assert [record.action for record in caplog.records if record.levelname == "WARNING"] == ["usage_implausible"]  # type: ignore[attr-defined]  # our own field
    assert purse.held.money > 99.9 * NANO, "a call of a few tokens cost as much, and no month's budget"
    assert gate.limits.estimate.of(10) < 1000, "and the next call is not taken for a giant"
    assert client.meter.tokens["input"].total < 1000


def test_what_is_kept_for_later_is_part_of_what_is_read() -> None:
    assert believed(Usage(1000, 1, 600, 0, 400), BOUNDS).usage == Usage(1000, 1, 600, 0, 400)
    assert believed(Usage(1000, 1, 600, 0, 401), BOUNDS).usage == Usage(1000, 1, 600, 0, 0)
