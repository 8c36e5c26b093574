"""Whatever stands in a header, reading it raises nothing and gives finite numbers, or none."""

from __future__ import annotations

import math

from bisupervised.agents.remote.limiting.limits import Limits, LimitsPolicy
from bisupervised.agents.remote.limiting.rate_headers import read_quotas
from bisupervised.agents.remote.retry import retry_after_s
from hypothesis import example, given
from hypothesis import strategies as st

#: text that resembles what is read: numbers, durations, dates, and pieces of all of them
NUMBERS = ("9" * 400, "1e300", "0", "1", "٣", "-", "+", ".", "nan", "inf", "ms", "s", "m", "h", "d", "\x00", " ")
DATES = ("Mon, ", "31 ", "Feb ", "9999 ", "0001-01-01", "T00:00:00", "23:59:59 ", ":", "GMT", "+99999999", "-2359", "Z")
PIECES = st.sampled_from(NUMBERS + DATES)
VALUES = st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=8).map("".join))
NAMES = st.sampled_from(
    ["retry-after", "retry-after-ms", "date"]
    + [f"x-ratelimit-{field}-{what}" for field in ("limit", "remaining", "reset") for what in ("requests", "tokens")]
    + [
        f"anthropic-ratelimit-{what}-{field}"
        for field in ("limit", "remaining", "reset")
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
    ]
)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=8)


@given(HEADERS)
@example({"retry-after": "Mon, 99 Foo 99999 99:99:99 +99999999", "date": "Wed, 21 Oct 2015 07:28:00 GMT"})
@example({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359", "date": "Mon, 01 Jan 0001 00:00:00 +2359"})
@example({"retry-after": "1 Jan 2000 00:00:00 +9999999999999999999", "date": "1 Jan 2000 00:00:00 GMT"})
def test_a_wish_to_wait_is_a_finite_number_of_seconds_or_none(headers: dict[str, str]) -> None:
    wish = retry_after_s(headers)
    assert wish is None or (math.isfinite(wish) and wish >= 0)


@given(HEADERS)
@example(
    {
        "date": "1 Jan 2000 00:00:00 +9999999999999999999",
        "anthropic-ratelimit-tokens-reset": "0001-01-01T00:00:00+23:59",
    }
)
@example({f"anthropic-ratelimit-{way}-tokens-limit": "1e308" for way in ("input", "output")})
def test_quotas_are_finite_and_a_limit_lets_somebody_call(headers: dict[str, str]) -> None:
    for quota in read_quotas(headers):
        assert all(number is None or math.isfinite(number) for number in quota)
        assert quota.limit is None or quota.limit >= 1
        assert quota.reset_s is None or quota.reset_s > 0


@given(st.lists(HEADERS, max_size=4))
def test_no_header_stops_the_calls_for_ever(several: list[dict[str, str]]) -> None:
    limits, now = Limits(LimitsPolicy(), 0.0), 0.0
    limits.share(1, 1, now)
    for headers in several:
        limits.learn(headers, now)
    assert limits.wait_s(1, now) <= 2 * 3600.0
