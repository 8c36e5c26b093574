"""The drift example: its data, its labeller, what it hears of a pipeline, and its figures, without Kafka."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from bisupervised.agents.supervision.thresholds import Rung, Target, signed, write_thresholds
from bisupervised.schemas.audits import Audit, audit_record
from bisupervised.schemas.closings import (
    AlarmTold,
    Closing,
    LadderTold,
    PromiseTold,
    Taken,
    VersionTold,
    encode_closing,
)
from bisupervised.schemas.codec import encode_facts, encode_result
from bisupervised.schemas.records import FACTS_HEADER, Facts, Result, Source, Verdict
from bisupervised.schemas.versions import encode_version
from bisupervised.streams.demo.digits import Digits, ModelFiles
from bisupervised.streams.demo.drift import page as page_module
from bisupervised.streams.demo.drift import run
from bisupervised.streams.demo.drift.heard import Ended, Heard, Notice, Wanted
from bisupervised.streams.demo.drift.live import document
from bisupervised.streams.demo.drift.page import Page, read_static
from bisupervised.streams.demo.drift.pictures import PHASES, Course, Phase, course, worsened
from bisupervised.streams.demo.drift.playing import DELAY_S, RATE, WRONG_DELAY_S, Labeller, Played, Stage, takers
from bisupervised.streams.demo.drift.report import Reference, Way, as_table, draw, figures
from bisupervised.streams.demo.drift.systems import KINDS, Around, toml_of
from bisupervised.streams.demo.errors import DemoError
from bisupervised.streams.settings.file import load_settings
from msgspec.structs import replace
from rich.console import Console
from support.drift import NAMES, SCENE, TRUE, made_stage
from support.records import Record
from support.thresholds import thresholds
from support.versions import chosen

STATIC = read_static()


def test_pictures_get_worse_and_their_labels_stay() -> None:
    images = np.zeros((3, 64), dtype=np.float32)
    images[:, 27] = 1.0
    part = Digits(images, np.array([4, 5, 6]))
    same = worsened(part, 50, noise=0.0, shifted=0.0, rng=np.random.default_rng(0))
    assert (same.inputs == images[0]).all()
    assert set(same.labels.tolist()) == {4, 5, 6}
    noisy = worsened(part, 50, noise=0.2, shifted=0.0, rng=np.random.default_rng(0))
    assert np.array_equal(noisy.labels, same.labels)
    assert noisy.inputs.min() >= 0.0
    assert noisy.inputs.max() <= 1.0
    assert not np.array_equal(noisy.inputs, same.inputs)
    shifted = worsened(part, 200, noise=0.0, shifted=1.0, rng=np.random.default_rng(0))
    assert set(shifted.inputs.argmax(axis=1).tolist()) == {19, 26, 28, 35}, "a pixel to each side"
    assert (images[:, 27] == 1.0).all(), "the digits themselves stay"


def test_the_drift_stands_between_what_was_calibrated_and_the_same_again() -> None:
    first, *_, last = PHASES
    assert (first.noise, first.shifted) == (last.noise, last.shifted)
    noises = [phase.noise for phase in PHASES[:-1]]
    assert noises == sorted(noises)


def test_a_course_has_all_phases_in_their_order() -> None:
    part = Digits(np.ones((2, 64), dtype=np.float32), np.array([1, 2]))
    made = course(part, (Phase("a", 3, 0.0, 0.0), Phase("b", 2, 0.0, 0.0)), seed=0)
    assert (len(made), made.names) == (5, ("a", "b"))
    assert made.phase.tolist() == [0, 0, 0, 1, 1]
    assert len(made.pictures) == 5


def test_the_labeller_takes_longer_about_a_wrong_answer() -> None:
    labeller = Labeller(["one", "two", "three"])
    labeller.hear([Wanted("r-0-0", 0, "two"), Wanted("r-0-1", 1, "two"), Wanted("r-0-2", 2, None)], now=10.0)
    assert labeller.due(10.0 + DELAY_S - 0.01) == []
    assert [(one.source, one.truth) for one in labeller.due(10.0 + DELAY_S)] == [("r-0-1", "two")]
    late = labeller.due(10.0 + WRONG_DELAY_S)
    assert [(one.source, one.truth) for one in late] == [("r-0-0", "one"), ("r-0-2", "three")]
    assert labeller.given == 3


def test_nobody_runs_ahead_of_what_came_out() -> None:
    heard = Heard("told", lambda _: None)
    made = Course(Digits(np.ones((1000, 64), np.float32), np.ones(1000, np.intp)), np.zeros(1000, np.intp), ("a",))
    stage = Stage([Played(load_settings_of_nothing(), heard, Labeller([]))], made)
    assert stage.next_ones(1.0) == range(int(RATE))
    assert len(stage.next_ones(1000.0)) == 250
    heard.ended = {number: Ended("", "local", 1, 0.0) for number in range(990)}
    stage.sent_ms = [0.0] * 990
    assert stage.next_ones(1000.0) == range(990, 1000)
    assert not stage.finished


def load_settings_of_nothing() -> Any:
    """Settings that nobody asks."""
    return SimpleNamespace()


def closing(number: int, *versions: VersionTold, ladder: LadderTold | None = None) -> bytes:
    taken = Taken({"0": 0}, 0)
    return encode_closing(Closing(number, "told", 0, taken, taken, "", versions=versions, ladder=ladder))


def told(raised: int) -> VersionTold:
    return VersionTold("made", alarms=(AlarmTold(PromiseTold("error", 0.1), raised=raised),))


def test_an_alarm_is_heard_once_and_so_is_each_tightening() -> None:
    said: list[str] = []
    heard = Heard("told", said.append)
    take = heard.takes()["trust"]
    tightened = LadderTold("made", 3, requests=10, says="tighten", to=4)
    gathered = closing(4, ladder=LadderTold("made", 3, requests=400))
    trial = closing(6, ladder=LadderTold("made", 4, requests=2500, says="tighten", to=5))
    values = [closing(1, told(0)), closing(2, told(1)), closing(3, told(1)), gathered, closing(5, ladder=tightened)]
    for number, value in enumerate([*values, trial]):
        take(Record(value, timestamp=1000 + number))
    assert heard.alarms_ms == [1001, 1004], "a trial that fails is no alarm"
    assert len(said) == 1


def test_what_labels_say_of_a_former_version_is_no_alarm() -> None:
    heard = Heard("tightened", lambda _: None)
    heard.takes()["trust"](Record(closing(1, told(1), ladder=LadderTold("next", 4))))
    assert heard.alarms_ms == []
    heard.takes()["trust"](Record(closing(2, told(2), ladder=LadderTold("made", 3))))
    assert len(heard.alarms_ms) == 1


def audited(number: int, by: Any, shadow: Any = None) -> Record:
    facts = Facts(Source("told-requests", 0, number), local=Verdict("one", 0.9), remote=Verdict("two", 0.8, cost=0.5))
    made = audit_record(Record(b"1"), facts, Audit("told", "trusted" if by else "rejected", 1.0, by, shadow=shadow))
    return Record(made.value, key=str(number).encode(), headers=list(made.headers))


def test_what_is_wanted_of_the_labeller_is_what_was_answered() -> None:
    heard = Heard("told", lambda _: None)
    for record in (audited(0, "local", "answered"), audited(1, "remote"), audited(2, None)):
        heard.takes()["audits"](record)
    assert [(one.source, one.number, one.prediction) for one in heard.wanted] == [
        ("told-requests-0-0", 0, "one"),
        ("told-requests-0-1", 1, "two"),
        ("told-requests-0-2", 2, "two"),
    ]
    assert (heard.shadows, heard.shadows_cost) == (1, 0.5)


def test_a_way_is_what_became_of_every_request() -> None:
    said: list[str] = []
    heard = Heard(
        "tightened", said.append, rungs={"made": 3}, notices=[Notice(25, "alarm", "")], shadows=2, shadows_cost=1.0
    )
    entry = chosen([], 4, "tighten", why="doubt")
    heard.takes()["thresholds"](Record(encode_version(entry)))
    assert said == ["tightens to rung 4: doubt"]
    heard.ended = {
        0: Ended("made", "local", "a", 0.0),
        1: Ended("made", "remote", "b", 0.5),
        2: Ended(entry.version, "", None, 0.5),
    }
    way = heard.way(["a", "c", "c", "c"], [10.0, 20.0, 30.0, 40.0], labels=7)
    assert way.trusted.tolist() == [True, True, False, False], "what has no outcome was not answered"
    assert way.wrong.tolist() == [False, True, False, False]
    assert way.called.tolist() == [False, True, True, True]
    assert way.rung.tolist() == [3, 3, 4, 0]
    assert way.alarms == (1,), "the last request that was sent before it"
    assert (way.labels, way.shadows, way.cost) == (7, 2, 2.0)


def test_an_outcome_names_the_version_that_judged_first() -> None:
    heard = Heard("told", lambda _: None)
    source = Source("told-requests", 0, 0)
    doubted = Verdict("one", 0.1, thresholds="made")
    result = Result(source, "two", "remote", 0.9, 0.5, local=doubted, thresholds="next", cost=0.5)
    facts = Facts(source, local=Verdict("one", 0.1), remote=Verdict("two", 0.1, cost=0.25), thresholds="next")
    take = heard.takes()
    take["results"](Record(encode_result(result), key=b"0"))
    take["results"](Record(encode_result(result), key=b"0"))
    take["fallback"](Record(b"1", key=b"1", headers=[(FACTS_HEADER, encode_facts(facts))]))
    assert heard.ended == {0: Ended("made", "remote", "two", 0.5), 1: Ended("next", "", None, 0.25)}
    assert heard.again == 1


def made_way(name: str, worse: float, alarms: tuple[int, ...] = ()) -> tuple[Way, np.ndarray]:
    phase = np.repeat([0, 1, 2], [300, 600, 300])
    wrong = np.random.default_rng(0).random(1200) < np.array([0.05, worse, 0.05])[phase]
    everything = np.ones(1200, dtype=bool)
    return Way(name, everything, wrong, ~everything, np.full(1200, 3), alarms), phase


def test_the_table_and_the_picture_are_of_all_ways(tmp_path: Path) -> None:
    made = [made_way("fixed", 0.3), made_way("told", 0.3, (450,)), made_way("tightened", 0.1, (450,))]
    ways, phase = [way for way, _ in made], made[0][1]
    console = Console(width=80, record=True)
    console.print(as_table([figures(way, Reference(phase, NAMES, 0.1, TRUE)) for way in ways], 0.1))
    text = console.export_text()
    assert "tightened" in text
    assert "150 requests" in text
    assert "\u2026" not in text, "it is not cut off on a narrow terminal"
    draw(tmp_path / "drift.png", ways, phase, NAMES, 0.1)
    assert (tmp_path / "drift.png").read_bytes().startswith(b"\x89PNG")


def test_the_figures_are_those_by_hand() -> None:
    yes = np.array([True, True, False, True])
    way = Way("one", yes, yes & [True, False, False, True], ~yes, np.ones(4, dtype=np.intp), (0, 2), 3, 2, 3.0)
    found = figures(way, Reference(np.array([0, 0, 1, 2]), NAMES, 0.1, TRUE))
    assert [(one.error, one.above, one.calls, one.rejected) for one in found.phases] == [
        (0.5, 0.0, 0.0, 0.0),
        (None, 1.0, 1.0, 1.0),
        (1.0, 0.0, 0.0, 0.0),
    ]
    assert found.noticed_after == 0, "the alarm before the drift is none of it"
    assert (found.alarms, found.cost) == (2, 3.0)


def test_the_three_configurations_differ_in_their_audit_alone(tmp_path: Path) -> None:
    file = tmp_path / "thresholds.json"
    target, rungs = Target("error", 0.1, 0.1), (Rung(0.9, 0.8, 0.1, None, None, None, certified=True),)
    made = replace(thresholds(0.9, 0.8), target=target, rungs=rungs, digest="")
    write_thresholds(file, signed(made))
    (tmp_path / "key").write_text("only the fleet knows")
    around = Around("127.0.0.1:9", "http://127.0.0.1:8", ModelFiles(tmp_path / "a.pt2", tmp_path / "b.pt2"), file)
    read = {}
    for kind in KINDS:
        config = tmp_path / f"{kind.name}.toml"
        config.write_text(toml_of(kind, around, tmp_path / "key"))
        read[kind.name] = load_settings(config, {})
    fixed, told_, tightened = read.values()
    assert [one.audit.on_alarm for one in read.values()] == ["tell", "tell", "tighten"]
    assert (fixed.audit.share, told_.audit.shadow_share) == (0.0, 0.0)
    assert tightened.audit.shadow_share == tightened.audit.share == told_.audit.share > 0.0
    topics = [set(json.loads(one.topics.model_dump_json()).values()) for one in read.values()]
    names = [{name for name in some if isinstance(name, str)} for some in topics]
    assert not names[0] & names[1] | names[1] & names[2]
    heard = [Played(one, Heard(name, lambda _: None), Labeller([])) for name, one in read.items()]
    assert set(takers(heard)) == {
        *("fixed-results", "fixed-fallback"),
        *("told-results", "told-fallback", "told-audits", "told-trust"),
        *("tightened-results", "tightened-fallback", "tightened-audits", "tightened-trust", "tightened-thresholds"),
    }


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "_NEEDED", {"no_such_module": "no-such-package"})
    with pytest.raises(DemoError, match="needs no-such-package"):
        run.run_drift(tmp_path, seed=0)


def test_the_page_is_told_of_all_systems_up_to_the_same_request() -> None:
    stage = made_stage(700)
    del stage.played[1].heard.ended[650]
    told = document(stage, SCENE, 12.34)
    assert (told["ended"], told["sent"], told["requests"], told["seconds"]) == (650, 700, 1200, 12.3)
    assert [(one["begin"], one["end"]) for one in told["phases"]] == [(0, 300), (300, 900), (900, 1200)]
    assert [len(one["error"]) for one in told["systems"]] == [26, 26, 26]
    fixed, told_, tightened = told["systems"]
    assert [one["phase"] for one in fixed["phases"]] == ["before", "worse"], "no phase that has not begun"
    assert fixed["error_now"] == pytest.approx(0.2)
    assert tightened["rung"][:17] == [2] * 17
    assert tightened["rung_now"] == 3
    assert [one["kind"] for one in tightened["notices"]] == ["alarm", "tighten"]
    assert [one["at"] for one in told_["notices"]] == [400, 600]
    assert (tightened["noticed_after"], fixed["noticed_after"]) == (120, None)


def test_the_page_is_told_before_anything_has_ended() -> None:
    told = document(made_stage(0), SCENE, 0.0)
    assert [(one["error"], one["error_now"], one["phases"]) for one in told["systems"]] == [([], None, ())] * 3


async def test_the_page_serves_this_machine_alone() -> None:
    page = Page(lambda: document(made_stage(700), SCENE, 1.0), STATIC)
    async with TestClient(TestServer(page.application())) as client:
        for path in STATIC:
            assert (await client.get(path)).status == 200
        told = await (await client.get("/api/drift")).json()
        assert told["ended"] == 700
        assert (await client.get("/api/drift", headers={"Host": "elsewhere.example"})).status == 421
        assert (await client.get("/api/drift", headers={"Origin": "http://elsewhere.example"})).status == 403
        assert (await client.post("/api/drift")).status == 405


async def test_an_open_page_sees_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "_OPEN_S", 0.3)
    page = Page(lambda: {"finished": True}, STATIC)
    async with aiohttp.ClientSession() as session, page.listening() as url:
        assert await (await session.get(f"{url}api/drift")).json() == {"finished": True}
        ended_at = time.monotonic()
    assert time.monotonic() - ended_at >= 0.3
