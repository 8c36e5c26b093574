from __future__ import annotations

import pytest
from bisupervised.agents.supervision.evaluation import Evaluation, decide, evaluate
from bisupervised.agents.supervision.supervisor import Supervisor
from support.samples import drawn, recording

LOCAL, REMOTE = Supervisor("max_softmax", 0.5), Supervisor("max_softmax", 0.7)


def test_every_input_is_counted_where_it_goes() -> None:
    sample = recording(
        [0.5, 0.9, 0.1, 0.2, 0.3, 0.4],
        [True, False, True, True, True, True],
        [0.0, 0.0, 0.7, 0.8, 0.6, 0.1],
        [False, True, True, False, True, False],
    )
    made = evaluate(sample, LOCAL, REMOTE)
    assert (made.n, made.by_local, made.by_remote, made.rejected) == (6, 2, 2, 2)
    assert (made.right, made.right_rejected) == (2, 1)
    assert made.rates() == {
        "remote_fraction": pytest.approx(4 / 6),
        "acceptance": pytest.approx(4 / 6),
        "accuracy": 0.5,
        "error": 0.5,
        "false_positive_rate": pytest.approx(1 / 3),
    }
    assert made.remote_acceptance == 0.5


def test_each_input_goes_one_way() -> None:
    made = decide(drawn(500, 0), LOCAL, REMOTE)
    assert (made.by_local.astype(int) + made.by_remote + made.rejected == 1).all()
    assert made.by_local.any()
    assert made.by_remote.any()
    assert made.rejected.any()


def test_a_rate_over_nothing_is_none() -> None:
    nothing = Evaluation(0, 0, 0, 0, 0, 0)
    assert set(nothing.rates().values()) == {None}
    assert nothing.s_beta(1) is None
    assert Evaluation(n=2, by_local=0, by_remote=0, rejected=2, right=0, right_rejected=0).false_positive_rate is None


@pytest.mark.parametrize(("beta", "expected"), [(0.5, 1.25 * 0.4 / 0.7), (1.0, 0.8 / 1.3), (2.0, 5 * 0.4 / 3.7)])
def test_the_supervised_metric(beta: float, expected: float) -> None:
    made = Evaluation(n=10, by_local=5, by_remote=0, rejected=5, right=4, right_rejected=0)
    assert (made.accuracy, made.acceptance) == (0.8, 0.5)
    assert made.s_beta(beta) == pytest.approx(expected)
    assert Evaluation(n=1, by_local=0, by_remote=0, rejected=1, right=0, right_rejected=0).s_beta(1) is None
