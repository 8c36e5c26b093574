from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.settings.file import KNOWN, load_settings
from bisupervised.streams.settings.secret import one_word
from bisupervised.streams.settings.tables import Settings

LINES = {
    "local": {"model": "model = 'my_model:load'", "threshold": "threshold = 0.9"},
    "remote": {
        "url": "url = 'http://127.0.0.1:8080'",
        "model": "model = 'large'",
        "threshold": "threshold = 0.5",
    },
}


def with_line(table: str, line: str) -> str:
    """The required settings, and one more line in its table or in place of the one there."""
    lines = {name: dict(keys) for name, keys in LINES.items()}
    if table:
        lines.setdefault(table, {})[line.split("=")[0].strip()] = line
    return "\n".join("\n".join([f"[{name}]", *keys.values()]) for name, keys in lines.items())


REQUIRED = with_line("", "")


def write(folder: Path, text: str) -> Path:
    path = folder / "bisupervised.toml"
    path.write_text(text)
    return path


def faults_of(path: Path | None, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, env or {})
    return list(caught.value.faults)


def test_what_is_required_is_enough(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, REQUIRED), {})
    assert settings.local.model == "my_model:load"
    assert settings.remote.threshold == 0.5
    assert settings.stream.delivery == "exactly_once"
    assert settings.topics.name_of("fallback") == "fallback"
    assert settings.log.as_json is False


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    env = {
        "BISUPERVISED_LOCAL__THRESHOLD": "0.25",
        "BISUPERVISED_REMOTE__LABELS": '["cat", "dog"]',
        "BISUPERVISED_LOG__JSON": "true",
        "BISUPERVISED_LOG__LEVEL": "debug",
        "BISUPERVISED_NAME": "other",
        "BISUPERVISED_CACHE": "belongs to somebody else",
    }
    settings = load_settings(write(tmp_path, REQUIRED), env)
    assert settings.local.threshold == 0.25
    assert settings.local.model == "my_model:load", "the rest of the table stays the file's"
    assert settings.remote.labels == ("cat", "dog")
    assert settings.log.as_json is True
    assert settings.log.level == "DEBUG"
    assert settings.name == "other"


def test_the_environment_alone_is_enough() -> None:
    env = {
        "BISUPERVISED_LOCAL__MODEL": "net.pt2",
        "BISUPERVISED_LOCAL__THRESHOLD": "0.9",
        "BISUPERVISED_REMOTE__URL": "https://example.org/base/",
        "BISUPERVISED_REMOTE__MODEL": "large",
        "BISUPERVISED_REMOTE__THRESHOLD": "1",
    }
    assert load_settings(None, env).remote.url == "https://example.org/base"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BISUPERVISED_LOCAL__THRESHOLD", "0.125")
    assert load_settings(write(tmp_path, REQUIRED)).local.threshold == 0.125


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, REQUIRED), {})
    with pytest.raises(ValueError, match="frozen"):
        settings.local.threshold = 0.1
    with pytest.raises(ValueError, match="frozen"):
        settings.name = "other"


