from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bisupervised.agents.remote.credentials import Authorized
from bisupervised.agents.remote.protocols.anthropic.messages import AnthropicMessages
from bisupervised.agents.remote.protocols.generic_json import GenericJson
from bisupervised.agents.remote.protocols.label_forms import LabelForm
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.protocols.openai_chat import OpenAIChat
from bisupervised.agents.remote.protocols.tei import Tei
from bisupervised.agents.remote.transport import ScriptedTransport
from bisupervised.schemas.codec import encode_facts
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.schemas.records import FACTS_HEADER, Facts, Source
from bisupervised.streams import cli
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.keys.remote import RemoteSettings
from bisupervised.streams.settings.secret import one_word
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker.making import make_agent
from bisupervised.streams.worker.protocols import make_protocol
from support.configurations import configuration_of
from support.records import Record
from support.remotes import answered, chat_completion, choice

HEAD = """
[local]
model = "my_model:load"
threshold = 0.9
[remote]
url = "http://127.0.0.1:8080"
threshold = 0.5
"""
CHAT = HEAD + 'protocol = "openai_chat"\nmodel = "large"\n'
MESSAGES = HEAD + 'protocol = "anthropic_messages"\nmodel = "m"\n'
GENERIC = HEAD + 'protocol = "generic_json"\n'
TABLE = '\n[remote.generic_json]\nbody = { a = "{input}" }\nprediction = "b"\n'
KEY = "sk-canary-0123456789abcdef"
VARIABLE = "BISUPERVISED_REMOTE__API_KEY"


def load(folder: Path, text: str, env: dict[str, str] | None = None) -> Settings:
    path = folder / "bisupervised.toml"
    path.write_text(text)
    return load_settings(path, env or {})


def faults_of(folder: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text, env)
    return list(caught.value.faults)


@pytest.mark.parametrize(
    ("text", "made", "supervisor", "batch_size"),
    [
        (HEAD + 'model = "large"', OpenInference, "max_softmax", 8),
        (CHAT, OpenAIChat, "token_mean", 1),
        (MESSAGES, AnthropicMessages, "self_reported", 1),
        (HEAD + 'protocol = "tei"', Tei, "max_softmax", 8),
        (GENERIC + TABLE, GenericJson, "score", 1),
        (GENERIC + TABLE.replace("{input}", "{inputs}"), GenericJson, "score", 8),
    ],
)
def test_a_protocol_and_what_is_usual_with_it(
    tmp_path: Path, text: str, made: type, supervisor: str, batch_size: int
) -> None:
    settings = load(tmp_path, text)
    assert type(make_protocol(settings.remote)) is made
    assert (settings.remote.supervisor, settings.remote.batch_size) == (supervisor, batch_size)


def test_a_protocol_of_the_users_own_gets_its_options(tmp_path: Path) -> None:
    ours = "bisupervised.agents.remote.protocols.open_inference:OpenInference"
    text = f'{HEAD}protocol = "{ours}"\nsupervisor = "mine"\n[remote.options]\nmodel = "big"\ninput_name = "x"\n'
    settings = load(tmp_path, text.replace("threshold = 0.5", "threshold = -7"))
    assert make_protocol(settings.remote) == OpenInference("big", "x")
    assert (settings.remote.supervisor, settings.remote.threshold) == ("mine", -7.0)


@pytest.mark.parametrize(
    ("remote", "own"),
    [
        ({"protocol": "open_inference", "model": "m"}, "pcs"),
        ({"protocol": "tei"}, "pcs"),
        ({"protocol": "openai_chat", "model": "m"}, "token_min"),
    ],
)
async def test_a_joint_supervisor_leaves_a_protocol_its_own_score(remote: dict[str, Any], own: str) -> None:
    """`joint` judges an answer by its own score and the local one, and that own score the protocol reads."""
    given = remote | {"url": "http://127.0.0.1", "supervisor": "joint", "joint_of": own, "threshold": 0.5}
    settings = Settings.model_validate({"local": {"model": "my_model:load", "threshold": 0.5}, "remote": given})
    protocol: Any = make_protocol(settings.remote)
    assert own == (protocol.reading.score if isinstance(protocol, OpenInference) else protocol.score)
    agent: Any = make_agent(configuration_of(settings), "remote", lambda: None)
    assert agent._remote._supervisor == own, "what the answers' records say"


