"""Our protocols against servers of others: `make conformance`. Writes build/conformance.json.

The client is the worker's own, over HTTP; only its waits between tries are shorter.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import time
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `support`

from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.asking import Bill, RemoteAnswer
from bisupervised.agents.remote.client import ClientPolicy, RemoteClient
from bisupervised.agents.remote.credentials import Authorized
from bisupervised.agents.remote.gate import Gate
from bisupervised.agents.remote.retry import CallRefused, CircuitOpen, NotAnAnswer, RetryPolicy
from bisupervised.agents.remote.transport import AiohttpTransport
from bisupervised.schemas.codec import RequestFormat, encode_facts
from bisupervised.schemas.errors import InvalidAnswer, RateLimited, RecordError, RemoteError
from bisupervised.schemas.records import FACTS_HEADER, Facts, Source
from bisupervised.streams.commands.check_remote import look_at_remote
from bisupervised.streams.commands.findings import Finding
from bisupervised.streams.logins.sources import own_provider
from bisupervised.streams.logins.tokens import Tokens
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker.protocols import make_protocol
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from software import (
    APICURIO,
    AWS_KEY,
    AWS_SECRET,
    BUILD,
    HUGGING_FACE,
    LITELLM,
    LLAMA,
    MASTER_KEY,
    MLSERVER,
    REGISTRY_PATH,
    SIGNERS,
    NotConforming,
    Software,
    running,
)
from support.registry_cases import CASES, Case

REPORT = BUILD.parent / "conformance.json"
LABELS = ["negative", "positive"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check showed."""

    software: str
    check: str
    passed: bool
    seen: str
    seconds: float


Check = Callable[[str], Awaitable[str]]
_CHECKS: list[tuple[Software, str, Check]] = []


def check(software: Software, name: str) -> Callable[[Check], Check]:
    """Registers a check: it is given the URL, returns what it saw, and raises where that is not what it should be."""

    def register(made: Check) -> Check:
        _CHECKS.append((software, name, made))
        return made

    return register


def settings_of(url: str, **remote: Any) -> Settings:
    """With these of [remote]."""
    given = {"url": url, "threshold": 0.5} | remote
    env = {f"BISUPERVISED_REMOTE__{name.upper()}": _written(value) for name, value in given.items()}
    local = {"MODEL": "none:none", "THRESHOLD": "0.5", "WARM_UP": '["good"]'}
    return load_settings(None, env | {f"BISUPERVISED_LOCAL__{name}": value for name, value in local.items()})


def client(url: str, key: str | None = None, **remote: Any) -> RemoteClient:
    """As a worker with these settings of [remote] makes it."""
    settings = settings_of(url, **remote)
    transport = AiohttpTransport(connections=4)
    policy = ClientPolicy(url, timeout_s=60.0, retry=RetryPolicy(tries=2, backoff_first_s=0.05))
    keyed = transport if key is None else Authorized(transport, key)
    return RemoteClient(keyed, make_protocol(settings.remote), policy, gate=Gate(waits=False))


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _Closing:
    """`aclosing` wants the name aclose."""

    def __init__(self, made: RemoteClient) -> None:
        self._made = made

    async def aclose(self) -> None:
        await self._made.close()


async def ask(made: RemoteClient, inputs: Sequence[Any], bill: Bill | None = None) -> list[RemoteAnswer]:
    async with aclosing(_Closing(made)):
        return await made.ask(inputs, "a-key", None, bill or Bill())


async def fails(made: RemoteClient, kind: type[RecordError], *, calls: int, inputs: Sequence[Any] = ("good",)) -> str:
    """That asking fails just so, after so many calls."""
    bill = Bill()
    try:
        answers = await ask(made, inputs, bill)
    except RecordError as error:
        expect(type(error), kind)
        expect(bill.calls, calls)
        return f"{type(error).__name__}: {error}"
    raise AssertionError(f"answered {answers}")


def expect(seen: Any, wanted: Any) -> None:
    if seen != wanted:
        raise AssertionError(f"{seen!r} is not {wanted!r}")


def said(answers: Sequence[RemoteAnswer]) -> list[tuple[Any, float | None]]:
    return [(each.prediction, None if each.score is None else round(each.score, 6)) for each in answers]