@pytest.mark.parametrize(
    ("table", "line", "fault"),
    [
        ("local", "threshold = 'x'", "[local] threshold: must be between 0 and 1 (got 'x')"),
        ("local", "threshold = 1.5", "[local] threshold: must be between 0 and 1 (got 1.5)"),
        ("local", "threshold = -0.1", "[local] threshold: must be between 0 and 1 (got -0.1)"),
        ("local", "threshold = true", "[local] threshold: must be between 0 and 1 (got True)"),
        ("remote", "threshold = nan", "[remote] threshold: must be between 0 and 1 (got nan)"),
        (
            "local",
            "model = 'net.pth'",
            "[local] model: must be module:callable, a folder such as ./net.pth, or a file ending in .pt2, .pt, .ts or "
            ".onnx (got 'net.pth')",
        ),
        (
            "local",
            "device = 'gpu'",
            "[local] device: must be auto, cpu, cuda, mps, or a GPU by its number, as in \"cuda:1\" (got 'gpu')",
        ),
        ("local", "labels = 'cat'", "[local] labels: must be a list (got 'cat')"),
        ("local", "labels = ['cat', 3]", "[local] labels: item 2 must be text (got 3)"),
        (
            "local",
            "supervisor = 'mystery'",
            "[local] supervisor: must be one of agreement, max_softmax, pcs, softmax_entropy (got 'mystery')",
        ),
        (
            "remote",
            "supervisor = 'mystery'",
            "[remote] supervisor: must be one of max_softmax, pcs, softmax_entropy (got 'mystery')",
        ),
        (
            "local",
            "output = 'tokens'",
            "[local] supervisor: must be one of token_first, token_mean, token_min, token_product "
            "for output = \"tokens\" (got 'max_softmax')",
        ),
        (
            "local",
            "output = 'samples'\nsupervisor = 'token_min'",
            "[local] supervisor: must be one of agreement for output = \"samples\" (got 'token_min')",
        ),
        ("local", "temperature = 0", "[local] temperature: must be more than 0 (got 0)"),
        ("remote", "temperature = inf", "[remote] temperature: must be a finite number (got inf)"),
        ("local", "samples = 0", "[local] samples: must be at least 1 (got 0)"),
        ("remote", "batch_size = 0", "[remote] batch_size: must be at least 1 (got 0)"),
        ("remote", "batch_size = 1.5", "[remote] batch_size: must be a whole number (got 1.5)"),
        ("remote", "batch_size = true", "[remote] batch_size: must be a number, not true or false (got True)"),
        ("remote", "timeout_s = 'soon'", "[remote] timeout_s: must be a number of seconds (got 'soon')"),
        ("remote", "timeout_s = 0", "[remote] timeout_s: must be more than 0 (got 0)"),
        ("remote", "deadline_s = inf", "[remote] deadline_s: must be a finite number of seconds (got inf)"),
        ("remote", "model = ''", "[remote] model: must not be empty (got '')"),
        ("remote", "url = 'ftp://x'", "[remote] url: must be a URL such as http://127.0.0.1:8080 (got 'ftp://x')"),
        (
            "remote",
            "while_open = 'panic'",
            "[remote] while_open: must be 'wait', 'fallback' or 'accept_local' (got 'panic')",
        ),
        ("remote", "tokens_per_minute = -1", "[remote] tokens_per_minute: must be at least 0 (got -1)"),
        ("remote", "breaker_failures = 0", "[remote] breaker_failures: must be at least 1 (got 0)"),
        ("stream", "delivery = 'twice'", "[stream] delivery: must be 'exactly_once' or 'at_least_once' (got 'twice')"),
        ("stream", "transaction_timeout_s = 901", "[stream] transaction_timeout_s: must be at most 900 (got 901)"),
        ("stream", "window_records = 30000", "[stream] window_records: must be at most 24000 (got 30000)"),
        (
            "kafka",
            "bootstrap_servers = 'here'",
            "[kafka] bootstrap_servers: must be host:port, several separated by commas (got 'here')",
        ),
        (
            "topics",
            "results = 'a b'",
            "[topics] results: must be 1 to 249 letters, digits, dots, hyphens and underscores (got 'a b')",
        ),
        ("web", "host = 'here'", "[web] host: must be an IP address, or localhost (got 'here')"),
        ("web", "port = 70000", "[web] port: must be at most 65535 (got 70000)"),
        ("web", "image_shape = [8]", "[web] image_shape: must be [height, width] or [height, width, 3]"),
        ("web", "token = 'abc'", "[web] token: must not stand in the file; set BISUPERVISED_WEB__TOKEN, or token_file"),
        ("web", "token_file = '/nowhere'", "[web] token_file: cannot be read: No such file or directory"),
        ("log", "json = 'perhaps'", "[log] json: must be true or false (got 'perhaps')"),
        ("local", "threshhold = 1", "[local] threshhold: unknown key; did you mean threshold?"),
        ("local", "drain_s = 1", "[local] drain_s: unknown key; it belongs in [stream]"),
        ("local", "zzz = 1", "[local] zzz: unknown key"),
        ("locl", "threshold = 1", "locl: unknown table; did you mean [local]?"),
        ("Budget", "calls = 1", "Budget: is not known; write budget, in lower case"),
        ("LOCAL", "threshold = 1", "LOCAL: is not known; write local, in lower case"),
    ],
)
def test_a_fault_says_where_and_what(tmp_path: Path, table: str, line: str, fault: str) -> None:
    assert faults_of(write(tmp_path, with_line(table, line))) == [fault]