@pytest.mark.parametrize(
    ("protocol", "own"), [("open_inference", "max_softmax"), ("openai_chat", "token_mean"), ("a.b:c", "score")]
)
def test_the_usual_own_score_under_a_joint_supervisor(protocol: str, own: str) -> None:
    remote = RemoteSettings(url="http://127.0.0.1", protocol=protocol, model="m", supervisor="joint", threshold=0.5)
    assert remote.own_score == own


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            HEAD + 'protocol = "grpc"',
            "[remote] protocol: must be one of open_inference, openai_chat, anthropic_messages, tei, generic_json, or "
            "module:callable (got 'grpc')",
        ),
        (HEAD + 'protocol = "openai_chat"', "[remote] model: is missing: the server's name for its model"),
        (
            CHAT + 'input_name = "x"',
            '[remote] input_name: belongs to protocol = "open_inference" (protocol is "openai_chat")',
        ),
        (
            CHAT + "temperature = 2",
            '[remote] temperature: belongs to protocol = "open_inference" (protocol is "openai_chat")',
        ),
        (
            HEAD + 'model = "m"\nsupervisor = "agreement"',
            "[remote] supervisor: must be one of max_softmax, pcs, softmax_entropy (got 'agreement')",
        ),
        (
            CHAT + "[remote.tei]\ntruncate = true",
            '[remote.tei]: belongs to protocol = "tei" (protocol is "openai_chat")',
        ),
        (
            CHAT + "[remote.options]\na = 1",
            '[remote.options]: are for a protocol of your own (protocol is "openai_chat")',
        ),
        (
            CHAT + 'supervisor = "max_softmax"',
            '[remote] labels: must be two or more for [remote] supervisor = "max_softmax"',
        ),
        (
            CHAT + 'supervisor = "label_softmax"\nlabels = ["yes"]',
            '[remote] labels: must be two or more for [remote] supervisor = "label_softmax"',
        ),
        (
            CHAT + 'supervisor = "pcs"\nlabels = ["a", "b"]\n[remote.openai_chat]\ntop_logprobs = 0',
            '[remote.openai_chat] top_logprobs: must be at least 1 for [remote] supervisor = "pcs"',
        ),
        (
            CHAT + 'supervisor = "first"',
            "[remote] supervisor: must be one of agreement, label_softmax, max_softmax, pcs, softmax_entropy, "
            "token_first, token_mean, token_min, token_product (got 'first')",
        ),
        (
            CHAT + '[remote.openai_chat]\nanswer = "label"',
            '[remote] labels: must be given for [remote.openai_chat] answer = "label"',
        ),
        (
            CHAT + '[remote.openai_chat]\nlabel_by = "grammar"',
            '[remote.openai_chat] label_by: has no use without answer = "label"',
        ),
        (
            CHAT + 'labels = ["a"]\n[remote.openai_chat]\nanswer = "label"\nresponse_format = "json_object"',
            '[remote.openai_chat] response_format: must be text for answer = "label", which makes a schema of its own '
            "(got 'json_object')",
        ),
        (CHAT + "exact_labels = true", "[remote] exact_labels: has no use without labels"),
        (
            CHAT + 'input_shape = "column"',
            '[remote] input_shape: belongs to protocol = "open_inference" (protocol is "openai_chat")',
        ),
        (
            CHAT + "threshold = 2".replace("threshold", "batch_size"),
            "[remote] batch_size: must be 1: a call takes one input (got 2)",
        ),
        (CHAT + 'prompt = "x"', "[remote] prompt: unknown key; it belongs in [remote.openai_chat]"),
        (CHAT + "[remote.openai_chat]\npromt = 'x'", "[remote.openai_chat] promt: unknown key; did you mean prompt?"),
        (
            CHAT + "[remote.openai_chat]\nprompt = '{input.x}'",
            "[remote.openai_chat] prompt: names {input.x}, and [remote] send lets out only the model's input, which is "
            "{input}",
        ),
        (
            CHAT + "[remote.openai_chat]\nsystem = 'About {context}'",
            "[remote.openai_chat] system: names {context}, and [remote] send lets out only the model's input, which is "
            "{input}",
        ),
        (
            CHAT + "send = ['question', 'context']",
            "[remote.openai_chat] prompt: names {input}, and [remote] send lets out only question, context",
        ),
        (CHAT + "send = ['']", "[remote] send: item 1 must not be empty (got '')"),
        (
            CHAT + "[remote.openai_chat]\nresponse_format = 'json_schema'",
            '[remote.openai_chat] json_schema: must be given for response_format = "json_schema"',
        ),
        (
            CHAT + "[remote.openai_chat]\njson_schema = {}",
            '[remote.openai_chat] json_schema: has no use without response_format = "json_schema"',
        ),
        (
            CHAT + "[remote.openai_chat]\nanswer_path = 'a'",
            "[remote.openai_chat] answer_path: has no use with response_format = \"text\" (got 'a')",
        ),
        (
            CHAT + "[remote.openai_chat]\nsamples = 3",
            '[remote.openai_chat] samples: must be 1 unless [remote] supervisor = "agreement" (got 3)',
        ),
        (
            CHAT + "supervisor = 'agreement'",
            '[remote.openai_chat] samples: must be at least 2 for [remote] supervisor = "agreement" (got 1)',
        ),
        (
            CHAT + "supervisor = 'agreement'\n[remote.openai_chat]\nsamples = 3\ntemperature = 0",
            '[remote.openai_chat] temperature: must be more than 0 for [remote] supervisor = "agreement" (got 0)',
        ),
        (
            CHAT + "supervisor = 'agreement'\n[remote.openai_chat]\nsamples = 3\nseed = 1\nsamples_by = 'calls'",
            "[remote.openai_chat] samples_by: with a seed, every call would give the same answer (got 'calls')",
        ),
        (
            CHAT + "[remote.openai_chat]\nextra = { messages = [], seed = 3 }",
            "[remote.openai_chat] extra: must not hold messages, seed: this is set elsewhere, or not supported",
        ),
        (
            CHAT + "[remote.openai_chat]\ntop_logprobs = 21",
            "[remote.openai_chat] top_logprobs: must be at most 20 (got 21)",
        ),
        (
            CHAT + "[remote.openai_chat]\npath = 'v1'",
            "[remote.openai_chat] path: must be a path such as /v1/predict (got 'v1')",
        ),
        (
            MESSAGES + "supervisor = 'first'",
            "[remote] supervisor: must be one of agreement, self_reported (got 'first')",
        ),
        (
            MESSAGES + "[remote.anthropic_messages]\nsamples = 3",
            '[remote.anthropic_messages] samples: must be 1 unless [remote] supervisor = "agreement" (got 3)',
        ),
        (
            MESSAGES + "supervisor = 'agreement'\n[remote.anthropic_messages]\nsamples = 3\ntemperature = 0",
            '[remote.anthropic_messages] temperature: must be more than 0 for [remote] supervisor = "agreement" '
            "(got 0)",
        ),
        (
            MESSAGES + "[remote.anthropic_messages]\nunwrap = true",
            '[remote.anthropic_messages] unwrap: has no use with [remote] supervisor = "self_reported"',
        ),
        (
            MESSAGES + "[remote.anthropic_messages]\nextra = { tools = [], system = 'x' }",
            "[remote.anthropic_messages] extra: must not hold system, tools: this is set elsewhere, or not supported",
        ),
        (
            MESSAGES + "[remote.anthropic_messages]\nextra = { thinking = {} }",
            '[remote.anthropic_messages] extra: thinking cannot be had with [remote] supervisor = "self_reported"',
        ),
        (
            MESSAGES + "[remote.anthropic_messages]\nsystem = 'About {context}'",
            "[remote.anthropic_messages] system: names {context}, and [remote] send lets out only the model's input, "
            "which is {input}",
        ),
        (MESSAGES + "batch_size = 2", "[remote] batch_size: must be 1: a call takes one input (got 2)"),
        (MESSAGES + "exact_labels = true", "[remote] exact_labels: has no use without labels"),
        (
            MESSAGES + "[remote.openai_chat]\nmax_tokens = 3",
            '[remote.openai_chat]: belongs to protocol = "openai_chat" (protocol is "anthropic_messages")',
        ),
        (
            HEAD + 'model = "m"\nsend = ["a"]',
            '[remote] send: protocol = "open_inference" sends the model\'s input alone',
        ),
        (
            HEAD + 'protocol = "tei"\nsend = ["a", "b", "c"]',
            '[remote] send: protocol = "tei" takes one field, or two for a pair (got 3)',
        ),
        (
            GENERIC + TABLE.replace('prediction = "b"', ""),
            "[remote.generic_json] prediction: is missing: path of the prediction in an answer, as in choices.0.text; "
            "'' takes all of it",
        ),
        (
            GENERIC + TABLE + "transform = 'tanh'",
            "[remote.generic_json] transform: must be one of identity, exp, 1-x, max, softmax-max, margin, "
            "token_first, token_mean, token_min, token_product (got 'tanh')",
        ),
        (
            GENERIC + TABLE.replace("{input}", "{inputs} {input}"),
            "[remote.generic_json] body: is made once for all {inputs} and cannot name {input}; item can",
        ),
        (
            GENERIC + TABLE.replace("{input}", "{secret}"),
            "[remote.generic_json] body: names {secret}, and [remote] send lets out only the model's input, which is "
            "{input}",
        ),
        (GENERIC + "headers = { 'a b' = 'c' }" + TABLE, "[remote] headers: must be names and values of HTTP headers"),
        (
            GENERIC + "headers = { Authorization = 'Bearer hunter2' }" + TABLE,
            f"[remote] headers: must not hold authorization: set {VARIABLE}, api_key_header and api_key_scheme",
        ),
        (
            GENERIC + "api_key = 'hunter2'" + TABLE,
            f"[remote] api_key: must not stand in the file; set {VARIABLE}, or api_key_file",
        ),
        (
            GENERIC + "api_key = 'two words'" + TABLE,
            f"[remote] api_key: must not stand in the file; set {VARIABLE}, or api_key_file",
        ),
        (
            GENERIC + "api_key_file = '/nowhere/key'" + TABLE,
            "[remote] api_key_file: cannot be read: No such file or directory",
        ),
    ],
)
def test_a_fault_says_where_and_what(tmp_path: Path, text: str, fault: str) -> None:
    assert faults_of(tmp_path, text) == [fault]


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = """
    local = { model = "my_model:load", threshold = 0.9 }
    [remote]
    protocol = "generic_json"
    api_key = "hunter2"
    datatype = "FP64"
    send = ["a"]
    [remote.generic_json]
    body = { a = "{b}" }
    method = "GET"
    [remote.tei]
    truncate = true
    """
    env = {"BISUPERVISED_REMOTE__GENERIC_JSON__PATH": "nowhere", VARIABLE: "two words"}
    assert set(faults_of(tmp_path, text, env)) == {
        "[remote] url: is missing: base address, such as http://127.0.0.1:8080",
        "[remote] threshold: is missing: score below this is rejected and goes to fallback",
        f"[remote] api_key: must not stand in the file; set {VARIABLE}, or api_key_file",
        '[remote] datatype: belongs to protocol = "open_inference" (protocol is "generic_json")',
        '[remote.tei]: belongs to protocol = "tei" (protocol is "generic_json")',
        "[remote.generic_json] method: must be 'POST', 'PUT' or 'PATCH' (got 'GET')",
        "[remote.generic_json] path: must be a path such as /v1/predict (got 'nowhere'), "
        "from BISUPERVISED_REMOTE__GENERIC_JSON__PATH",
        "[remote.generic_json] prediction: is missing: path of the prediction in an answer, as in choices.0.text; '' "
        "takes all of it",
        f"{VARIABLE}: must be one word",
    }