def shown(answers: Sequence[RemoteAnswer]) -> str:
    return ", ".join(f"{prediction} {score}" for prediction, score in said(answers)) + f" by {answers[0].model}"


def sentiment(url: str, **more: Any) -> RemoteClient:
    return client(url, model="sentiment", datatype="BYTES", labels=LABELS, **more)


@check(MLSERVER, "texts in one call, in their order")
async def texts(url: str) -> str:
    answers = await ask(sentiment(url), ["good", "bad", "good?"])
    expect(said(answers), [("positive", 0.9), ("negative", 0.9), ("positive", 0.6)])
    expect(answers[0].model, "sentiment@7")
    return shown(answers)


@check(MLSERVER, "tensors, logits back")
async def tensors(url: str) -> str:
    made = client(url, model="logits", output_name="logits", output="logits")
    answers = await ask(made, [[0.0, 0.0, 5.0], [9.0, 0.0, 0.0]])
    expect(said(answers), [(2, 0.986703), (0, 0.999753)])
    return shown(answers)


@dataclass(frozen=True)
class _Record:
    value: bytes
    offset: int
    topic: str = "doubtful"
    partition: int = 0
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ((FACTS_HEADER, encode_facts(Facts(Source("requests", 0, 0)))),)


@check(MLSERVER, "one input that is refused does not fail its neighbours")
async def neighbours(url: str) -> str:
    agent = Remote(sentiment(url), RequestFormat())
    values = (b'{"input": "good"}', b'{"input": "too long"}', b'{"input": "bad"}')
    async with aclosing(_Closing(agent._client)):  # closes what the agent was given
        outcomes = await agent.answer([_Record(value, offset) for offset, value in enumerate(values)])
    routes = [outcome.to for outcome in outcomes]
    expect(routes, ["answers", "fallback", "answers"])
    return ", ".join(routes)


@check(MLSERVER, "an input that it refuses")
async def refused(url: str) -> str:
    bill = Bill()
    try:
        await ask(sentiment(url), ["too long"], bill)
    except CallRefused as error:
        expect((error.may_be_input, bill.calls), (True, 1))
        return str(error)
    raise AssertionError("answered")


@check(MLSERVER, "a model that it does not have is terminal")
async def no_model(url: str) -> str:
    return await fails(client(url, model="nothing", datatype="BYTES"), CircuitOpen, calls=1)


@check(MLSERVER, "an output that the model does not have")
async def no_output(url: str) -> str:
    return await fails(sentiment(url, output_name="other"), NotAnAnswer, calls=1)


#: what the runtime takes and gives, which is not what it says
_CLASSIFIER: dict[str, Any] = {
    "model": "classifier",
    "datatype": "BYTES",
    "input_name": "array_inputs",
    "output_name": "output",
    "labels": LABELS,
}


async def _classified(url: str, **more: Any) -> str:
    """Texts in one call: each answer is its own, and has the probability of its class."""
    bill = Bill()
    answers = await ask(client(url, **_CLASSIFIER | more), ["a good film", "bad", "the bad book", "good"], bill)
    expect([answer.prediction for answer in answers], ["positive", "negative", "negative", "positive"])
    expect(all(answer.score is not None and 0.9 < answer.score < 1.0 for answer in answers), True)
    expect((bill.calls, answers[0].model), (1, "classifier"))
    return shown(answers)


@check(HUGGING_FACE, "texts in one call, a class and its score back as JSON")
async def classified(url: str) -> str:
    return await _classified(url)


@check(HUGGING_FACE, "texts as a column")
async def classified_column(url: str) -> str:
    return await _classified(url, input_shape="column")


@check(HUGGING_FACE, "without labels, its own names of the classes")
async def unnamed(url: str) -> str:
    answers = await ask(client(url, **_CLASSIFIER | {"labels": []}), ["good", "bad"])
    expect([answer.prediction for answer in answers], ["POSITIVE", "NEGATIVE"])
    return shown(answers)


@check(HUGGING_FACE, "a score that needs every class has no value")
async def one_class(url: str) -> str:
    [answer] = await ask(client(url, **_CLASSIFIER, supervisor="pcs"), ["good"])
    expect((answer.prediction, answer.score), ("positive", None))
    expect("told one class" in answer.unscored, True)
    return answer.unscored