@pytest.mark.parametrize(
    ("table", "lines", "fault"),
    [
        ("stream", "drain_s = 60", "[stream] drain_s: must be below [kafka] rebalance_timeout_s (got 60.0 and 60.0)"),
        (
            "topics",
            "min_insync_replicas = 2",
            "[topics] min_insync_replicas: must be at most replication_factor (got 2 and 1)",
        ),
        (
            "stream",
            "window_bytes = 1000",
            "[stream] window_bytes: must be at least [topics] max_message_bytes (got 1000 and 1048588)",
        ),
        (
            "stream",
            "commit_interval_ms = 15000",
            "[stream] commit_interval_ms: must be below transaction_timeout_s (got 15000 and 10.0)",
        ),
        (
            "local",
            "batch_size = 10001",
            "[local] batch_size: must be at most [stream] window_records (got 10001 and 10000)",
        ),
        (
            "remote",
            "batch_size = 10001",
            "[remote] batch_size: must be at most [stream] window_records (got 10001 and 10000)",
        ),
        (
            "local",
            "batch_wait_ms = 60000",
            "[local] batch_wait_ms: must be below predict_timeout_s (got 60000 and 60.0)",
        ),
        ("remote", "batch_wait_ms = 30000", "[remote] batch_wait_ms: must be below timeout_s (got 30000 and 30.0)"),
        ("remote", "deadline_s = 29", "[remote] deadline_s: must be at least timeout_s (got 29.0 and 30.0)"),
        ("remote", "backoff_first_s = 9", "[remote] backoff_first_s: must be at most backoff_most_s (got 9.0 and 8.0)"),
        ("remote", "in_flight = 3", "[remote] in_flight: must be at least [topics] partitions (got 3 and 4)"),
        (
            "remote",
            "requests_per_minute = 3",
            "[remote] requests_per_minute: must be 0 or at least [topics] partitions (got 3.0 and 4)",
        ),
        (
            "remote",
            "terminal_cool_down_s = 9",
            "[remote] terminal_cool_down_s: must be at least breaker_cool_down_s (got 9.0 and 10.0)",
        ),
        ("topics", "answers = 'doubtful'", "[topics] answers: must differ from doubtful (got 'doubtful' for both)"),
        (
            "local",
            "supervisor = 'agreement'",
            '[local] samples: must be at least 2 for supervisor = "agreement" (got 1)',
        ),
        (
            "local",
            "samples = 5",
            '[local] samples: must be 1 unless supervisor = "agreement" judges class outputs (got 5)',
        ),
        (
            "local",
            "output = 'samples'\nsupervisor = 'agreement'\nsamples = 5",
            '[local] samples: must be 1 unless supervisor = "agreement" judges class outputs (got 5)',
        ),
        (
            "local",
            "output = 'probabilities'\ntemperature = 2",
            '[local] temperature: must be 1 unless output = "logits", and for supervisor = "agreement" (got 2.0)',
        ),
        (
            "local",
            "samples = 5\nsupervisor = 'agreement'\ntemperature = 2",
            '[local] temperature: must be 1 unless output = "logits", and for supervisor = "agreement" (got 2.0)',
        ),
        (
            "remote",
            "temperature = 2",  # its output is probabilities unless said otherwise
            '[remote] temperature: must be 1 unless output = "logits", and for supervisor = "agreement" (got 2.0)',
        ),
    ],
)
def test_settings_that_cannot_work_together(tmp_path: Path, table: str, lines: str, fault: str) -> None:
    assert faults_of(write(tmp_path, with_line(table, lines))) == [fault]


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    text = """
    [local]
    threshold = 2
    [remote]
    url = "http://127.0.0.1"
    bach_size = 3
    [topics]
    results = "fallback"
    [stream]
    drain_s = 99
    """
    env = {"BISUPERVISED_REMOTE__TRIES": "many", "BISUPERVISED_REMOT__TRIES": "3"}
    assert set(faults_of(write(tmp_path, text), env)) == {
        "[local] model: is missing: module:callable; a folder of Hugging Face's format (./sentiment); or a file of "
        "ONNX (.onnx), torch.export (.pt2) or TorchScript (.pt, .ts); with protocol, the server's name for it",
        "[local] threshold: must be between 0 and 1 (got 2)",
        "[remote] bach_size: unknown key; did you mean batch_size?",
        "[remote] model: is missing: the server's name for its model",
        "[remote] threshold: is missing: score below this is rejected and goes to fallback",
        "[remote] tries: must be a whole number (got 'many'), from BISUPERVISED_REMOTE__TRIES",
        "BISUPERVISED_REMOT__TRIES: no table [remot]; did you mean [remote]?",
        "[topics] fallback: must differ from results (got 'fallback' for both)",
        "[stream] drain_s: must be below [kafka] rebalance_timeout_s (got 99.0 and 60.0)",
    }