def test_a_fault_hides_no_other_and_makes_none_up(tmp_path: Path) -> None:
    """What was right for the protocol that was meant is not faulty beside its misspelt name."""
    text = CHAT.replace("openai_chat", "opnai_chat") + "supervisor = 'token_min'\ntries = 0\n"
    assert [fault.split(":")[0] for fault in faults_of(tmp_path, text)] == ["[remote] protocol", "[remote] tries"]


def test_the_environment_reaches_into_the_tables(tmp_path: Path) -> None:
    env = {"BISUPERVISED_REMOTE__OPENAI_CHAT__PROMPT": "Q: {input}"}
    settings = load(tmp_path, CHAT + "[remote.openai_chat]\nmax_tokens = 3", env)
    assert settings.remote.openai_chat is not None
    assert (settings.remote.openai_chat.prompt, settings.remote.openai_chat.max_tokens) == ("Q: {input}", 3)


def test_the_key_from_the_environment_wins_over_the_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    text = f"{CHAT}api_key_file = '{tmp_path / 'key'}'"
    assert one_word(load(tmp_path, text).remote, "api_key") == KEY
    assert one_word(load(tmp_path, text, {VARIABLE: "another"}).remote, "api_key") == "another"
    assert one_word(load(tmp_path, CHAT).remote, "api_key") is None