@check(HUGGING_FACE, "labels that are not its classes")
async def other_classes(url: str) -> str:
    return await fails(client(url, **_CLASSIFIER | {"labels": ["up", "down"]}), NotAnAnswer, calls=1)


@check(HUGGING_FACE, "the input that it names takes one text a call")
async def named_input(url: str) -> str:
    made = client(url, **_CLASSIFIER | {"input_name": "args"})
    said = await fails(made, RemoteError, calls=2, inputs=["good", "bad"])
    expect("500: TypeError" in said, True)  # of the traceback that it answers
    return said


@check(HUGGING_FACE, "a text that is too long for the model")
async def too_long(url: str) -> str:
    said = await fails(client(url, **_CLASSIFIER), RemoteError, calls=2, inputs=["good " * 40])
    expect("500: RuntimeError: The size of tensor" in said, True)
    return said


async def _looked_at(url: str, **more: Any) -> list[Finding]:
    """What `check --connect --pay` finds."""
    return [finding async for finding in look_at_remote(settings_of(url, **_CLASSIFIER | more), pay=True)]


@check(HUGGING_FACE, "check --connect finds nothing wrong, and asks")
async def looked_at(url: str) -> str:
    found = await _looked_at(url)
    expect([finding.level for finding in found if finding.level != "ok"], [])
    expect("answers 'positive' with the score 0.9" in found[-1].text, True)
    return found[-1].text


@check(HUGGING_FACE, "check --connect says what to set instead of what it says")
async def looked_at_names(url: str) -> str:
    faults = [f.text for f in await _looked_at(url, input_name="args", output_name="outputs") if f.level == "fault"]
    expect(
        [text.partition("set [remote] ")[2] for text in faults[:2]],
        ['input_name = "array_inputs"', 'output_name = "output"'],
    )
    return "; ".join(faults)


def chat(url: str, key: str | None = MASTER_KEY, **more: Any) -> RemoteClient:
    return client(url, key, **{"protocol": "openai_chat", "model": "large", "labels": LABELS} | more)


@check(LITELLM, "a label, scored by its log-probabilities")
async def labelled(url: str) -> str:
    answers = await ask(chat(url), ["good?"])
    expect(said(answers), [("positive", 0.6)])
    return shown(answers)


@check(LITELLM, "no log-probabilities, no score")
async def unscored(url: str) -> str:
    answers = await ask(chat(url, model="mocked"), ["good"])
    expect(said(answers), [("positive", None)])
    return shown(answers)


@check(LITELLM, "agreement of three answers in one call")
async def agreement(url: str) -> str:
    made = chat(url, supervisor="agreement", openai_chat={"samples": 3})
    bill = Bill()
    answers = await ask(made, ["good"], bill)
    expect((said(answers), bill.calls), ([("positive", 1.0)], 1))
    return shown(answers)


@check(LITELLM, "agreement of three answers, a call each")
async def agreement_by_calls(url: str) -> str:
    made = chat(url, supervisor="agreement", openai_chat={"samples": 3, "samples_by": "calls"})
    bill = Bill()
    answers = await ask(made, ["good"], bill)
    expect((said(answers), bill.calls), ([("positive", 1.0)], 3))
    return shown(answers)


@check(LITELLM, "an answer that is cut off")
async def cut_off(url: str) -> str:
    return await fails(chat(url, openai_chat={"max_tokens": 1}), InvalidAnswer, calls=1)


@check(LITELLM, "an answer that is none of the labels")
async def out_of_labels(url: str) -> str:
    return await fails(chat(url, labels=["up", "down"]), InvalidAnswer, calls=1)


@check(LITELLM, "a rate limit is tried again")
async def limited(url: str) -> str:
    return await fails(chat(url, model="limited"), RateLimited, calls=2)


@check(LITELLM, "a failure of the server is tried again")
async def broken(url: str) -> str:
    return await fails(chat(url, model="broken"), RemoteError, calls=2)


@check(LITELLM, "an input that is too long is refused")
async def overflowing(url: str) -> str:
    return await fails(chat(url, model="overflowing"), CallRefused, calls=1)


@check(LITELLM, "a model that it does not have")
async def no_deployment(url: str) -> str:
    return await fails(chat(url, model="nothing"), CallRefused, calls=1)


