"""A local model that is a server: what is asked, what is waited for, and who is to blame."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from bisupervised.agents.agents import LocalAgent
from bisupervised.agents.answers import Answer
from bisupervised.agents.local.agent import Local
from bisupervised.agents.local.appetite import Appetite, AppetitePolicy
from bisupervised.agents.local.serving.server import Server, ServerAway, ServerPolicy
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.protocols.tei import Tei
from bisupervised.agents.remote.protocols.templates import parse
from bisupervised.agents.remote.retry import NotConnected
from bisupervised.agents.remote.transport import Response, ScriptedTransport, ScriptStep, Sent, Slow
from bisupervised.agents.supervision.learned.deferral import DeferralModel
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.schemas.codec import RequestFormat, decode_facts, decode_result
from bisupervised.schemas.errors import ConfigurationError, RemoteError
from bisupervised.streams.settings.file import load_configuration, load_settings
from bisupervised.streams.worker.making import make_local
from support.records import Record, request
from support.remotes import answered, chat_completion, choice
from support.virtual_time import on_virtual_time

DOWN = NotConnected("no connection")
SORRY = Response(500, {}, b"sorry")


def classes(sent: Sent) -> Response:
    """A classifier behind Text Embeddings Inference: 'good' is positive."""
    texts = json.loads(sent.body)["inputs"]
    return answered(
        [
            [
                {"label": "no", "score": 0.1 if "good" in text else 0.8},
                {"label": "yes", "score": 0.9 if "good" in text else 0.2},
            ]
            for [text] in texts
        ]
    )


def texts_of(sent: Sent) -> list[str]:
    return [text for [text] in json.loads(sent.body)["inputs"]]


class Scene:
    """A server that does as `act` says, and a clock of the running loop."""

    def __init__(self, act: Callable[[Sent], ScriptStep], **policy: Any) -> None:
        self.transport = ScriptedTransport(act)
        protocol = Tei("small", labels=("no", "yes"), score="max_softmax")
        options = {"inputs": 4, "labels": ("no", "yes"), **policy}
        made = protocol.in_detail() if options.get("detailed") else protocol
        self.server = Server(
            self.transport,
            made,
            ServerPolicy("http://127.0.0.1:1", "small@1", **options),
            clock=lambda: asyncio.get_running_loop().time(),
            random=lambda: 0.0,
        )

    async def said(self, inputs: Sequence[Any]) -> list[Any]:
        return [
            each.prediction if isinstance(each, Answer) else type(each).__name__
            for each in await self.server.answers(inputs)
        ]


def failing(times: int, step: ScriptStep, then: Callable[[Sent], ScriptStep] = classes) -> Callable[[Sent], ScriptStep]:
    left = iter([step] * times)
    return lambda sent: next(left, None) or then(sent)


@on_virtual_time
async def test_inputs_are_asked_in_calls_and_answered_in_order() -> None:
    scene = Scene(classes)
    inputs = ["good one", "bad", "good two", "bad", "bad", "good three"]
    found = await scene.server.answers(inputs)
    assert [(each.prediction, each.score) for each in found if isinstance(each, Answer)] == [
        ("yes", 0.9),
        ("no", 0.8),
        ("yes", 0.9),
        ("no", 0.8),
        ("no", 0.8),
        ("yes", 0.9),
    ]
    assert [len(texts_of(sent)) for sent in scene.transport.sent] == [4, 2]


@pytest.mark.parametrize("step", [DOWN, SORRY, Response(429, {}, b""), Response(404, {}, b"no model"), Slow(99.0)])
def test_a_server_that_is_away_is_waited_for_and_nothing_is_given_up(step: ScriptStep) -> None:
    @on_virtual_time
    async def scenario() -> None:
        scene = Scene(failing(40, step))
        asked = asyncio.ensure_future(scene.said(["good", "bad"]))
        await asyncio.sleep(60)
        assert not asked.done()
        assert "http://127.0.0.1:1 does not answer" in scene.server.trouble
        assert await asked == ["yes", "no"]
        assert scene.server.trouble == ""
        assert scene.server.waited_s > 60

    scenario()


@on_virtual_time
async def test_what_the_server_refuses_while_it_answers_others_is_the_inputs_own() -> None:
    def act(sent: Sent) -> ScriptStep:
        return Response(413, {}, b"too long") if "long" in "".join(texts_of(sent)) else classes(sent)

    assert await Scene(act).said(["good", "long", "bad", "good"]) == ["yes", "ModelError", "no", "yes"]


@on_virtual_time
async def test_what_kills_the_server_again_and_again_is_the_inputs_own() -> None:
    def act(sent: Sent) -> ScriptStep:
        return RemoteError("connection lost") if "killer" in texts_of(sent) else classes(sent)

    scene = Scene(act)
    assert await scene.said(["good", "killer", "bad"]) == ["yes", "ModelError", "no"]
    alone = [sent for sent in scene.transport.sent if texts_of(sent) == ["killer"]]
    assert len(alone) == 6


@on_virtual_time
async def test_a_server_that_refuses_everything_is_to_blame_itself() -> None:
    refused = Response(400, {}, b"unknown model")
    scene = Scene(failing(30, refused))
    await scene.server.warm_up(["good"])
    assert "unknown model" in scene.server.trouble
    assert await scene.said(["bad", "good"]) == ["no", "yes"]
    await scene.server.close()


@on_virtual_time
async def test_the_first_input_of_all_is_not_given_up_where_nothing_else_is_known() -> None:
    scene = Scene(failing(10**6, Response(400, {}, b"no")))
    asked = asyncio.ensure_future(scene.said(["bad"]))
    await asyncio.sleep(3600)
    assert not asked.done()
    asked.cancel()


@on_virtual_time
async def test_an_answer_of_no_use_is_doubtful() -> None:
    [said] = await chatting("I cannot tell").answers(["good"])
    assert isinstance(said, Answer)
    assert (said.prediction, said.score) == (None, None)


def chatting(content: str) -> Server:
    """A chat model that says the same to all."""

    def act(sent: Sent) -> ScriptStep:
        return answered(chat_completion(choice(content, [-0.1])))

    protocol = OpenAIChat("small", prompt=parse("{input}"), labels=("no", "yes"))
    return Server(ScriptedTransport(act), protocol, ServerPolicy("http://h", "small", inputs=1))


@pytest.mark.parametrize(("content", "no_use"), [("yes", ""), ("I cannot tell", "is none of the 2 labels")])
def test_a_server_whose_answer_to_warm_up_is_of_no_use_is_not_away(content: str, no_use: str) -> None:
    @on_virtual_time
    async def scenario() -> None:
        server = chatting(content)
        await server.warm_up(["good", "bad"])
        assert server.trouble == ""
        assert no_use in server.no_use
        assert bool(server.no_use) == bool(no_use)
        await server.close()

    scenario()


@on_virtual_time
async def test_an_answer_of_no_use_shows_that_a_server_is_back() -> None:
    scene = Scene(failing(3, DOWN, then=lambda _: answered([[{"label": "maybe", "score": 0.9}]])))
    await scene.server.warm_up(["good"])
    assert scene.server.trouble
    await asyncio.sleep(120)
    assert scene.server.trouble == ""
    sent = len(scene.transport.sent)
    await asyncio.sleep(120)
    assert len(scene.transport.sent) == sent, "nobody asks on"
    await scene.server.close()


@on_virtual_time
async def test_partitions_that_go_take_their_records_with_them() -> None:
    scene = Scene(failing(10, DOWN))
    await scene.server.warm_up(["good"])
    asked = asyncio.ensure_future(scene.said(["good", "bad"]))
    await asyncio.sleep(1)
    scene.server.leave()
    with pytest.raises(ServerAway):
        await asked
    scene.server.stay()
    await asyncio.sleep(120)
    assert scene.server.trouble == "", "somebody notices that it is back, though nobody waits"
    assert await scene.said(["bad"]) == ["no"]
    await scene.server.close()


# the agent


def agent_of(server: Server) -> tuple[LocalAgent, Local]:
    local = Local(
        server,
        Supervisor("max_softmax", 0.85),
        RequestFormat(),
        batch_timeout_s=1.0,
        appetite=Appetite(AppetitePolicy(256, 1.0)),
        thresholds_version="t1",
        on_hang=lambda: pytest.fail("a server does not hang the process"),
        clock=lambda: asyncio.get_running_loop().time(),
    )
    return LocalAgent(local), local


@on_virtual_time
async def test_trusted_doubtful_and_refused() -> None:
    def act(sent: Sent) -> ScriptStep:
        return Response(413, {}, b"too long") if "long" in "".join(texts_of(sent)) else classes(sent)

    agent, local = agent_of(Scene(act).server)
    outcomes = await local.decide([request("good", 0), request("bad", 1), request("long", 2)])
    assert [outcome.to for outcome in outcomes] == ["results", "doubtful", "fallback"]
    assert decode_result(outcomes[0].value or b"").model == "small@1"
    facts = decode_facts(Record(outcomes[2].value, headers=outcomes[2].headers))
    assert facts.reason == "model_error"
    await agent.close()


class Held:
    """A batch that tells what became of it."""

    def __init__(self, records: list[Any]) -> None:
        self.records, self.wanted, self.told = records, True, list[str]()

    def resolve(self, outcomes: Sequence[Any]) -> None:
        self.told.append(f"resolved {len(outcomes)}")

    def release(self) -> None:
        self.told.append("released")

    def called_before(self, position: int) -> bool:
        return False

    def called(self, position: int) -> None:
        return

    def __enter__(self) -> Held:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.told.append("failed" if error else "left")


@on_virtual_time
async def test_an_outage_is_no_failure_of_a_batch_and_makes_no_batch_smaller() -> None:
    scene = Scene(failing(20, DOWN))
    agent, local = agent_of(scene.server)
    first, second = Held([request("good", 0)]), Held([request("bad", n) for n in range(16)])

    async def batches() -> Any:
        yield first
        agent.owns(1, 1)
        yield second

    running = asyncio.ensure_future(agent.run(batches()))
    await asyncio.sleep(1)
    assert "does not answer" in agent.measurements()["trouble"]
    agent.leaves()
    await running
    assert (first.told, second.told) == (["released", "left"], ["resolved 16", "left"])
    assert local.appetite.inputs == 16, "as before"
    await agent.close()


@on_virtual_time
async def test_the_learned_score_is_made_of_what_the_server_says_besides() -> None:
    learned = DeferralModel("classes", ("no", "yes"), (0.1, -0.1), (), False, *_numbers())
    plain, scene = Scene(classes), Scene(classes, detailed=True)
    assert [key for key, _ in plain.server.unreadable(learned)] == ["protocol"]
    assert scene.server.unreadable(learned) == []
    found = await scene.server.answers(["good", "bad"], learned)
    import numpy as np

    expected = learned.of_classes(np.array([[0.1, 0.9], [0.8, 0.2]]))
    assert [each.score for each in found if isinstance(each, Answer)] == pytest.approx(expected.tolist())


def _numbers() -> Any:
    from bisupervised.agents.supervision.learned.deferral import _count

    features = _count(2, 0, length=False)
    row = tuple(0.1 * n for n in range(1, features + 1))
    return (0.0,) * features, (1.0,) * features, (0.2, *row), (0.1, *row[::-1]), 100


# settings

SERVED = """
[local]
url = "http://127.0.0.1:11434"
protocol = "openai_chat"
model = "qwen"
threshold = 0.8
labels = ["no", "yes"]
[local.openai_chat]
answer = "label"
[remote]
url = "http://127.0.0.1:8080"
model = "large"
threshold = 0.5
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(text)
    return path


