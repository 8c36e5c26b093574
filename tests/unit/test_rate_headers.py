from __future__ import annotations

import pytest
from bisupervised.agents.remote.limiting.rate_headers import Quota, Quotas, duration_s, read_quotas

DATE = {"date": "Wed, 21 Oct 2015 07:28:00 GMT"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12ms", 0.012),
        ("6m0s", 360.0),
        ("1.5s", 1.5),
        ("1h2m3s", 3723.0),
        ("1m30.951s", 90.951),
        ("2d", 172800.0),
        ("20", 20.0),
        (" 7s ", 7.0),
        ("0s", 0.0),
        ("", None),
        ("soon", None),
        ("6m0", None),
        ("s", None),
        ("nan", None),
        ("9" * 400 + "s", None),
    ],
)
def test_a_duration_is_read_or_not_one(text: str, seconds: float | None) -> None:
    assert duration_s(text) == pytest.approx(seconds)


def openai(what: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    names = (f"x-ratelimit-{field}-{what}" for field in ("limit", "remaining", "reset"))
    return dict(zip(names, (limit, remaining, reset), strict=True))


def anthropic(what: str, limit: str, remaining: str, reset: str) -> dict[str, str]:
    names = (f"anthropic-ratelimit-{what}-{field}" for field in ("limit", "remaining", "reset"))
    return dict(zip(names, (limit, remaining, reset), strict=True))


@pytest.mark.parametrize(
    ("headers", "requests", "tokens"),
    [
        ({}, Quota(), Quota()),
        (openai("requests", "60", "59", "1s"), Quota(60, 59, 1.0), Quota()),
        (openai("tokens", "150000", "149984", "6m0s"), Quota(), Quota(150000, 149984, 360.0)),
        ({"x-ratelimit-limit-requests": "60"}, Quota(60), Quota()),
        # what a gateway writes that does not know
        (openai("requests", "-1", "-1", "-1"), Quota(), Quota()),
        (openai("requests", "0", "0", "0"), Quota(), Quota()),
        (openai("requests", "60", "0", "0s"), Quota(60), Quota()),
        (openai("requests", "0.01", "0", "0"), Quota(), Quota()),
        (openai("tokens", "1e-300", "0", "0"), Quota(), Quota()),
        (openai("tokens", "1e999", "1e999", "1e999"), Quota(), Quota()),
        (openai("requests", "60", "-1", "1s"), Quota(60), Quota()),
        (openai("requests", "60", "0", "12ms"), Quota(60, 0, 0.012), Quota()),
        (openai("requests", "many", "few", "soon"), Quota(), Quota()),
        # dates count from the response's own
        (DATE | anthropic("requests", "50", "49", "2015-10-21T07:28:30Z"), Quota(50, 49, 30.0), Quota()),
        (DATE | anthropic("tokens", "50", "49", "2015-10-21T09:28:30+02:00"), Quota(), Quota(50, 49, 30.0)),
        (DATE | anthropic("requests", "50", "49", "2015-10-21T07:27:30Z"), Quota(50), Quota()),
        (DATE | anthropic("requests", "50", "49", "2015-10-21T07:28:30"), Quota(50), Quota()),
        (anthropic("requests", "50", "49", "2015-10-21T07:28:30Z"), Quota(50), Quota()),
        (
            DATE
            | anthropic("input-tokens", "1000", "900", "2015-10-21T07:28:10Z")
            | anthropic("output-tokens", "200", "200", "2015-10-21T07:28:20Z"),
            Quota(),
            Quota(1200, 1100, 20.0),
        ),
        (DATE | anthropic("output-tokens", "200", "150", "2015-10-21T07:28:20Z"), Quota(), Quota(200, 150, 20.0)),
        (
            DATE
            | anthropic("tokens", "800", "700", "2015-10-21T07:28:05Z")
            | anthropic("input-tokens", "1000", "900", "2015-10-21T07:28:10Z"),
            Quota(),
            Quota(800, 700, 5.0),
        ),
    ],
)
def test_what_headers_say_of_the_limits(headers: dict[str, str], requests: Quota, tokens: Quota) -> None:
    assert read_quotas(headers) == Quotas(requests, tokens)
