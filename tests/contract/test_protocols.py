"""Every protocol as its example configures it, over the transport that calls and the one that plays a script,
against a server that follows the real ones' shapes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.asking import Bill
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.credentials import Authorized
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.limiting import suspects
from bisupervised.agents.remote.protocols.generic_json import GenericJson
from bisupervised.agents.remote.protocols.templates import parse_json
from bisupervised.agents.remote.retry import CircuitOpen, RetryPolicy
from bisupervised.agents.remote.transport import AiohttpTransport, Response, ScriptedTransport, Sent, Transport
from bisupervised.schemas.codec import RequestFormat, decode_facts, encode_facts
from bisupervised.schemas.errors import InvalidAnswer, RateLimited, RecordError, Refused, RemoteError
from bisupervised.schemas.records import FACTS_HEADER, REASON_HEADER, Facts, Source
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker.protocols import make_protocol
from support.far_end import KEY, Asked, answer, serve
from support.records import Record, request
from support.remote import Clock
from support.remotes import answered

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples" / "remote").glob("*.toml"))
NAMES = [path.stem for path in EXAMPLES]
#: those that take many inputs a call
BATCHED = ["open_inference", "tei", "vllm_classify"]


@dataclass
class FarEnd:
    """The server, and what comes before it answers: each of `first` once."""

    url: str = "http://remote"
    transport: Transport = field(default_factory=lambda: ScriptedTransport([]))
    first: list[Response] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def handle(self, asked: Asked) -> Response:
        self.asked.append(asked)
        return self.first.pop(0) if self.first else answer(asked)

    def sent(self, sent: Sent) -> Response:
        headers = {name.lower(): value for name, value in sent.headers.items()}
        return self.handle(Asked(sent.method, sent.url.removeprefix(self.url), headers, sent.body))


@pytest.fixture(params=["scripted", "aiohttp"])
async def far_end(request: pytest.FixtureRequest) -> AsyncIterator[FarEnd]:
    made = FarEnd()
    if request.param == "scripted":
        made.transport = ScriptedTransport(made.sent)
        yield made
        return
    async with serve(made.handle) as made.url:
        made.transport = AiohttpTransport(connections=4)
        yield made
        await made.transport.close()


@pytest.fixture(params=NAMES)
def settings(request: pytest.FixtureRequest) -> Settings:
    """Read here and not in a test, for reading a file blocks the event loop."""
    return load_settings(EXAMPLES[NAMES.index(request.param)], {"BISUPERVISED_REMOTE__API_KEY": KEY})


def only(*names: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    return pytest.mark.parametrize("settings", names, indirect=True)


def client_of(far_end: FarEnd, settings: Settings, key: str = KEY, tries: int = 3) -> RemoteClient:
    """As a worker makes it, but for the clock."""
    remote, clock = settings.remote, Clock()
    transport = Authorized(far_end.transport, key, header=remote.api_key_header, scheme=remote.api_key_scheme)
    policy = ClientPolicy(far_end.url, retry=RetryPolicy(tries=tries), headers=remote.headers)
    gate = Gate(waits=False, clock=clock)
    return RemoteClient(
        transport, make_protocol(remote), policy, gate=gate, clock=clock, sleep=clock.sleep, random=lambda: 0.0
    )


def inputs_of(settings: Settings, *texts: str) -> list[object]:
    """What leaves for these texts."""
    return [{"input": text, "product": "a kettle"} if settings.remote.send else text for text in texts]


async def ask(far_end: FarEnd, settings: Settings, *texts: str, key: str = KEY) -> list[tuple[object, float | None]]:
    answers = await client_of(far_end, settings, key).ask(inputs_of(settings, *texts), "a-key", None, Bill())
    return [(given.prediction, given.score and round(given.score, 6)) for given in answers]


def test_there_is_an_example_of_every_protocol() -> None:
    assert set(NAMES) >= {"open_inference", "openai_chat", "tei", "vllm_classify"}


async def test_an_answer_and_its_score(far_end: FarEnd, settings: Settings) -> None:
    agrees = settings.remote.supervisor == "agreement"  # of the same model, always the same
    assert await ask(far_end, settings, "a good one") == [("positive", 1.0 if agrees else 0.9)]
    assert await ask(far_end, settings, "well?") == [("negative", 1.0 if agrees else 0.6)]


async def test_the_key_and_the_headers_go_along(far_end: FarEnd, settings: Settings) -> None:
    await ask(far_end, settings, "a good one")
    [asked] = far_end.asked
    scheme = settings.remote.api_key_scheme
    assert asked.headers[settings.remote.api_key_header] == f"{scheme} {KEY}".strip()
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["idempotency-key"].startswith("a-key-")
    assert settings.remote.headers.items() <= dict(asked.headers).items()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_the_method_is_the_protocols(far_end: FarEnd, method: str) -> None:
    protocol = GenericJson(parse_json({"a": "{input}"}), "label", path="/ask", method=method)
    far_end.first = [answered({"label": "yes"})]
    client = RemoteClient(far_end.transport, protocol, ClientPolicy(far_end.url))
    [given] = await client.ask(["x"], "a-key", None, Bill())
    assert given.prediction == "yes"
    [asked] = far_end.asked
    assert (asked.method, asked.path, asked.body) == (method, "/ask", b'{"a":"x"}')


@only(*BATCHED)
async def test_many_inputs_in_one_call_and_their_order(far_end: FarEnd, settings: Settings) -> None:
    texts = ["good", "bad", "good?", "bad?", "good"]
    assert await ask(far_end, settings, *texts) == [
        ("positive", 0.9),
        ("negative", 0.9),
        ("positive", 0.6),
        ("negative", 0.6),
        ("positive", 0.9),
    ]
    assert len(far_end.asked) == 1


@pytest.mark.parametrize(
    ("response", "wait_s"),
    [
        (answered({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, 429, retry_after="3"), 3.0),
        (answered({"error": "Model is overloaded", "error_type": "overloaded"}, 429), 0.5),
        (answered({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 529), 0.5),
        (Response(503, {"Content-Type": "text/html"}, b"<html>no healthy upstream</html>"), 0.5),
    ],
    ids=["429", "overloaded", "529", "503"],
)
async def test_a_failure_that_may_pass_is_tried_again(
    far_end: FarEnd, settings: Settings, response: Response, wait_s: float
) -> None:
    far_end.first = [response]
    remote = client_of(far_end, settings)
    [given] = await remote.ask(inputs_of(settings, "good"), "a-key", None, Bill())
    assert given.prediction == "positive"
    assert given.latency_ms == wait_s * 1000.0
    assert len(far_end.asked) == 2
    far_end.first = [response] * 3
    with pytest.raises(RateLimited if response.status == 429 else RemoteError):
        await remote.ask(inputs_of(settings, "good"), "a-key", None, Bill())


async def test_a_wrong_key_is_terminal_and_shown_nowhere(
    far_end: FarEnd, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    wrong = "sk-another-canary-0123456789"
    agent = Remote(client_of(far_end, settings, wrong), RequestFormat(), send=settings.remote.send)
    facts = (FACTS_HEADER, encode_facts(Facts(Source("requests", 0, 1))))
    record = Record(b'{"input": "good", "product": "a kettle"}', headers=[facts])
    [outcome] = await agent.answer([record])
    assert dict(outcome.headers)[REASON_HEADER] == b"remote_error"
    detail = decode_facts(Record(outcome.value, headers=outcome.headers)).detail
    assert detail == "the remote answered 401: Incorrect API key provided: [key removed]"
    assert wrong in str(far_end.asked), "the server did quote it"
    assert wrong not in f"{outcome}{caplog.text}{[vars(line) for line in caplog.records]}"
    with pytest.raises(CircuitOpen):  # terminal; this gate does not wait
        await ask(far_end, settings, "good", key=wrong)
    assert len(far_end.asked) == 2, "and is not tried again"


@pytest.mark.parametrize("body", [b"", b" ", b"{}", b"[]", b"null", b'{"choices": []}', b'{"outputs": null}'])
async def test_a_success_that_is_empty_may_pass(far_end: FarEnd, settings: Settings, body: bytes) -> None:
    far_end.first = [Response(200, {}, body)]
    [(prediction, _)] = await ask(far_end, settings, "good")
    assert prediction == "positive"
    assert len(far_end.asked) > 1


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b'{"data": []}', b"[[]]", b'{"status": "ok"}'])
async def test_a_success_without_an_answer(far_end: FarEnd, settings: Settings, body: bytes) -> None:
    far_end.first = [Response(200, {}, body)]
    with pytest.raises(InvalidAnswer):
        await ask(far_end, settings, "good")
    assert len(far_end.asked) == 1


@only("openai_chat")
@pytest.mark.parametrize(
    ("text", "kind", "match"),
    [
        ("refuse this", Refused, "I cannot help"),
        ("a filtered one", Refused, "filtered"),
        ("a neutral one", InvalidAnswer, "none of the 2 labels"),
        ("far too long", Refused, "maximum context length"),
        ("I am broke", CircuitOpen, "quota"),
    ],
)
async def test_what_a_chat_may_say_instead(
    far_end: FarEnd, settings: Settings, text: str, kind: type[RecordError], match: str
) -> None:
    with pytest.raises(kind, match=match) as caught:
        await ask(far_end, settings, text)
    assert type(caught.value) is kind
    assert len(far_end.asked) == 1


@only("openai_chat")
async def test_an_answer_that_was_cut_off(far_end: FarEnd, settings: Settings) -> None:
    options = settings.remote.openai_chat
    assert options is not None
    short = options.model_copy(update={"max_tokens": 1})
    remote = settings.remote.model_copy(update={"openai_chat": short})
    with pytest.raises(InvalidAnswer, match="'length'"):
        await ask(far_end, settings.model_copy(update={"remote": remote}), "good")


@only("openai_chat")
async def test_a_server_that_gives_no_log_probabilities_gives_no_score(far_end: FarEnd, settings: Settings) -> None:
    options = settings.remote.openai_chat
    assert options is not None
    without = options.model_copy(update={"top_logprobs": 0})
    remote = settings.remote.model_copy(update={"openai_chat": without})
    assert await ask(far_end, settings.model_copy(update={"remote": remote}), "good") == [("positive", None)]


@only("anthropic_messages")
async def test_an_answer_that_another_reason_ended(far_end: FarEnd, settings: Settings) -> None:
    with pytest.raises(InvalidAnswer, match="ended with 'max_tokens'"):
        await ask(far_end, settings, "too long")


@only("open_inference", "tei")
async def test_one_bad_input_does_not_fail_its_neighbours(
    far_end: FarEnd, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "CHECK_S", 0.0)
    agent = Remote(client_of(far_end, settings), RequestFormat())
    facts = (FACTS_HEADER, encode_facts(Facts(Source("requests", 0, 1))))
    records = [request(text, number, headers=[facts]) for number, text in enumerate(["good", "too long", "bad"])]
    outcomes = await agent.answer(records)
    assert [outcome.to for outcome in outcomes] == ["answers", "fallback", "answers"]


USED = {"/v2/models/large/infer": None, "/predict": 8, "/classify": 8}


def test_usage_is_read_where_there_is_one(settings: Settings) -> None:
    protocol = make_protocol(settings.remote)
    call = protocol.build(inputs_of(settings, "good"))
    response = answer(Asked(call.method, call.path, {}, call.body))
    headers = {name.lower(): value for name, value in response.headers.items()}
    usage = protocol.read(Response(200, headers, response.body), 1).usage
    assert (usage and usage.prompt_tokens + usage.completion_tokens) == USED.get(call.path, 11)
