"""What a configuration says of versions of the thresholds, and what it means for topics, ACLs and documents."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pytest
from bisupervised.agents.auditing.alarm_share import AlarmShare
from bisupervised.agents.supervision.thresholds import Target, Thresholds, signed, write_thresholds
from bisupervised.schemas.closings import AlarmShareTold
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.auditor.rules import rules_of
from bisupervised.streams.commands import asyncapi
from bisupervised.streams.commands.acls import choosing_acls, worker_acls
from bisupervised.streams.flow import steps, topic_configs, topics_of
from bisupervised.streams.settings.file import Configuration, load_configuration
from bisupervised.streams.settings.terms import start_of
from support.versions import RUNGS, laddered

SECRET = {"BISUPERVISED_AUDIT__SECRET": "only the fleet knows"}


def configured(folder: Path, made: Thresholds | None, **tables: str) -> Path:
    named = tables.pop("thresholds", "")
    if made is not None:
        write_thresholds(folder / "made.json", made)
        named = f"file = {str(folder / 'made.json')!r}\n{named}"
    own = "threshold = 0.5\n" if made is None else ""
    path = folder / "shop.toml"
    path.write_text(
        f"[thresholds]\n{named}\n[local]\nmodel = 'my_model:load'\n{own}{tables.pop('local', '')}\n"
        f"[remote]\nurl = 'http://127.0.0.1'\nmodel = 'm'\n{own}\n"
        + "".join(f"[{name}]\n{text}\n" for name, text in tables.items())
    )
    return path


def load(path: Path, **env: str) -> Configuration:
    return load_configuration(path, SECRET | env)


def faults(path: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    return list(caught.value.faults)


def test_the_file_gives_the_ladder_and_the_start(tmp_path: Path) -> None:
    made = load(configured(tmp_path, laddered(), thresholds="follow = true"))
    ladder = made.terms.ladder
    assert ladder is not None
    assert made.settings.follows
    assert (ladder.start, ladder.version, ladder.rungs) == (3, "made", RUNGS)
    assert (made.terms.version, made.terms.local.threshold, made.terms.remote.threshold) == ("made", 0.8, 0.7)


def test_a_pin_takes_a_rung_whatever_the_topic_says(tmp_path: Path) -> None:
    made = load(configured(tmp_path, laddered(), thresholds="pin = 4\nfollow = true"))
    assert made.terms.pinned == 4
    assert (made.terms.version, made.terms.local.threshold, made.terms.remote.threshold) == ("made-pin-4", 0.9, 0.8)
    made = load(configured(tmp_path, laddered()), BISUPERVISED_THRESHOLDS__PIN="2")
    assert (made.terms.version, made.settings.local.threshold, made.settings.remote.threshold) == (
        "made-pin-2",
        0.7,
        0.3,
    )


@pytest.mark.parametrize("pin", ["5", "true", "-1", "'x'"])
def test_a_pin_that_is_no_rung(tmp_path: Path, pin: str) -> None:
    (fault,) = faults(configured(tmp_path, laddered(), thresholds=f"pin = {pin}"))
    assert fault.startswith("[thresholds] pin: must be")


def test_without_a_file_there_is_nothing_to_choose_from(tmp_path: Path) -> None:
    told = faults(configured(tmp_path, None, thresholds="follow = true\npin = 2", audit="on_alarm = 'tighten'"))
    wanted = "needs [thresholds] file, whose rungs are chosen from"
    for key in ("[thresholds] follow", "[thresholds] pin", "[audit] on_alarm"):
        assert f"{key}: {wanted}" in told
    assert '[audit] on_alarm: "tighten" needs [audit] share: without labels there is no alarm' in told


def test_a_file_without_rungs(tmp_path: Path) -> None:
    bare = signed(msgspec.structs.replace(laddered(), rungs=(), digest=""))
    text = "needs rungs, and [thresholds] file has none: make it with `bisupervised fit`"
    path = configured(tmp_path, bare, thresholds="follow = true\npin = 2")
    assert faults(path) == [f"[thresholds] follow: {text}", f"[thresholds] pin: {text}"]


def promising(kind: Literal["error", "false_positive_rate"]) -> Thresholds:
    return signed(msgspec.structs.replace(laddered(), target=Target(kind, 0.05, 0.1), digest=""))


def test_who_tightens_by_itself_needs_labels_shadows_and_a_promised_error(tmp_path: Path) -> None:
    def told(made: Thresholds, audit: str, delivery: str = "exactly_once") -> list[str]:
        path = configured(tmp_path, made, audit=f"on_alarm = 'tighten'\n{audit}", stream=f"delivery = '{delivery}'")
        return [fault.split(":")[0] + ":" + fault.split(":")[1].split(",")[0] for fault in faults(path)]

    error = promising("error")
    labels = '[audit] on_alarm: "tighten" needs [audit] share'
    assert told(error, "") == [labels]
    shadows = '[audit] on_alarm: "tighten" needs [audit] shadow_share'
    assert told(error, "share = 0.1") == [shadows]
    assert told(error, "share = 0.1\nshadow_share = 0.05") == ["[audit] shadow_share: must be 0 or at least share"]
    promised = '[audit] on_alarm: "tighten" needs a promised error'
    assert told(promising("false_positive_rate"), "share = 0.1\nshadow_share = 0.1") == [promised]
    assert told(promising("false_positive_rate"), "", "at_least_once") == [promised, labels]
    assert len(told(error, "share = 0.1\nshadow_share = 0.1", "at_least_once")) > 0
    both = "on_alarm = 'tighten'\nshare = 0.1\nshadow_share = 0.1"
    assert load(configured(tmp_path, error, audit=both)).settings.follows


def test_a_share_that_rises_after_an_alarm_is_part_of_the_version_that_it_chooses(tmp_path: Path) -> None:
    error, base = promising("error"), "share = 0.1\nshadow_share = 0.1\nalarm_share = "
    tightens = f"on_alarm = 'tighten'\n{base}"
    assert load(configured(tmp_path, error, audit=f"{tightens}0.3")).settings.audit.alarm_labels == 1000
    (fault,) = faults(configured(tmp_path, error, audit=f"{base}0.3"))
    assert fault.startswith('[audit] alarm_share: needs [audit] on_alarm = "tighten": the share rises with')
    (fault,) = faults(configured(tmp_path, error, audit=f"{tightens}0.1"))
    text = "must be 0 or above share, which it replaces for a while (got 0.1 and 0.1)"
    assert fault == f"[audit] alarm_share: {text}"
    assert len(faults(configured(tmp_path, error, audit=f"{tightens}2\nalarm_hours = 0\nalarm_labels = 0"))) == 3


def test_the_auditor_reckons_by_what_the_settings_say_of_it(tmp_path: Path) -> None:
    made = promising("error")
    audit = "on_alarm = 'tighten'\nshare = 0.1\nshadow_share = 0.1\nalarm_share = 0.3\nalarm_hours = 0.5"
    rules = rules_of(load(configured(tmp_path, made, audit=audit)).settings, made)
    assert rules.terms.alarm_share == AlarmShareTold(0.3, 1_800_000, 1000)
    assert rules.alarm_share == AlarmShare(1_800_000, 1000)
    without = load(configured(tmp_path, made, audit="share = 0.1")).settings
    assert rules_of(without, made).alarm_share is None


def test_a_file_whose_own_pair_is_no_rung(tmp_path: Path) -> None:
    odd = signed(msgspec.structs.replace(laddered(), rungs=RUNGS[:2], digest=""))
    assert start_of(odd) == 0
    (fault,) = faults(configured(tmp_path, odd, thresholds="follow = true"))
    assert "nowhere to start" in fault
    assert load(configured(tmp_path, odd)).terms.ladder is None


def test_scores_that_are_made_otherwise_have_another_digest(tmp_path: Path) -> None:
    def digest(**tables: str) -> str:
        ladder = load(configured(tmp_path, laddered(), **tables)).terms.ladder
        assert ladder is not None
        return ladder.score

    assert digest() == digest(kafka="session_timeout_s = 20", local="batch_size = 2")
    assert len({digest(), digest(local="temperature = 2"), digest(local="labels = ['a', 'b']")}) == 3


def test_who_judges_reads_the_topic(tmp_path: Path) -> None:
    settings = load(configured(tmp_path, laddered(), thresholds="follow = true")).settings
    readers = [agent for agent, step in steps(settings).items() if "thresholds" in topics_of(settings, step)]
    assert readers == ["local", "remote_supervisor"]
    (granted,) = [acl for acl in worker_acls(settings) if acl.name == "thresholds"]
    assert "Write" not in granted.operations
    (chooser,) = choosing_acls(settings)
    assert "Write" in chooser.operations
    config = topic_configs(settings)["thresholds"]
    assert (config["cleanup.policy"], config["retention.ms"]) == ("compact", "-1")


def test_without_it_there_is_no_such_topic(tmp_path: Path) -> None:
    settings = load(configured(tmp_path, laddered())).settings
    assert "thresholds" not in topic_configs(settings)
    with pytest.raises(ConfigurationError, match="no worker follows"):
        choosing_acls(settings)
    assert all("thresholds" not in topics_of(settings, step) for step in steps(settings).values())
    assert "thresholds" not in asyncapi.document(settings)["channels"]


def test_the_document_describes_a_version(tmp_path: Path) -> None:
    document = asyncapi.document(load(configured(tmp_path, laddered(), thresholds="follow = true")).settings)
    assert document["channels"]["thresholds"]["bindings"]["kafka"]["partitions"] == 1
    assert document["components"]["schemas"]["ThresholdsEntry"]["properties"]["rung"]["description"]
    assert document["components"]["messages"]["version"]["payload"] == {"$ref": "#/components/schemas/ThresholdsEntry"}
