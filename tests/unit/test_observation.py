"""What the committed outcomes of an agent add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from bisupervised.schemas.records import Outgoing, Verdict
from bisupervised.streams.telemetry.observation import LAST_FALLBACKS, VALUE_BYTES, Observation
from support.outcomes import REQUESTED_MS, answered, doubted, fallen, paid

pytestmark = pytest.mark.unit


def seen(agent: str, *transactions: Sequence[Outgoing], after_ms: float = 500.0) -> dict[str, Any]:
    observation = Observation(agent, lambda: REQUESTED_MS + after_ms)
    for outcomes in transactions:
        observation.committed(outcomes)
    return observation.snapshot()


def test_outcomes_are_counted_by_where_they_went_and_why() -> None:
    told = seen("remote_supervisor", [answered("remote"), fallen("low_confidence")], [fallen("no_confidence")])
    assert told["routes"] == {"results": 1, "fallback": 2}
    assert told["reasons"] == {"low_confidence": 1, "no_confidence": 1}
    assert told["answered_by"] == {"remote": 1}
    assert (told["trusted"], told["rejected"]) == (1, 2)


def test_a_doubt_is_the_local_supervisors_rejection() -> None:
    told = seen("local", [answered(), answered(), doubted(), fallen("invalid_request")])
    assert (told["trusted"], told["rejected"]) == (2, 1)


def test_what_is_taken_without_trust_is_not_trusted() -> None:
    told = seen("remote", [answered(trusted=False), answered()])
    assert (told["trusted"], told["untrusted"]) == (1, 1)


def test_the_agent_that_pays_counts_cost_and_calls_and_no_other_does() -> None:
    unanswered = fallen("timeout", remote=Verdict(None, None, cost=0.0, calls=3))
    told = seen("remote", [paid(2.0, 1), paid(4.0, 2), unanswered, fallen("invalid_request")])
    assert (told["asked"], told["calls"], told["cost"]) == (3, 6, 6.0)
    assert seen("remote_supervisor", [fallen(remote=Verdict(1, 0.1, cost=2.0, calls=1))])["cost"] == 0.0


def test_a_sum_of_money_has_no_noise() -> None:
    assert seen("remote", [paid(0.1, 1)] * 3)["cost"] == 0.3


def test_latency_is_from_the_request_to_the_commit_of_its_last_outcome() -> None:
    told = seen("remote_supervisor", [answered("remote"), answered("local"), answered("remote"), fallen(), doubted()])
    latency = told["latency"]
    assert {kind: buckets.count for kind, buckets in latency.items()} == {"remote": 2, "local": 1, "fallback": 1}
    assert latency["remote"].total == pytest.approx(1.0)
    assert latency["remote"].quantile(0.5) == pytest.approx(0.5)


def test_a_request_from_the_future_took_no_time() -> None:
    assert seen("local", [answered()], after_ms=-60_000.0)["latency"]["local"].total == 0.0


def test_a_fallback_is_remembered_with_all_that_is_known() -> None:
    [told] = seen("remote", [fallen("timeout", 7, b"v" * (VALUE_BYTES + 1), Verdict(1, 0.1, calls=2))])["fallbacks"]
    assert (told["source"], told["reason"], told["detail"]) == ("requests-0-7", "timeout", "because 7")
    assert told["at_ms"] == REQUESTED_MS + 500.0
    assert (told["agent"], told["remote"]["calls"]) == ("remote", 2)
    assert (told["value"], told["value_bytes"]) == (b"v" * VALUE_BYTES, VALUE_BYTES + 1)


def test_a_tombstone_has_no_value_to_remember() -> None:
    [told] = seen("local", [fallen("invalid_request", value=None)])["fallbacks"]
    assert (told["value"], told["value_bytes"]) == (b"", 0)


def test_the_last_fallbacks_are_kept_the_newest_first() -> None:
    first, second = [fallen(offset=n) for n in range(3)], [fallen(offset=n) for n in range(3, 3 + 2 * LAST_FALLBACKS)]
    told = seen("local", first, second)
    sources = [each["source"] for each in told["fallbacks"]]
    last = 2 + 2 * LAST_FALLBACKS
    assert sources == [f"requests-0-{last - n}" for n in range(LAST_FALLBACKS)]
    assert told["reasons"] == {"low_confidence": 3 + 2 * LAST_FALLBACKS}


def test_outcomes_that_nobody_knows_anything_about_are_counted_by_route() -> None:
    told = seen("local", [Outgoing("results", None, b"x", (), 0), Outgoing("fallback", None, b"x", (), 0)])
    assert told["routes"] == {"results": 1, "fallback": 1}
    assert (told["answered_by"], told["fallbacks"]) == ({}, [])


def test_a_transaction_without_outcomes_is_no_sign_of_life() -> None:
    assert seen("local", [])["last_ms"] is None
    assert seen("local", [answered()])["last_ms"] == REQUESTED_MS + 500.0