@check(LITELLM, "no key is terminal")
async def no_key(url: str) -> str:
    return await fails(chat(url, key=None), CircuitOpen, calls=1)


@check(LITELLM, "a wrong key is terminal, and not repeated")
async def wrong_key(url: str) -> str:
    key = "canary-0123456789-canary"
    seen = await fails(chat(url, key=key), CircuitOpen, calls=1)
    expect(key in seen, False)
    return seen


@check(LITELLM, "the same by generic_json")
async def generic(url: str) -> str:
    body = {"model": "large", "messages": [{"role": "user", "content": "{input}"}], "logprobs": True}
    table = {
        "path": "/v1/chat/completions",
        "body": body,
        "prediction": "choices.0.message.content",
        "score": "choices.0.logprobs.content.0.logprob",
        "transform": "exp",
        "require": {"choices.0.finish_reason": ["stop"]},
        "model_path": "model",
    }
    answers = await ask(client(url, MASTER_KEY, protocol="generic_json", labels=LABELS, generic_json=table), ["good?"])
    expect(said(answers), [("positive", 0.6)])
    return shown(answers)


_REVIEWS = [
    (made.format(thing), label)
    for thing in ("film", "hotel")
    for label, kinds in (("positive", ("I loved the {}.", "What a wonderful {}!")), ("negative", ("I hated the {}.",)))
    for made in kinds
]


def small(url: str, **more: Any) -> RemoteClient:
    options = {
        "system": "You judge reviews. Answer with one word, negative or positive.",
        "prompt": "Review: {input}",
        "temperature": 0,
        "max_tokens": 3,
        "top_logprobs": 20,
    }
    table = options | more.pop("openai_chat", {})
    return client(url, protocol="openai_chat", model="small", labels=LABELS, openai_chat=table, **more)


@check(LLAMA, "an answer that is cut off, and what it was")
async def cut_by_llama(url: str) -> str:
    return await fails(small(url), InvalidAnswer, calls=1)


async def _labelled(url: str, by: str, supervisor: str) -> list[RemoteAnswer]:
    """The labels of some reviews, each with a score."""
    made = small(url, supervisor=supervisor, openai_chat={"answer": "label", "label_by": by})
    found: list[RemoteAnswer] = []
    async with aclosing(_Closing(made)):
        for text, _ in _REVIEWS:
            found += await made.ask([text], text, None, Bill())
    for answer in found:
        expect(answer.prediction in LABELS, True)
        expect((answer.score is not None and 0.0 < answer.score <= 1.0, answer.unscored), (True, ""))
    return found


@check(LLAMA, "held to the labels by a schema")
async def by_schema(url: str) -> str:
    return shown(await _labelled(url, "json_schema", "token_mean"))


@check(LLAMA, "held to the labels by a grammar")
async def by_grammar(url: str) -> str:
    return shown(await _labelled(url, "grammar", "token_first"))


@check(LLAMA, "the probability of each label")
async def by_label(url: str) -> str:
    return shown(await _labelled(url, "learn", "label_softmax"))


@check(LLAMA, "free text, its likelihood and its tokens")
async def free_text(url: str) -> str:
    options = {"prompt": "{input}", "temperature": 0, "max_tokens": 64}
    made = client(url, protocol="openai_chat", model="small", openai_chat=options)
    bill = Bill()
    [answer] = await ask(made, ["What is the capital of France? Answer in one short sentence."], bill)
    expect((isinstance(answer.prediction, str), answer.unscored), (True, ""))
    expect(answer.score is not None and 0.0 < answer.score <= 1.0, True)
    return shown([answer])


@check(LLAMA, "the tokens of a call are counted")
async def counted(url: str) -> str:
    made = small(url, openai_chat={"answer": "label"})
    await ask(made, ["I loved it."])
    read, written = (made.meter.tokens[kind].total for kind in ("input", "output"))
    expect((read > 10, written > 0, made.meter.implausible), (True, True, 0))
    return f"{read:g} read, {written:g} written"


@check(LLAMA, "an input that is longer than its context")
async def beyond_context(url: str) -> str:
    bill = Bill()
    try:
        await ask(small(url), ["word " * 6000], bill)
    except RecordError as error:
        expect(bill.calls, 1)
        return f"{type(error).__name__}: {error}"
    raise AssertionError("answered")


