"""The ready tables of providers: what each sends, and how it reads an answer in the shape of its provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from bisupervised.agents.remote.asking import Bill
from bisupervised.agents.remote.client import RemoteClient
from bisupervised.agents.remote.credentials import Authorized
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.protocol import Usage
from bisupervised.agents.remote.transport import Response, ScriptedTransport
from bisupervised.streams import cli
from bisupervised.streams.providers.blocks import block, names
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker.making import client_policy
from bisupervised.streams.worker.protocols import make_protocol
from support.remote import Clock
from support.remotes import answered, chat_completion, choice, token

KEY = "sk-canary-0123456789"
LOCAL = '\n[local]\nmodel = "m:m"\nthreshold = 0.5\n'
#: of each provider whose price depends on it
PRICES = {"price_per_million_prompt_tokens": 2.0, "price_per_million_completion_tokens": 8.0}


def spoken(text: str = "positive", **usage: Any) -> dict[str, Any]:
    """A chat completion with log-probabilities."""
    said = choice(text, [-0.1])
    said["logprobs"]["content"] = [token(text, -0.1, {text: -0.1, "negative": -2.4})]
    return chat_completion(said, usage={"prompt_tokens": 1000, "completion_tokens": 2, "total_tokens": 1002} | usage)


def several(count: int) -> dict[str, Any]:
    """So many answers in one, without log-probabilities."""
    return chat_completion(*(choice("positive" if n else "negative") for n in range(count)))


@dataclass
class Provider:
    """How it is called, and what it answers."""

    url: str
    answers: list[Any]
    header: str = "authorization"
    sent: Mapping[str, Any] = field(default_factory=dict)  #: in the body, among others
    absent: tuple[str, ...] = ()  #: what it would refuse
    score: float = 0.905
    usage: Usage | None = field(default_factory=lambda: Usage(9, 2))
    headers: Mapping[str, str] = field(default_factory=dict)


CACHED: dict[str, Any] = {"prompt_tokens_details": {"cached_tokens": 600}}
TOOL = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [{"type": "tool_use", "id": "t", "name": "answer", "input": {"label": "positive", "confidence": 0.9}}],
    "stop_reason": "tool_use",
    "usage": {
        "input_tokens": 100,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 600,
        "output_tokens": 40,
    },
}
INFER = {
    "model_name": "sentiment",
    "model_version": "1",
    "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 0.9]}],
}
NO_LOGPROBS = ("logprobs", "top_logprobs")
PROVIDERS = {
    "openai": Provider(
        "https://api.openai.com/v1/chat/completions",
        [spoken(**CACHED)],
        sent={"logprobs": True, "max_completion_tokens": 16, "temperature": 0.0},
        usage=Usage(1000, 2, 600),
    ),
    "azure": Provider(
        "https://YOUR-RESOURCE.openai.azure.com/openai/v1/chat/completions",
        [spoken(**CACHED)],
        header="api-key",
        sent={"model": "YOUR-DEPLOYMENT", "logprobs": True},
        usage=Usage(1000, 2, 600),
    ),
    "anthropic": Provider(
        "https://api.anthropic.com/v1/messages",
        [TOOL],
        header="x-api-key",
        sent={"model": "claude-haiku-4-5", "max_tokens": 200, "tool_choice": {"type": "tool", "name": "answer"}},
        score=0.9,
        usage=Usage(1000, 40, 600, 0, 300),
        headers={"anthropic-version": "2023-06-01"},
    ),
    "gemini": Provider(
        "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
        [several(5)],
        sent={"n": 5, "temperature": 1.0, "reasoning_effort": "none"},
        absent=NO_LOGPROBS,
        score=0.8,
    ),
    "mistral": Provider(
        "https://api.mistral.ai/v1/chat/completions",
        [several(5)],
        sent={"n": 5, "max_tokens": 16},
        absent=(*NO_LOGPROBS, "max_completion_tokens", "seed"),
        score=0.8,
    ),
    "groq": Provider(
        "https://api.groq.com/openai/v1/chat/completions",
        [several(1), *[chat_completion(choice("positive"))] * 4],
        absent=(*NO_LOGPROBS, "n"),
        score=0.8,
        usage=Usage(45, 10),
    ),
    "openrouter": Provider(
        "https://openrouter.ai/api/v1/chat/completions",
        [spoken(prompt_tokens_details={"cached_tokens": 600, "cache_write_tokens": 300}, cost=0.0014)],
        sent={"logprobs": True, "provider": {"require_parameters": True}, "max_tokens": 16},
        usage=Usage(1000, 2, 600, 0, 300),
    ),
    "bedrock": Provider(
        "https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1/chat/completions",
        [chat_completion(choice(f"<reasoning>hm</reasoning>{'positive' if n else 'negative'}")) for n in range(5)],
        absent=(*NO_LOGPROBS, "n"),
        score=0.8,
        usage=Usage(45, 10),
    ),
    "ollama": Provider(
        "http://127.0.0.1:11434/v1/chat/completions",
        [spoken()],
        sent={"logprobs": True, "max_tokens": 16, "seed": 1},
        absent=("max_completion_tokens",),
        usage=Usage(1000, 2),
    ),
    "vllm": Provider(
        "http://127.0.0.1:8000/v1/chat/completions",
        [spoken()],
        sent={"logprobs": True, "chat_template_kwargs": {"enable_thinking": False}},
        usage=Usage(1000, 2),
    ),
    "llamacpp": Provider(
        "http://127.0.0.1:8080/v1/chat/completions",
        [spoken()],
        sent={"logprobs": True, "grammar": 'root ::= "negative" | "positive"'},
        absent=("max_completion_tokens",),
        usage=Usage(1000, 2),
    ),
    "tei": Provider(
        "http://127.0.0.1:8080/predict",
        [[[{"label": "positive", "score": 0.9}, {"label": "negative", "score": 0.1}]]],
        score=0.9,
        usage=None,
    ),
    "triton": Provider(
        "http://127.0.0.1:8000/v2/models/sentiment/infer",
        [INFER],
        sent={"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["a good one"]}]},
        score=0.9,
        usage=None,
    ),
    "kserve": Provider(
        "http://YOUR-MODEL.YOUR-NAMESPACE.example.com/v2/models/sentiment/infer",
        [INFER],
        sent={"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a good one"]}]},
        score=0.9,
        usage=None,
    ),
}


def test_each_has_its_shape_here() -> None:
    assert names() == sorted(PROVIDERS)


@pytest.fixture(params=sorted(PROVIDERS))
def named(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Provider, Settings]:
    """A provider, and the settings that its table makes. Read here, for reading a file blocks the event loop."""
    path = tmp_path / "my.toml"
    path.write_text(block(request.param) + LOCAL)
    return PROVIDERS[request.param], load_settings(path, {"BISUPERVISED_REMOTE__API_KEY": KEY})


async def test_it_asks_and_reads_as_its_provider_wants(named: tuple[Provider, Settings]) -> None:
    provider, settings = named
    remote, clock = settings.remote, Clock()
    transport = ScriptedTransport([answered(each) for each in provider.answers])
    keyed = Authorized(transport, KEY, header=remote.api_key_header, scheme=remote.api_key_scheme)
    client = RemoteClient(
        keyed, make_protocol(remote), client_policy(remote), gate=Gate(waits=False, clock=clock), clock=clock
    )
    [given] = await client.ask(["a good one"], "a-key", None, Bill())
    assert (given.prediction, round(given.score or 0.0, 3)) == ("positive", provider.score)
    assert len(transport.sent) == len(provider.answers)
    for sent in transport.sent:
        document = orjson.loads(sent.body)
        assert sent.url == provider.url
        assert KEY in sent.headers[provider.header]
        assert provider.headers.items() <= dict(sent.headers).items()
        assert {key: document.get(key) for key in provider.sent} == provider.sent
        assert not set(provider.absent) & set(document)


def test_it_reads_the_usage(named: tuple[Provider, Settings]) -> None:
    provider, settings = named
    reply = make_protocol(settings.remote).read(Response(200, {}, orjson.dumps(provider.answers[-1])), 1)
    wanted = provider.usage
    if wanted is not None and len(provider.answers) > 1:
        wanted = Usage(*(count // len(provider.answers) for count in wanted))
    assert reply.usage == wanted


def test_a_table_is_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["config", "--remote", "openai"]) == 0
    assert capsys.readouterr().out == block("openai")
    assert cli.run(["config", "--remote", "openai", "--out", str(tmp_path / "x.toml")]) == 0
    assert (tmp_path / "x.toml").read_text() == block("openai")
    assert cli.run(["config", "--remote", "nobody"]) == 2
    assert "--remote: must be one of anthropic, azure, bedrock" in capsys.readouterr().err
