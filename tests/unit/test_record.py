"""The parts of a recording that decide without I/O, and its file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bisupervised.agents.remote.spending.purse import Means
from bisupervised.agents.supervision.learned.deferral import length_of
from bisupervised.agents.supervision.thresholds import Line, Target, Thresholds
from bisupervised.schemas.budget import NANO, Amount
from bisupervised.schemas.codec import RequestFormat
from bisupervised.schemas.errors import ConfigurationError
from bisupervised.streams.record.fit import left_out
from bisupervised.streams.record.labelled import LabelledError, Reading, look
from bisupervised.streams.record.pairs import About, Pairs, PairsError, Tally
from bisupervised.streams.record.paying import Bound, Calling, allowed, funds
from bisupervised.streams.record.precision import half_width, more_for_half
from bisupervised.streams.record.progress import Watch
from bisupervised.streams.record.run import NotAsked, Order, agree
from bisupervised.streams.settings.file import load_configuration
from rich.console import Console
from support.configurations import SMALLEST

ABOUT = About(inputs=7, labelled="a", settings={"remote.model": "x"}, local_model="m@1", unit=3, local_only=False)


def row(number: int, **more: Any) -> dict[str, Any]:
    same = {"pair": True, "cost": 0.1, "local_error": None, "remote_error": None, "remote_model": "large@1"}
    return {"row": number, **same, **more}


def unit(number: int) -> list[dict[str, Any]]:
    return [row(each) for each in range(3 * number + 1, min(3 * number + 3, 7) + 1)]


def written(path: Path, *units: int) -> bytes:
    with Pairs.opened(path, ABOUT) as pairs:
        for number in units:
            pairs.write(number, unit(number))
    return path.read_bytes()


# the file


@pytest.mark.parametrize("cut", [1, 15, 150, 250])
def test_a_torn_unit_is_cut_off_and_the_others_stay(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "pairs.jsonl"
    content = written(path, 2, 0)
    path.write_bytes(content[:-cut])
    with Pairs.opened(path, ABOUT) as pairs:
        assert (pairs.units, pairs.tally.rows, pairs.complete) == ({2}, 1, False)
        assert path.read_bytes() == content[: content.index(b"\n") + 1]
        pairs.write(0, unit(0))
        pairs.write(1, unit(1))
        assert pairs.complete
        pairs.finish()
    assert [line.split(b",")[0] for line in path.read_bytes().splitlines()] == [
        b'{"row":%d' % number for number in range(1, 8)
    ]


def test_a_file_beside_it_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    beside = tmp_path / "pairs.about.json"
    beside.mkdir()
    with (
        pytest.raises(PairsError, match=r"pairs\.about\.json: cannot be written: "),
        Pairs.opened(tmp_path / "pairs.jsonl", ABOUT),
    ):
        pass
    assert sorted(tmp_path.iterdir()) == [beside, tmp_path / "pairs.jsonl"], "nothing half-written is left behind"


def test_what_was_paid_adds_up_over_runs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    with Pairs.opened(path, ABOUT) as pairs:
        pairs.write(0, [row(1), row(2, remote_error="timeout", pair=False), row(3, local_error="model_error")])
    with Pairs.opened(path, ABOUT) as pairs:
        tally = pairs.tally
    assert (tally.rows, tally.pairs, tally.local_failed, tally.remote_failed) == (3, 2, 1, 1)
    assert (tally.cost, dict(tally.reasons), tally.models) == (0.3, {"timeout": 1}, {"large@1"})


def test_damage_in_the_middle_is_no_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    content = written(path, 0, 1)
    path.write_bytes(content.replace(b'"row":2', b'"row":9'))
    with pytest.raises(PairsError, match="line 4: is not what was written there"), Pairs.opened(path, ABOUT):
        pass
    path.write_bytes(content.replace(b'{"row":2', b'{"row:2'))
    with pytest.raises(PairsError, match="line 2: is not what was written there"), Pairs.opened(path, ABOUT):
        pass


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    with (
        Pairs.opened(path, ABOUT),
        pytest.raises(PairsError, match="another run is writing it"),
        Pairs.opened(path, ABOUT),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labelled": "b"}, "the labelled inputs have changed"),
        ({"inputs": 8}, "the labelled inputs have changed"),
        ({"settings": {"remote.model": "y", "local.labels": "z"}}, "other settings: local.labels, remote.model"),
        ({"local_model": "m@2"}, "the local model was m@1, and is m@2"),
        ({"local_only": True}, "it was made without --local-only"),
        ({"unit": 4}, "other settings: remote.batch_size"),
    ],
)
def test_another_recording_is_refused_with_what_differs(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = tmp_path / "pairs.jsonl"
    content = written(path, 0)
    with pytest.raises(ConfigurationError, match=told), Pairs.opened(path, msgspec.structs.replace(ABOUT, **change)):
        pass
    assert path.read_bytes() == content


# money


def test_the_limit_covers_what_may_be_billed_twice_or_is_the_users_own() -> None:
    bound = Bound().with_call(2 * NANO).with_call(NANO)
    assert (bound.inputs, bound.money, bound.dearest) == (2, 3 * NANO, 2 * NANO)
    assert allowed(bound, Calling(1, 3), None, 5.0).limit == 3 * NANO + 12 * NANO
    assert allowed(replace(bound, money=1000 * NANO), Calling(1, 3), None, 0.0).limit == 1100 * NANO
    assert allowed(bound, Calling(1, 3), 2.5, 1.0).limit == 3 * NANO // 2
    assert allowed(bound, Calling(1, 3), 1.0, 1.0).limit == 0


def test_what_may_be_spent_covers_two_calls_that_fail_in_vain() -> None:
    bound = Bound()
    for _ in range(16):
        bound = bound.with_call(NANO)
    allowance = allowed(bound, Calling(unit=8, tries=6), None, 0.5)
    assert allowance.limit_money >= 2 * 8 * 6, "each of both calls asks about eight inputs, six times"
    assert allowance.every_try == 0.5 + 16 * 6


def test_the_purse_pays_up_to_the_limit_and_gives_back_what_was_not_used() -> None:
    made = funds(allowed(Bound().with_call(2 * NANO), Calling(1, 1), 3.0, 0.0))
    assert made is not None
    purse, now = made.purse, made.now()

    def means(money: int) -> Means:
        return purse.afford(Amount(money * NANO, 1), now)

    assert (means(3), means(4)) == ("yes", "never")
    first = purse.reserve(Amount(2 * NANO, 1), now)
    assert (means(1), means(2)) == ("yes", "spent")
    purse.settle(first, Amount(NANO, 1), now)
    assert means(2) == "yes"
    assert not made.waits
    assert funds(allowed(Bound(), Calling(1, 1), None, 0.0)) is None


@pytest.mark.parametrize(
    ("said", "goes_on"), [("y\n", True), ("YES\n", True), ("\n", False), ("no\n", False), ("", False)]
)
def test_on_a_terminal_it_asks(monkeypatch: pytest.MonkeyPatch, said: str, goes_on: bool) -> None:
    stdin, written = StringIO(said), StringIO()
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", stdin)
    console = Console(file=written, force_terminal=True, highlight=False)
    allowance = allowed(Bound().with_call(NANO), Calling(1, 1), None, 0.0)
    with nullcontext() if goes_on else pytest.raises(NotAsked):
        agree(allowance, Order(Path("a.csv"), Path("b.jsonl")), console)
    assert "Go on? [y/N]" in written.getvalue()
    agree(allowance, Order(Path("a.csv"), Path("b.jsonl"), yes=True), console)
    agree(allowance, Order(Path("a.csv"), Path("b.jsonl"), most_cost=1.0), console)
    agree(allowed(Bound().with_call(0), Calling(1, 1), None, 0.0), Order(Path("a.csv"), Path("b.jsonl")), console)
    assert written.getvalue().count("Go on?") == 1, "where it was said, or nothing is paid, nobody is asked"


# the sample


def test_four_times_as_many_labels_halve_the_interval() -> None:
    assert half_width(80, 100) == pytest.approx((0.8733 - 0.7082) / 2, abs=1e-4)  # as published tables have it
    more = more_for_half(800, 1000)
    assert 2900 < more < 3100
    assert half_width(round(0.8 * (1000 + more)), 1000 + more) <= half_width(800, 1000) / 2
    assert more_for_half(5, 5) > 0


@pytest.mark.parametrize(
    ("given", "length"), [("four", 4), ([1, 2, 3], 3), ([[1, 2], [3, 4]], 4), ({"a": "xy", "b": [1]}, 3), (7, 1)]
)
def test_the_length_of_an_input(given: Any, length: int) -> None:
    assert length_of(given) == length


# the labelled file


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.write_text(content)
        return path

    return write


def test_no_model_sees_the_right_answer(file: Callable[[str, str], Path]) -> None:
    path = file("a.jsonl", '{"id": "a", "text": "x", "truth": "yes"}\n')
    labelled, faults = look(path, Reading(RequestFormat(input="")), ())
    [record] = labelled.records()
    assert (faults, record.row.truth, record.input) == ([], "yes", {"id": "a", "text": "x"})
    assert b"yes" not in record.candidate.value


def test_ids_are_numbers_of_rows_where_no_row_has_one(file: Callable[[str, str], Path]) -> None:
    labelled, faults = look(file("a.csv", "input,label\nx,1\ny,0\n"), Reading(RequestFormat()), ("0", "1"))
    assert faults == []
    assert [(row.id, row.truth) for row in labelled.rows] == [("1", "1"), ("2", "0")], "the labels themselves"


def test_the_digest_tells_inputs_and_truths_apart(file: Callable[[str, str], Path]) -> None:
    reading = Reading(RequestFormat())
    digests = {
        look(file("a.csv", f"input,label\n{content}\n"), reading, ())[0].digest for content in ("x,1", "x,2", "y,1")
    }
    assert len(digests) == 3


def test_a_file_that_changes_meanwhile_is_noticed(file: Callable[[str, str], Path]) -> None:
    labelled, _ = look(file("a.csv", "input,label\nx,1\ny,1\n"), Reading(RequestFormat()), ())
    file("a.csv", "input,label\nx,1\nz,1\n")
    with pytest.raises(LabelledError, match="line 3: has changed since it was checked"):
        list(labelled.records())


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("input,answer", "has no column with the right answer; there are input, answer"),
        ("input,label,truth", "could be any of truth, label"),
    ],
)
def test_the_column_of_the_truth_is_not_guessed(file: Callable[[str, str], Path], header: str, told: str) -> None:
    path = file("a.csv", f"{header}\nx,1{',1' * (header.count(',') - 1)}\n")
    with pytest.raises(LabelledError, match=told):
        look(path, Reading(RequestFormat()), ())


def test_the_right_answer_is_not_the_input(file: Callable[[str, str], Path]) -> None:
    with pytest.raises(LabelledError, match="cannot be the model's input and the right answer at once"):
        look(file("a.csv", "id,label\n1,x\n"), Reading(RequestFormat(input="label")), ())


# what is pasted


def test_a_score_that_the_file_contradicts_is_to_be_left_out(file: Callable[[str, str], Path]) -> None:
    local, remote = Line(0.5, "pcs"), Line(0.5, "joint")
    made = Thresholds("v", local, remote, "", "ltt", Target("error", 0.1), 0, {}, "")
    path = file("my.toml", SMALLEST.replace("[remote]", 'supervisor = "max_softmax"\n[remote]'))
    told = left_out(load_configuration(path, {}).settings, made)
    assert told == ("leave [local] supervisor out of the configuration: the file names pcs",)
    assert left_out(load_configuration(path, {}).settings, None) == ()
    path.write_text(SMALLEST)
    assert left_out(load_configuration(path, {}).settings, made) == (), "what is not written contradicts nothing"


# progress


def test_where_nobody_watches_a_line_tells_now_and_then() -> None:
    now, tally = [0.0], Tally(rows=100)
    console = Console(file=None, stderr=True, force_terminal=False)
    watch = Watch(console, 1000, tally, clock=lambda: now[0])
    tally.rows, tally.billed, now[0] = 400, 2 * NANO, 60.0
    assert watch.line(now[0]) == "400 of 1,000 recorded, cost 2, 2 min 00 s left"
    now[0] = 7260.0
    assert watch.line(now[0]).endswith("4 h 02 min left")