@check(SIGNERS, "MSK with IAM: a token that is kept until it ends")
async def msk_token(url: str) -> str:
    text, ends = await _asked(f"{url}/token")
    made = Tokens(own_provider(lambda: (text, ends), "msk_iam:token"))
    expect(await made.token(), text)
    presigned = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    asked = parse_qs(urlsplit(presigned).query)
    expect(asked["Action"], ["kafka-cluster:Connect"])
    expect(asked["X-Amz-Credential"][0].split("/")[0::2], [AWS_KEY, "eu-west-1", "aws4_request"])
    expect(800 < ends / 1000 - time.time() < 901, True)
    return f"{urlsplit(presigned).hostname}, {ends / 1000 - time.time():.0f} s left"


@check(SIGNERS, "Bedrock: the signature is Amazon's algorithm's")
async def bedrock_signature(url: str) -> str:
    path, body = "/model/small/invoke", b'{"a": 1}'
    headers = await _asked(url + path, body)
    expect(set(headers) - {"Authorization", "X-Amz-Date", "X-Amz-Security-Token"}, set())
    day = headers["X-Amz-Date"][:8]
    scope = f"{day}/eu-west-1/bedrock/aws4_request"
    host = "bedrock-runtime.eu-west-1.amazonaws.com"
    signed = f"content-type:application/json\nhost:{host}\nx-amz-date:{headers['X-Amz-Date']}\n"
    names = "content-type;host;x-amz-date"
    canonical = "\n".join(("POST", path, "", signed, names, hashlib.sha256(body).hexdigest()))
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{AWS_SECRET}".encode()
    for part in (day, "eu-west-1", "bedrock", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    told = "\n".join(("AWS4-HMAC-SHA256", headers["X-Amz-Date"], scope, hashed))
    wanted = hmac.digest(key, told.encode(), "sha256").hex()
    expect(headers["Authorization"].endswith(f"SignedHeaders={names}, Signature={wanted}"), True)
    return str(headers["Authorization"])[:80]


async def _asked(url: str, body: bytes = b"") -> Any:
    transport = AiohttpTransport(connections=1)
    try:
        response = await transport.post(url, body, {}, 30.0, method="POST" if body else "GET")
    finally:
        await transport.close()
    return json.loads(response.body)


def _of_registry(case: Case) -> None:
    @check(APICURIO, case.__name__.replace("_", " "))
    async def asked(url: str) -> str:
        return await case(url + REGISTRY_PATH)


for each_case in CASES:
    _of_registry(each_case)


async def run(software: Software, url: str) -> list[Outcome]:
    """Every check of this software."""
    return [await _outcome(owner, name, made(url)) for owner, name, made in _CHECKS if owner is software]


async def _outcome(software: Software, name: str, seeing: Awaitable[str]) -> Outcome:
    outcome, began = Outcome(software.requirement, name, True, "", 0.0), time.monotonic()
    try:
        outcome = replace(outcome, seen=await seeing)
    except Exception as error:  # noqa: BLE001  # whatever it is, the check has failed, and the next one is made
        outcome = replace(outcome, passed=False, seen=f"{type(error).__name__}: {error}")
    return replace(outcome, seconds=round(time.monotonic() - began, 3))


def main() -> int:
    """All of them, or those that are named."""
    outcomes: list[Outcome] = []
    everything = (MLSERVER, HUGGING_FACE, LITELLM, LLAMA, APICURIO, SIGNERS)
    for software in [each for each in everything if each.name in sys.argv[1:] or not sys.argv[1:]]:
        try:
            with running(software) as url:
                outcomes += asyncio.run(run(software, url))
        except NotConforming as error:
            outcomes.append(Outcome(software.requirement, "starts", False, str(error), 0.0))
    table = Table("Server", "Check", "", "Seen")
    for each in outcomes:
        table.add_row(*map(escape, (each.software, each.check, "ok" if each.passed else "FAILED", each.seen)))
    Console().print(table)
    failed = sum(not each.passed for each in outcomes)
    document = {"checks": len(outcomes), "failed": failed, "outcomes": [asdict(each) for each in outcomes]}
    REPORT.write_text(json.dumps(document, indent=2) + "\n")
    print(f"{len(outcomes) - failed} of {len(outcomes)} hold. The same as JSON: {REPORT.relative_to(BUILD.parents[1])}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