def test_no_configuration_at_all_names_what_is_required() -> None:
    assert faults_of(None)[-1] == "--config: no file was named; `bisupervised config > my.toml` begins one"
    assert [fault.split(":")[0] for fault in faults_of(None)[:-1]] == [
        "[local] model",
        "[local] threshold",
        "[remote] url",
        "[remote] model",
        "[remote] threshold",
    ]


def test_a_faulty_table_is_no_source_of_contradictions(tmp_path: Path) -> None:
    text = f"kafka = 3\n{with_line('stream', 'drain_s = 80')}"
    assert faults_of(write(tmp_path, text)) == ["[kafka]: must be a table (got 3)"]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("model = 'm:load'\ndevice = 'cuda'", "[local] device: has no use with model = 'm:load': it decides"),
        ("model = 'm:load'\nthreads = 2", "[local] threads: has no use with model = 'm:load': it decides"),
        (
            "model = 'm.onnx'\ndtype = 'float16'",
            "[local] dtype: has no use with model = 'm.onnx': only a folder can be read in another",
        ),
        (
            "model = './folder'\noutput = 'probabilities'",
            '[local] output: must be logits: a folder puts out no others (got "probabilities")',
        ),
    ],
)
def test_where_a_model_computes_must_fit_the_model(tmp_path: Path, lines: str, told: str) -> None:
    assert faults_of(write(tmp_path, with_line("local", lines))) == [told]


@pytest.mark.parametrize(
    "lines",
    [
        "output = 'tokens'\nsupervisor = 'token_product'",
        "output = 'samples'\nsupervisor = 'agreement'",
        "output = 'probabilities'\nsupervisor = 'agreement'\nsamples = 20",
        "output = 'logits'\nsupervisor = 'pcs'\ntemperature = 1.5",
    ],
)
def test_scores_that_fit_what_the_model_puts_out(tmp_path: Path, lines: str) -> None:
    load_settings(write(tmp_path, with_line("local", lines)), {})


def test_a_faulty_output_hides_no_other_fault_and_invents_none(tmp_path: Path) -> None:
    (fault,) = faults_of(write(tmp_path, with_line("local", "output = 'token'\nsupervisor = 'token_min'")))
    assert fault.startswith("[local] output: must be 'logits', ")
    _, own = faults_of(write(tmp_path, with_line("local", "output = 'score'\nsupervisor = 'own'")))
    assert own.startswith("[local] supervisor: must be one of agreement, ")