def test_a_server_is_made_of_its_settings(tmp_path: Path) -> None:
    configuration = load_configuration(written(tmp_path, SERVED), {"BISUPERVISED_LOCAL__API_KEY": "secret"})
    local = configuration.settings.local
    assert (local.supervisor, local.output, local.call_inputs, local.api_key_scheme) == (
        "token_mean",
        "tokens",
        1,
        "Bearer",
    )
    made = make_local(configuration.settings, configuration.terms, lambda: None)
    assert (made.model_name, made.labels) == ("qwen", ("no", "yes"))
    made.close()


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (
            ('url = "http://127.0.0.1:11434"\n', ""),
            ["[local] url: is missing: the address of the server that protocol speaks to"],
        ),
        (('model = "qwen"\n', ""), ["[local] model: is missing: "]),
        (('"openai_chat"\nmodel', '"open_inferens"\nmodel'), ["[local] protocol: must be one of open_inference, "]),
        (('labels = ["no", "yes"]\n', ""), ['[local] labels: must be given for [local.openai_chat] answer = "label"']),
        (("threshold = 0.8", "threshold = 0.8\ncall_inputs = 4"), ["[local] call_inputs: must be 1: a call takes one"]),
        (("threshold = 0.8", "threshold = 0.8\ndevice = 'cuda'"), ["[local] device: has no use with "]),
        (("threshold = 0.8", "threshold = 0.8\noutput = 'scored'"), ["[local] output: must be left out: the protocol"]),
        (("threshold = 0.8", "threshold = 0.8\nsupervisor = 'pcs2'"), ["[local] supervisor: must be one of agreement"]),
        (("threshold = 0.8", "threshold = 0.8\nsamples = 3"), ["[local] samples: must be 1: a server is asked once"]),
        (("threshold = 0.8", "threshold = 0.8\ndatatype = 'BYTES'"), ['[local] datatype: belongs to protocol = "open']),
        (("threshold = 0.8", "threshold = 0.8\napi_key = 'x'"), ["[local] api_key: must not stand in the file; set "]),
    ],
)
def test_what_is_wrong_with_a_server_is_said(tmp_path: Path, change: tuple[str, str], faults: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(written(tmp_path, SERVED.replace(*change)), {})
    assert len(caught.value.faults) == len(faults), caught.value.faults
    for fault, begin in zip(caught.value.faults, faults, strict=True):
        assert fault.startswith(begin)


def test_keys_of_a_server_without_one_are_faults(tmp_path: Path) -> None:
    text = '[local]\nmodel = "a:b"\nthreshold = 0.5\nurl = "http://h"\nin_flight = 3\n'
    with pytest.raises(ConfigurationError) as caught:
        load_settings(written(tmp_path, text + SERVED[SERVED.index("[remote]") :]), {})
    assert sorted(caught.value.faults) == [
        "[local] in_flight: has no use without protocol",
        "[local] url: has no use without protocol",
    ]


EXAMPLES = Path(__file__).parents[2] / "examples" / "local"


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.toml")))
def test_the_examples_load(name: str) -> None:
    load_settings(EXAMPLES / f"{name}.toml", {})