@pytest.mark.parametrize("content", [b"two words", b"a\nb", "schlüssel".encode()])
def test_a_file_without_a_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    faults = faults_of(tmp_path, f"{CHAT}api_key_file = '{tmp_path / 'key'}'")
    assert faults == ["[remote] api_key_file: must be one word"]


@pytest.mark.parametrize("source", ["environment", "file"])
def test_the_key_is_shown_nowhere(tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings = _keyed(tmp_path, source)
    agent: Any = make_agent(configuration_of(settings), "remote", lambda: None)
    transport = agent._remote._client._transport
    assert isinstance(transport, Authorized)
    assert transport._key.text == KEY, "it is there"
    seen = [repr(settings), str(settings), settings.model_dump_json(), repr(settings.remote.api_key)]
    seen += [
        repr(part) for part in (agent, agent._remote, agent._remote._client, agent._remote._client._policy, transport)
    ]
    assert KEY not in "".join([*seen, caplog.text])


def _keyed(folder: Path, source: str) -> Settings:
    (folder / "key").write_text(KEY)
    if source == "environment":
        return load(folder, CHAT, {VARIABLE: KEY})
    return load(folder, f"{CHAT}api_key_file = '{folder / 'key'}'")


async def test_a_worker_sends_what_the_settings_say(keyed_chat: Settings) -> None:
    transport = ScriptedTransport([answered(chat_completion(choice("yes")))])
    agent: Any = make_agent(configuration_of(keyed_chat), "remote", lambda: None)
    agent._remote._client._transport._inner = transport
    facts = (FACTS_HEADER, encode_facts(Facts(Source("requests", 0, 1))))
    record = Record(b'{"id": 1, "input": "a", "context": "b", "salary": "canary"}', headers=[facts])
    [outcome] = await agent._remote.answer([record])
    assert outcome.to == "answers"
    assert KEY not in str(outcome)
    [sent] = transport.sent
    assert (sent.headers["x-team"], sent.headers["x-key"]) == ("mine", f"Token {KEY}")
    assert b"canary" not in sent.body
    assert b"b: a" in sent.body


@pytest.fixture
def keyed_chat(tmp_path: Path) -> Settings:
    lines = ["send = ['input', 'context']", "headers = { x-team = 'mine' }", "api_key_header = 'X-Key'"]
    lines += ["api_key_scheme = 'Token'", "[remote.openai_chat]", "prompt = '{context}: {input}'"]
    return load(tmp_path, CHAT + "\n".join(lines), {VARIABLE: KEY})


@pytest.mark.parametrize("more", ["", "tries = 0\n"])
def test_check_does_not_print_the_key(
    tmp_path: Path, more: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bisupervised.toml"
    path.write_text(CHAT + more)
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setitem(sys.modules, "my_model", SimpleNamespace(load=dict))
    assert cli.run(["check", "--config", str(path)]) == (2 if more else 0)
    printed = capsys.readouterr()
    assert KEY not in printed.out + printed.err


def test_a_key_that_is_none_is_not_repeated(tmp_path: Path) -> None:
    assert "canary" not in str(faults_of(tmp_path, CHAT, {VARIABLE: "canary canary"}))
    assert "hunter2" not in str(faults_of(tmp_path, CHAT + "headers = 'x-team: hunter2'"))
    assert "hunter2" not in str(faults_of(tmp_path, CHAT + "headers = { x-team = ['hunter2'] }"))


def test_what_the_settings_say_about_labels_and_wrappings_reaches_the_protocol(tmp_path: Path) -> None:
    table = 'answer = "label"\nunwrap = true\nfinish_reasons = ["done"]\n'
    text = (
        CHAT + 'labels = ["a", "b"]\nsupervisor = "label_softmax"\nexact_labels = true\n[remote.openai_chat]\n' + table
    )
    chat: Any = make_protocol(load(tmp_path, text).remote)
    assert (chat.form, chat.unwrap, chat.finish_reasons) == (LabelForm("json_schema", learns=True), True, ("done",))
    assert (chat.exact, chat.score) == (True, "label_softmax")
    chat = make_protocol(load(tmp_path, text + 'label_by = "prompt"').remote)
    assert chat.form == LabelForm("prompt")
    for head, key in ((HEAD + 'protocol = "tei"\n', "tei"), (GENERIC, "generic_json")):
        other = head + 'labels = ["a"]\nexact_labels = true\n' + (TABLE if key == "generic_json" else "")
        made: Any = make_protocol(load(tmp_path, other).remote)
        assert made.exact is True