def test_a_score_of_the_users_own_sets_its_own_scale(tmp_path: Path) -> None:
    text = with_line("local", "output = 'scored'\nsupervisor = 'margin'").replace("threshold = 0.9", "threshold = -3.5")
    assert load_settings(write(tmp_path, text), {}).local.threshold == -3.5


def test_a_score_of_the_remotes_own_does_so_too(tmp_path: Path) -> None:
    text = with_line("remote", "output = 'scored'\nsupervisor = 'margin'").replace(
        "threshold = 0.5", "threshold = -3.5"
    )
    settings = load_settings(write(tmp_path, text), {})
    assert (settings.remote.threshold, settings.remote.score_output) == (-3.5, "score")


def test_predictions_and_scores_are_two_outputs(tmp_path: Path) -> None:
    text = with_line("remote", "output = 'scored'\noutput_name = 'score'")
    fault = "[remote] score_output: must differ from output_name (got 'score' for both)"
    assert faults_of(write(tmp_path, text)) == [fault]
    assert (
        load_settings(write(tmp_path, with_line("remote", "output_name = 'score'")), {}).remote.output_name == "score"
    )


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("remote", "api_key = 'hunter2'"),
        ("remote", "timeout_s = 'password=hunter2'"),
        ("remote", "url = 'http://me:hunter2@example.org'"),
        ("kafka", "bootstrap_servers = 'me:hunter2@example.org'"),
        ("local", "labels = { secret = 'hunter2' }"),
    ],
)
def test_a_secret_is_never_repeated(tmp_path: Path, table: str, line: str) -> None:
    path = write(tmp_path, with_line(table, line))
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {})
    seen: BaseException | None = caught.value
    while seen is not None:
        assert "hunter2" not in str(seen), "nor in what it was raised from"
        seen = seen.__cause__ or seen.__context__


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    (fault,) = faults_of(write(tmp_path, with_line("remote", f"timeout_s = '{'x' * 500}'")))
    assert len(fault) < 120


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.toml"
    assert faults_of(path) == [f"{path}: cannot be read: No such file or directory"]


def test_a_file_that_is_not_toml_names_the_line(tmp_path: Path) -> None:
    (fault,) = faults_of(write(tmp_path, "[local]\nmodel = = 3\n"))
    assert "is not TOML" in fault
    assert "line 2" in fault


def test_a_file_that_is_not_text_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bisupervised.toml"
    path.write_bytes(b"# fine\n# \xff\n")
    assert faults_of(path) == [f"{path}: is not UTF-8 text (at line 2)"]


def test_every_key_is_described() -> None:
    undescribed = [f"[{table}] {key}" for table, keys in KNOWN.items() for key, text in keys.items() if not text]
    assert not undescribed
    assert "\n" not in "".join(text for keys in KNOWN.values() for text in keys.values())


def test_it_reads_nothing_behind_the_callers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "from the environment")
    built: Any = Settings(
        local={"model": "a:b", "threshold": 0.5},  # type: ignore[arg-type]  # pydantic makes a table of it
        remote={"url": "http://h", "model": "m", "threshold": 0.5},  # type: ignore[arg-type]  # as above
    )
    assert built.name == "bisupervised"


@pytest.mark.parametrize(
    ("table", "line", "fault"),
    [
        (
            "kafka",
            "session_timeout_s = 61",
            "[kafka] session_timeout_s: must be at most rebalance_timeout_s (got 61.0 ",
        ),
        (
            "stream",
            "watchdog_s = 15",
            "[stream] watchdog_s: must be above [kafka] request_timeout_s (got 15.0 and 15.0)",
        ),
        ("stream", "fetch_records = 10001", "[stream] fetch_records: must be at most window_records (got 10001 and "),
        (
            "topics",
            "retention_hours = 0.1",
            "[topics] retention_hours: must be longer than [remote] terminal_cool_down_s (got 0.1 and 600.0)",
        ),
        ("request", "id = 'input'", "[request] id: must differ from input (got 'input' for both)"),
        ("request", "deadline_ms = 'input'", "[request] deadline_ms: must differ from input (got 'input' for both)"),
        ("request", "deadline_ms = 'id'", "[request] deadline_ms: must differ from id (got 'id' for both)"),
        ("local", "labels = ['a', 'b', 'a']", "[local] labels: must differ from each other"),
        ("remote", "labels = ['a', 'a']", "[remote] labels: must differ from each other"),
    ],
)
def test_more_that_cannot_work_together(tmp_path: Path, table: str, line: str, fault: str) -> None:
    [told] = faults_of(write(tmp_path, with_line(table, line)))
    assert told.startswith(fault)


