"""What the settings of a score become."""

from __future__ import annotations

from pathlib import Path

import pytest
from bisupervised.agents.answers import ClassReading
from bisupervised.agents.local.model import Model
from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.protocols.open_inference import OpenInference
from bisupervised.agents.remote.reusing.cache import CachePolicy
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams import flow
from bisupervised.streams.plane.policy import PlanePolicy
from bisupervised.streams.settings.file import load_settings
from bisupervised.streams.settings.tables import Settings
from bisupervised.streams.worker import making
from support.configurations import configuration_of

TOML = """
[local]
model = "support.models:steady"
threshold = 0.5
output = "{output}"
supervisor = "{supervisor}"
{more}
[remote]
url = "http://127.0.0.1"
model = "large"
output = "logits"
supervisor = "pcs"
temperature = 3
threshold = 0.5
"""


def settings(folder: Path, output: str, supervisor: str, more: str = "") -> Settings:
    path = folder / "settings.toml"
    path.write_text(TOML.format(output=output, supervisor=supervisor, more=more))
    return load_settings(path, {})


@pytest.mark.parametrize(
    ("output", "supervisor", "more", "reading", "samples"),
    [
        ("logits", "softmax_entropy", "temperature = 2", ClassReading(True, (), "softmax_entropy", 2.0), 1),
        ("probabilities", "agreement", "samples = 7", ClassReading(False, (), "agreement"), 7),
        ("tokens", "token_first", "", ClassReading(False, (), "token_first"), 1),
    ],
)
def test_the_local_model_is_read_as_the_settings_say(
    tmp_path: Path, output: str, supervisor: str, more: str, reading: ClassReading, samples: int
) -> None:
    given = configuration_of(settings(tmp_path, output, supervisor, more))
    local = making.make_local(given.settings, given.terms, on_hang=lambda: None)
    assert isinstance(local._model, Model)
    assert (local._model.output, local._model.reading, local._model.samples) == (output, reading, samples)
    assert local._judge.supervisor.name == supervisor
    local.close()


@pytest.mark.parametrize(("written", "given"), [("", None), ("a text", "a text"), ("[0.5, 1]", [0.5, 1]), ("7", 7)])
def test_a_probe_is_json_or_text(written: str, given: object) -> None:
    assert making._probe(written) == given


def test_a_probe_that_cannot_be_asked_refuses_to_start(tmp_path: Path) -> None:
    given = settings(tmp_path, "probabilities", "max_softmax", "")
    remote = given.remote.model_copy(update={"probe": "a text, where numbers are wanted"})
    with pytest.raises(ConfigurationError, match=r"\[remote\] probe"):
        making.make_remote(given.model_copy(update={"remote": remote}), configuration_of(given).terms)


@pytest.fixture
def usual(tmp_path: Path) -> Settings:
    return settings(tmp_path, "logits", "pcs")


def remote_of(settings: Settings) -> Remote:
    return making.make_remote(settings, configuration_of(settings).terms)


async def test_the_remote_logits_are_divided_by_their_temperature(usual: Settings) -> None:
    protocol = remote_of(usual)._client.protocol
    assert isinstance(protocol, OpenInference)
    assert protocol.reading == ClassReading(True, (), "pcs", 3.0)


async def test_nothing_is_kept_unless_the_settings_say_so(usual: Settings) -> None:
    assert remote_of(usual)._reuse is None
    kept = usual.remote.model_copy(update={"cache_records": 9, "cache_bytes": 500, "cache_hours": 0.5})
    reuse = remote_of(usual.model_copy(update={"remote": kept}))._reuse
    assert reuse is not None
    assert reuse.cache._policy == CachePolicy(9, 500, 1800.0)


def policies_of(settings: Settings) -> dict[str, PlanePolicy]:
    given = configuration_of(settings)
    return {name: making.plane_policy(given, step) for name, step in flow.steps(settings).items()}


@pytest.mark.parametrize(("in_flight", "batch", "ahead"), [(32, 8, 64), (8, 1, 2), (4, 8, 8)])
def test_only_the_remote_agent_commits_how_far_it_hands_out(
    usual: Settings, in_flight: int, batch: int, ahead: int
) -> None:
    remote = usual.remote.model_copy(update={"in_flight": in_flight, "batch_size": batch})
    settings = usual.model_copy(update={"remote": remote})
    found = {name: policy.partition.window.ahead for name, policy in policies_of(settings).items()}
    assert found == {"local": 0, "remote": ahead, "remote_supervisor": 0}


def test_transactions_behind_a_remote_call_are_the_commit_interval_apart(tmp_path: Path) -> None:
    made = settings(tmp_path, "logits", "max_softmax", more="[stream]\ncommit_interval_ms = 70")
    policies = {name: policy.partition for name, policy in policies_of(made).items()}
    assert {name: policy.pacing.commit_interval_s for name, policy in policies.items()} == dict.fromkeys(policies, 0.07)
    assert {name: policy.pacing.unhurried_s for name, policy in policies.items()} == {
        "local": 0.0,
        "remote": 0.07,
        "remote_supervisor": 0.07,
    }


@pytest.mark.parametrize(("batch_size", "suspects"), [(1_000, 10_000), (64, 1_024)])
def test_after_an_unclean_end_a_few_batches_are_tried_one_at_a_time(
    tmp_path: Path, batch_size: int, suspects: int
) -> None:
    """As many as a window holds, of small batches, were minutes."""
    made = settings(tmp_path, "logits", "max_softmax", more=f"batch_size = {batch_size}")
    assert policies_of(made)["local"].partition.caution.suspects == suspects


def test_all_that_a_partition_waits_for_at_once_has_the_time_of_a_transaction(tmp_path: Path) -> None:
    made = settings(tmp_path, "logits", "max_softmax", more="[stream]\ntransaction_timeout_s = 7")
    for policy in policies_of(made).values():
        assert policy.partition.attempt_s == policy.outbox.transaction_timeout_s == 7.0
