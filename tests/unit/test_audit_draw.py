from __future__ import annotations

import numpy as np
import pytest
from bisupervised.agents.auditing.draw import Draw

SECRET = b"only the fleet knows"


def of(draw: Draw, last: int, topic: str = "id", partition: int = 0) -> set[int]:
    return {offset for offset in draw.drawn(topic, partition, 0, last) if offset <= last}


def test_the_same_request_is_drawn_by_everybody_who_has_the_secret() -> None:
    assert of(Draw(0.2, SECRET, "shop"), 5000) == of(Draw(0.2, SECRET, "shop"), 5000)
    assert of(Draw(0.01, SECRET, "shop"), 400) == {38, 48, 118, 181, 318, 336}  # as workers of former versions drew


def test_however_it_is_asked_about() -> None:
    draw = Draw(0.1, SECRET, "shop")
    whole = of(draw, 4999)
    alone = {n for n in range(5000) if n in draw.drawn("id", 0, n, n)}
    pieces = {
        n for first in range(0, 5000, 700) for n in draw.drawn("id", 0, first, min(first + 699, 4999)) if n < 5000
    }
    assert whole == alone == pieces


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.25, 0.9, 1.0])
def test_the_share_is_as_asked_for(share: float) -> None:
    n = 200_000
    found = len(of(Draw(share, SECRET, "shop"), n - 1))
    assert abs(found - share * n) <= 4.5 * (n * share * (1 - share)) ** 0.5


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    """A share that is raised draws all that would have been drawn before."""
    assert of(Draw(0.01, SECRET, "shop"), 20_000) < of(Draw(0.05, SECRET, "shop"), 20_000)


def test_what_is_drawn_for_a_label_is_what_would_be_without_shadows() -> None:
    both, alone = Draw(0.01, SECRET, "shop", 0.05), Draw(0.01, SECRET, "shop")
    assert of(both, 20_000) == of(Draw(0.05, SECRET, "shop"), 20_000)
    assert {n for n in of(both, 20_000) if both.wants_label("id", 0, n)} == of(alone, 20_000)


def test_a_smaller_shadow_share_adds_nothing() -> None:
    assert of(Draw(0.05, SECRET, "shop", 0.01), 5_000) == of(Draw(0.05, SECRET, "shop"), 5_000)


def test_secret_pipeline_topic_and_partition_each_make_it_another_draw() -> None:
    first = of(Draw(0.5, SECRET, "shop"), 2000)
    others = [
        of(Draw(0.5, b"another", "shop"), 2000),
        of(Draw(0.5, SECRET, "other"), 2000),
        of(Draw(0.5, SECRET, "shop"), 2000, topic="id2"),
        of(Draw(0.5, SECRET, "shop"), 2000, partition=1),
    ]
    for other in others:
        assert abs(len(first & other) - 500) < 100  # as two draws that know nothing of each other


def test_neighbours_know_nothing_of_each_other() -> None:
    drawn = of(Draw(0.5, SECRET, "shop"), 100_000)
    marks = np.array([n in drawn for n in range(100_000)], dtype=float)
    for lag in (1, 2, 1024):
        assert abs(np.corrcoef(marks[:-lag], marks[lag:])[0, 1]) < 0.015


def test_it_forgets_and_draws_the_same_again() -> None:
    draw = Draw(0.01, SECRET, "shop")
    before = of(draw, 1000)
    for partition in range(5000):
        draw.drawn("id", partition, 0, 0)
    assert of(draw, 1000) == before


@pytest.mark.parametrize(("share", "secret"), [(-0.1, SECRET), (1.1, SECRET), (float("nan"), SECRET), (0.1, b"")])
def test_what_cannot_be_drawn_is_refused(share: float, secret: bytes) -> None:
    with pytest.raises(ValueError, match=r"share|secret"):
        Draw(share, secret, "shop")