def test_labels_of_an_output_without_classes(tmp_path: Path) -> None:
    text = REQUIRED.replace("[local]", "[local]\noutput = 'scored'\nlabels = ['a', 'b']")
    assert faults_of(write(tmp_path, text)) == [
        '[local] labels: have no use with output = "scored", which has no classes'
    ]


def test_a_header_that_is_the_keys(tmp_path: Path) -> None:
    text = REQUIRED + "\napi_key_header = 'X-Team'\nheaders = { x-team = 'a' }"
    assert faults_of(write(tmp_path, text)) == [
        "[remote] headers: must not hold X-Team, which is [remote] api_key_header"
    ]


@pytest.mark.parametrize(
    ("table", "line", "fault"),
    [
        ("remote", "timeout_s = '30s'", "[remote] timeout_s: must be a number of seconds (got '30s')"),
        (
            "local",
            "batch_wait_ms = '5 ms'",
            "[local] batch_wait_ms: must be a whole number of milliseconds (got '5 ms')",
        ),
        ("topics", "retention_hours = '7d'", "[topics] retention_hours: must be a number of hours (got '7d')"),
        ("remote", "batch_bytes = '1MB'", "[remote] batch_bytes: must be a whole number of bytes (got '1MB')"),
        ("remote", "tries = 'six'", "[remote] tries: must be a whole number (got 'six')"),
        ("remote", "timeout_ms = 30000", "[remote] timeout_ms: unknown key; did you mean timeout_s?"),
        ("topics", "retention_days = 7", "[topics] retention_days: unknown key; did you mean retention_hours?"),
    ],
)
def test_a_fault_names_the_unit(tmp_path: Path, table: str, line: str, fault: str) -> None:
    assert faults_of(write(tmp_path, with_line(table, line))) == [fault]


def test_the_token_of_the_page_comes_from_the_environment_or_a_file_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    path = write(tmp_path, with_line("web", f"token_file = '{tmp_path / 'token'}'"))
    assert one_word(load_settings(path, {}).web, "token") == "from-file"
    settings = load_settings(path, {"BISUPERVISED_WEB__TOKEN": "from-env"})
    assert one_word(settings.web, "token") == "from-env"
    assert "from-env" not in repr(settings)
    assert one_word(load_settings(write(tmp_path, REQUIRED), {}).web, "token") is None
    fault = "BISUPERVISED_WEB__TOKEN: must be one word"
    assert faults_of(path, {"BISUPERVISED_WEB__TOKEN": "two words"}) == [fault]


@pytest.mark.parametrize(
    ("remote", "fault"),
    [
        ("", "[budget] money: needs a price: set [remote] price_per_call or "),
        ("price_per_call = 2.0", "[budget] money: must be at least [remote] price_per_call (got 1.0 and 2.0)"),
        (
            "price_per_million_completion_tokens = 2.0\nprotocol = 'generic_json'\nmost_answer_tokens = 0",
            "[remote] most_answer_tokens: is missing",
        ),
        ("price_per_call = 0.5", None),
        ("price_per_million_completion_tokens = 2.0\nprotocol = 'openai_chat'", None),
    ],
)
def test_a_budget_of_money_must_know_what_a_call_can_cost(tmp_path: Path, remote: str, fault: str | None) -> None:
    generic = "\n[remote.generic_json]\nbody = '{input}'\nprediction = 'a'" if "generic" in remote else ""
    text = f"{REQUIRED}\n{remote}{generic}\n[budget]\nmoney = 1.0"
    try:
        load_settings(write(tmp_path, text), {})
        told: list[str] = []
    except ConfigurationError as error:
        told = list(error.faults)
    about = [line for line in told if "[budget]" in line or "most_answer_tokens" in line]
    assert [line.startswith(fault) for line in about] == [True] if fault else about == []


