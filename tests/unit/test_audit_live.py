from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from aiohttp import web
from bisupervised.agents.auditing.ledger.ledger import Rules
from bisupervised.agents.auditing.matching import exact
from bisupervised.schemas.closings import AlarmShareTold, LadderTold
from bisupervised.streams.audit import topics
from bisupervised.streams.audit.live import notes_on_ladder, notes_on_share
from bisupervised.streams.audit.topics import AuditTopics
from bisupervised.streams.cli import run
from bisupervised.streams.events import documents
from bisupervised.streams.settings.tables import Settings
from support.audited import PIPELINE, audit, label, rules
from support.configurations import SMALLEST
from support.records import Record
from support.registry import FakeRegistry, framed
from support.threaded import served

AUDITED = f'name = "{PIPELINE}"\n{SMALLEST}[audit]\nshare = 0.5\n'


def drawn(monkeypatch: pytest.MonkeyPatch, *values: bytes, hours_ago: float = 0) -> None:
    """Requests of these values were drawn, as the commands will find them."""
    at_ms = round((time.time() - hours_ago * 3600) * 1000)

    async def read(settings: Settings, _rules: Rules, since_ms: float) -> AuditTopics:
        found = AuditTopics(settings.name)
        for number, value in enumerate(values):
            headers = list(audit(number, at_ms).headers)
            found.take_audit(Record(value, number, "audits", 0, headers=headers, timestamp=at_ms))
        return found

    monkeypatch.setattr(topics, "read_topics", read)
    monkeypatch.setenv("BISUPERVISED_AUDIT__SECRET", "a secret")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(b'{"input": 1}', {"input": 1}), (b"\xff\x01", "\\xff\x01"), (b"", "")],
)
def test_what_is_wanted_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: bytes, shown: object
) -> None:
    drawn(monkeypatch, value)
    (tmp_path / "my.toml").write_text(AUDITED)
    assert run(["audit", "wanted", "--json", "--config", str(tmp_path / "my.toml")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["source"], told["request"]) == ("requests-0-0", shown)


def test_what_is_too_old_for_a_label_to_count_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.toml").write_text(AUDITED + "label_within_hours = 2\n")
    for hours, wanted in ((1, 2), (3, 0)):
        drawn(monkeypatch, b"{}", b"{}", hours_ago=hours)
        assert run(["audit", "wanted", "--config", str(tmp_path / "my.toml")]) == 0
        said = capsys.readouterr()
        assert len(said.out.splitlines()) == wanted
        assert f"{wanted} requests of the last 2 hours without a label" in said.err


def test_a_vote_for_a_label_that_there_is_not_leaves_the_request_wanted() -> None:
    found = AuditTopics(PIPELINE, rules(classes=("cat", "dog")).counts)
    found.take_audit(audit(0, 1))
    for truth, waiting in (("cta", 1), ("dog", 0), ("cta", 0)):
        found.take_label(label(0, 2, "requests-0-0", truth))
        assert len(topics.wanted(found.in_order, found.ballots, exact, 0)) == waiting


def test_events_that_are_no_json_are_shown_as_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, config = FakeRegistry(), tmp_path / "my.toml"
    identity = registry.register("v", '{"type": "record", "name": "R", "fields": [{"name": "text", "type": "string"}]}')
    drawn(monkeypatch, framed(identity, b"\x04hi"))
    monkeypatch.setattr(documents, "_SCHEMA_S", 0.3)
    with served(registry.app) as url:
        config.write_text(f'{AUDITED}[request]\nformat = "avro"\ninput = "text"\n[registry]\nurl = "{url}"\n')
        assert run(["audit", "wanted", "--config", str(config)]) == 0
        assert 'requests-0-0  {"text":"hi"}' in capsys.readouterr().out
        registry.failing = web.Response(status=500)
        assert run(["audit", "wanted", "--config", str(config)]) == 1
        assert "schema 1: the registry answers 500" in capsys.readouterr().err


def test_it_says_which_rung_judges_and_whether_a_cheaper_one_keeps_the_promise() -> None:
    assert notes_on_ladder(None, 0) == []
    told = LadderTold("made", 3, requests=1200, cheaper=1, calls=0.5, cheaper_calls=0.25)
    standing, cheaper = notes_on_ladder(told, 4)
    assert standing.startswith("ladder: version made is in force, rung 3 of 4; 1,200 audited requests")
    assert cheaper.startswith("the labels certify rung 1 at the same promise")
    assert cheaper.endswith("about 25.0% of the requests, and rung 3 about 50.0%")


def test_where_no_cheaper_one_is_known_nothing_is_said_of_it() -> None:
    (standing,) = notes_on_ladder(LadderTold("made", 3, pinned=True), 4)
    assert "rung 3 of 4, pinned;" in standing


def test_it_says_that_more_are_drawn_since_an_alarm_until_when_and_what_that_wants() -> None:
    share = AlarmShareTold(0.05, 3_600_000, 1000)
    raised = LadderTold("4-rung-4-raised-0123456789", 4, raised=True, raised_ms=1_700_000_000_000, raised_labels=120)
    (said,) = notes_on_share(raised, share)
    assert "5.00% of the requests are drawn, until 2023-11-14 23:13:20 UTC at the latest; 120 of 1,000 labels" in said
    assert notes_on_share(LadderTold("made", 3, raised_ms=1, raised_labels=120), share) == []
    assert notes_on_share(raised, None) == notes_on_share(None, share) == []
