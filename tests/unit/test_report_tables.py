"""The tables of the report: every pair of thresholds, the reliability of scores, and the mistakes of both models."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from bisupervised.agents.supervision.curve import one_by_one
from bisupervised.agents.supervision.evaluation import evaluate
from bisupervised.agents.supervision.recording import Recording, Side
from bisupervised.agents.supervision.supervisor import Supervisor
from bisupervised.streams.report.grid import Grid, make_grid
from bisupervised.streams.report.markup import shortened
from bisupervised.streams.report.material import Answers, Pair
from bisupervised.streams.report.mistakes import mistakes
from bisupervised.streams.report.reliability import reliability
from support.reports import answers_of, drawn

CHOSEN = Pair(0.71234567, 0.87654321)


@pytest.fixture(scope="module")
def recording() -> Recording:
    return drawn(700)


@pytest.fixture(scope="module")
def grid(recording: Recording) -> Grid:
    return make_grid(recording, [CHOSEN])


def test_the_counts_are_those_of_the_offline_decisions(recording: Recording, grid: Grid) -> None:
    random = np.random.default_rng(1)
    places = [(int(random.integers(len(grid.first))), int(random.integers(len(grid.second)))) for _ in range(60)]
    for i, j in [*places, grid.place(CHOSEN), (0, 0), (len(grid.first) - 1, len(grid.second) - 1)]:
        told = evaluate(recording, Supervisor("", grid.first[i]), Supervisor("", grid.second[j]))
        accepted, right = grid.accepted[i, j], grid.kept_right[i] + grid.accepted_right[i, j]
        assert (grid.deferred[i], accepted, right) == (told.deferred, told.by_remote, told.right)
        assert grid.deferred_right[i] - grid.accepted_right[i, j] == told.right_rejected


def test_the_first_threshold_goes_from_nothing_to_everything(recording: Recording, grid: Grid) -> None:
    assert (grid.deferred[0], grid.deferred[-1]) == (0, len(recording))
    assert (grid.accepted[:, 0] == grid.deferred).all(), "the first place of the second threshold rejects nothing"
    curve = one_by_one(recording)
    assert (grid.kept_right + grid.deferred_right)[-1] / grid.n == curve.remote_accuracy
    assert (grid.kept_right + grid.deferred_right)[0] / grid.n == curve.local_accuracy


def test_the_chosen_pair_is_in_the_grid_to_the_last_digit(grid: Grid) -> None:
    i, j = grid.place(CHOSEN)
    assert (grid.first[i], grid.second[j]) == (CHOSEN.local, CHOSEN.remote)
    for other in (Pair(0.7123456, CHOSEN.remote), Pair(CHOSEN.local, 2.0)):
        with pytest.raises(ValueError, match="not in the grid"):
            grid.place(other)


def test_the_band_holds_the_curve(grid: Grid) -> None:
    low, high = grid.band()
    accuracy = (grid.kept_right + grid.deferred_right) / grid.n
    assert (low < accuracy).all()
    assert (accuracy < high).all()
    certain = make_grid(Recording(Side(np.array([0.1, 0.2]), np.array([True] * 2)), drawn(2).remote[:2]), [])
    assert certain.band()[1][0] == 1.0


def test_a_hundred_thousand_rows_stay_small() -> None:
    made = make_grid(drawn(100_000), [CHOSEN, *(Pair(0.5 + at / 50, 0.5 + at / 50) for at in range(16))])
    assert len(msgspec.json.encode(made.as_json())) < 500_000
    assert len(made.first) < 300
    assert len(made.second) < 300


def test_no_inputs_make_no_report() -> None:
    with pytest.raises(ValueError, match="no inputs"):
        make_grid(drawn(4)[:0], [])


def test_every_answer_is_in_one_bin_and_equal_scores_share_it() -> None:
    scores = np.repeat([0.5, 0.6, 0.9, 1.0], [100, 3, 300, 97])
    found = reliability("max_softmax", Side(scores, np.arange(500) % 5 != 0))
    assert sum(one.n for one in found.bins) == 500
    assert found.bins[-1].n == 97, "the equal scores at the top are not parted"
    assert [one.score for one in found.bins] == sorted(one.score for one in found.bins)
    for one in found.bins:
        assert one.low <= one.right <= one.high


def test_one_score_for_all_is_one_bin() -> None:
    (found,) = reliability("max_softmax", Side(np.full(50, 0.75), np.arange(50) % 4 != 0)).bins
    assert (found.n, found.score) == (50, 0.75)


def test_a_probability_says_how_far_it_is_off() -> None:
    scores = np.repeat([0.5, 0.9], 100)
    right = np.concatenate((np.arange(100) < 50, np.arange(100) < 70))
    assert reliability("max_softmax", Side(scores, right)).gap == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "scores"), [("pcs", (0.1, 0.9)), ("own", (0.2, 0.8)), ("learned", (-0.5, 0.5)), ("max_softmax", (-3, 4))]
)
def test_what_is_no_probability_is_not_taken_for_one(name: str, scores: tuple[float, float]) -> None:
    found = reliability(name, Side(np.repeat(scores, 50), np.arange(100) % 2 == 0))
    assert not found.probability
    assert found.gap is None


def test_mistakes_are_counted_by_class_most_common_first() -> None:
    asked: list[Collection[str]] = []

    def inputs(ids: Collection[str]) -> dict[str, object]:
        asked.append(ids)
        return {identity: identity.upper() for identity in ids}

    answers = Answers(
        local=np.array([False, False, True, False, False]),
        remote=np.array([False, True, True, False, False]),
        ids=tuple("abcde"),
        truths=("cat", "cat", "cat", "dog", "dog"),
        local_said=("dog", "dog", "cat", "cat", "cat"),
        remote_said=("cow", "cat", "cat", "cow", "cat"),
        local_scores=np.full(5, 0.5),
        remote_scores=np.array([0.3, 0.9, 0.9, 0.6, 0.8]),
        inputs=inputs,
    )
    dogs, cats = mistakes(answers)
    assert (dogs.name, dogs.n, dogs.local, dogs.remote, dogs.both) == ("dog", 2, 2, 2, 2)
    assert (cats.name, cats.n, cats.local, cats.remote, cats.both) == ("cat", 3, 2, 1, 1)
    assert [one.id for one in dogs.examples] == ["e", "d"], "the surest of the remote's mistakes first"
    assert asked == [["e", "d", "a"]], "no input is asked for that is not shown"
    assert (dogs.examples[1].input, dogs.examples[1].remote.answer, dogs.examples[1].truth) == ("D", "cow", "dog")


def test_many_classes_end_in_one_row_and_free_text_in_none() -> None:
    recording = drawn(600)
    answers = answers_of(recording)
    rows = mistakes(with_truths(answers, [f"class {at % 40}" for at in range(600)]))
    assert len(rows) == 12
    assert (rows[-1].name, rows[-1].classes) == (None, 29)
    assert sum(row.n for row in rows) == 600
    (everything,) = mistakes(with_truths(answers, [f"text {at}" for at in range(600)]))
    assert (everything.name, everything.n) == (None, 600)


def with_truths(answers: Answers, truths: list[str]) -> Answers:
    return replace(answers, truths=tuple(truths))


def test_examples_are_few_and_short() -> None:
    answers = answers_of(drawn(3000), "word " * 4000)
    rows = mistakes(answers)
    assert all(len(row.examples) == 4 for row in rows)
    assert all(len(one.input) <= 600 for row in rows for one in row.examples)
    assert shortened("short", 5) == "short"
    assert shortened("x" * 6, 5) == "xxxx…"


def test_without_inputs_there_are_counts_and_no_examples() -> None:
    rows = mistakes(replace(answers_of(drawn()), inputs=None))
    assert all(row.both and not row.examples for row in rows)