@pytest.mark.parametrize(
    ("tables", "environment", "faults"),
    [
        (
            "[audit]\nshare = 0.01",
            {},
            ["[audit] share: needs a secret: set BISUPERVISED_AUDIT__SECRET, or secret_file"],
        ),
        ("[audit]\nshare = 0.01", {"BISUPERVISED_AUDIT__SECRET": "s"}, []),
        ("[audit]\nshare = 0", {}, []),
        (
            "[audit]\nshare = 0.01\n[stream]\ndelivery = 'at_least_once'",
            {"BISUPERVISED_AUDIT__SECRET": "s"},
            ['[audit] share: needs [stream] delivery = "exactly_once": no outcome without its audit'],
        ),
        (
            "[audit]\nshare = 1.5\nretention_hours = 5\nlabel_within_hours = 6",
            {},
            ["[audit] share: must be at most 1", "[audit] retention_hours: must be longer than label_within_hours"],
        ),
        ("[audit]\nshare = 0.1\nsecret = 'x'", {}, ["[audit] secret: must not stand in the file"]),
        (
            "[audit]\nshare = 0.1\n[topics]\naudits = 'labels'",
            {"BISUPERVISED_AUDIT__SECRET": "s"},
            ["[topics] labels: must differ from audits"],
        ),
        ("[audit]\nshare = 0.01\nshadow_share = 0.01", {"BISUPERVISED_AUDIT__SECRET": "s"}, []),
        ("[audit]\nshadow_share = 0.01", {"BISUPERVISED_AUDIT__SECRET": "s"}, []),
        (
            "[audit]\nshadow_share = 0.01\n[stream]\ndelivery = 'at_least_once'",
            {},
            ["[audit] shadow_share: needs a secret", '[audit] shadow_share: needs [stream] delivery = "exactly_once"'],
        ),
        (
            "[audit]\nshare = 0.02\nshadow_share = 0.01\nshadow_within_hours = 168",
            {"BISUPERVISED_AUDIT__SECRET": "s"},
            [
                "[audit] shadow_share: must be 0 or at least share",
                "[audit] shadow_within_hours: must be below [topics] retention_hours (got 168 and 168)",
            ],
        ),
        ("[audit]\nshare = 0.02\nshadow_within_hours = 168", {"BISUPERVISED_AUDIT__SECRET": "s"}, []),
        (
            "[audit]\nshadow_share = 0.01\n[budget]\ncalls = 9",
            {"BISUPERVISED_AUDIT__SECRET": "s"},
            ["[audit] budget_share: must leave a call of [budget] calls to each side (got 0.1 of 9)"],
        ),
        ("[audit]\nshadow_share = 0.01\n[budget]\ncalls = 10", {"BISUPERVISED_AUDIT__SECRET": "s"}, []),
        (
            "[audit]\nshadow_share = 0.01\n[budget]\nmoney = 9",
            {"BISUPERVISED_AUDIT__SECRET": "s", "BISUPERVISED_REMOTE__PRICE_PER_CALL": "1"},
            ["[audit] budget_share: must leave the price of a call of [budget] money to each side (got 0.1 of 9)"],
        ),
    ],
)
def test_an_audit_needs_a_secret_and_transactions(
    tmp_path: Path, tables: str, environment: dict[str, str], faults: list[str]
) -> None:
    try:
        load_settings(write(tmp_path, f"{REQUIRED}\n{tables}"), environment)
        told: list[str] = []
    except ConfigurationError as error:
        told = list(error.faults)
    for fault in faults:
        assert [line for line in told if line.startswith(fault)], told
    assert bool(told) == bool(faults)
