from __future__ import annotations

import pytest
from bisupervised.agents.remote.retry import (
    CallRefused,
    CircuitOpen,
    ContentRefused,
    Final,
    NotAnAnswer,
    OutOfTime,
    RetryPolicy,
    Terminal,
    Unclear,
    backoff_s,
    deserves_retrial,
    failure,
    failure_by_code,
    is_refusal,
    may_pass,
    own_of,
    retry_after_s,
)
from bisupervised.schemas.errors import (
    BudgetSpent,
    InvalidAnswer,
    InvalidRequest,
    RateLimited,
    RecordError,
    Refused,
    RemoteError,
    Timeout,
)

POLICY = RetryPolicy(tries=6, backoff_first_s=0.5, backoff_most_s=8.0)


@pytest.mark.parametrize(
    ("attempt", "random", "wait_s"),
    [
        (0, 0.0, 0.5),
        (1, 0.0, 1.0),
        (2, 0.0, 2.0),
        (3, 0.0, 4.0),
        (4, 0.0, 8.0),
        (5, 0.0, 8.0),
        (5000, 0.0, 8.0),
        (0, 1.0, 0.375),
        (4, 0.5, 7.0),
    ],
)
def test_backoff_doubles_up_to_a_bound_less_jitter(attempt: int, random: float, wait_s: float) -> None:
    assert backoff_s(POLICY, attempt, random) == wait_s


@pytest.mark.parametrize("wish_s", [0.0, 0.01, 60.0])
def test_the_servers_wish_wins(wish_s: float) -> None:
    assert backoff_s(POLICY, 3, 0.5, wish_s) == wish_s


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "wish_s"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "3"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:30 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30", "date": DATE}, None),
    ],
)
def test_retry_after_is_read_or_ignored(headers: dict[str, str], wish_s: float | None) -> None:
    assert retry_after_s(headers) == wish_s


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (RemoteError("x"), True),
        (RateLimited("x"), True),
        (Timeout("x"), True),
        (CallRefused("x", may_be_input=True), False),
        (CallRefused("x", may_be_input=False), False),
        (Terminal("x"), False),
        (Final("x", may_be_input=True), False),
        (CircuitOpen("x"), False),
        (OutOfTime("x"), False),
        (InvalidAnswer("x"), False),
        (InvalidRequest("x"), False),
        (BudgetSpent("x"), False),
    ],
)
def test_what_may_pass_is_told_by_class(error: RecordError, again: bool) -> None:
    assert may_pass(error) is again


@pytest.mark.parametrize(
    ("refusal", "once_more"),
    [
        (CallRefused("x", may_be_input=True), True),
        (Terminal("x"), True),
        (NotAnAnswer("x"), True),
        (ContentRefused("x"), False),
        (Final("x", may_be_input=True), False),
        (Unclear("x"), False),
        (InvalidAnswer("x"), False),
        (Refused("x"), False),
    ],
)
def test_a_refused_input_is_asked_once_more_unless_the_server_says_why_not_or_it_was_answered(
    refusal: RecordError, once_more: bool
) -> None:
    assert deserves_retrial(refusal) is once_more


def test_a_refusal_goes_on_the_wire_as_a_remote_error() -> None:
    assert CallRefused("x", may_be_input=True).reason == "remote_error"


@pytest.mark.parametrize(
    ("status", "headers", "code", "kind"),
    [
        (408, {}, None, Timeout),
        (409, {}, None, RemoteError),
        (429, {}, None, RateLimited),
        (429, {}, "rate_limit_exceeded", RateLimited),
        (500, {}, None, RemoteError),
        (529, {}, None, RemoteError),
        (307, {}, None, CallRefused),
        (400, {}, None, CallRefused),
        (404, {}, None, Terminal),
        (405, {}, None, Terminal),
        (410, {}, None, CallRefused),
        (422, {}, "insufficient", CallRefused),
        (400, {}, "content_policy_violation", ContentRefused),
        (413, {}, "string_above_max_length", ContentRefused),
        (500, {}, "content_filter", RemoteError),
        (413, {}, "rate_limit_exceeded", RateLimited),
        (403, {}, "RESOURCE_EXHAUSTED", RateLimited),
        (403, {"retry-after": "7"}, None, RateLimited),
        (400, {"retry-after": "0"}, None, CallRefused),
        (400, {}, "too_many_tokens", CallRefused),
        (401, {"retry-after": "7"}, "rate_limit", Terminal),
        (307, {"retry-after": "7"}, None, CallRefused),
        *((status, {}, None, RemoteError) for status in (423, 424, 425)),
        (401, {}, None, Terminal),
        (403, {}, None, Terminal),
        (429, {}, "insufficient_quota", Terminal),
        (400, {}, "insufficient_quota", Terminal),
        # the server's word wins, but for what only a person can mend
        (500, {"x-should-retry": "false"}, None, Final),
        (429, {"x-should-retry": "False"}, None, Final),
        (400, {"x-should-retry": "true"}, None, RemoteError),
        (429, {"x-should-retry": "true"}, None, RateLimited),
        (429, {"x-should-retry": "perhaps"}, None, RateLimited),
        (401, {"x-should-retry": "true"}, None, Terminal),
    ],
)
def test_a_response_is_classified_once(status: int, headers: dict[str, str], code: str | None, kind: type) -> None:
    assert type(failure(status, headers, "text", code)) is kind


def test_a_failure_carries_the_servers_wish() -> None:
    error = failure(503, {"retry-after-ms": "250"}, "text")
    assert isinstance(error, RemoteError)
    assert error.retry_after_s == 0.25


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 422, 451])
def test_what_is_the_inputs_own_is_refused(status: int) -> None:
    error = failure(status, {}, "no")
    assert is_refusal(error)
    assert isinstance(own_of(error), Refused)


@pytest.mark.parametrize(("status", "headers"), [(301, {}), (500, {"x-should-retry": "false"})])
def test_what_can_hardly_be_the_inputs_own_keeps_its_reason(status: int, headers: dict[str, str]) -> None:
    error = failure(status, headers, "no")
    assert is_refusal(error)
    assert own_of(error) is error


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (["429"], RateLimited),
        (["rate_limit_error"], RateLimited),
        (["RESOURCE_EXHAUSTED"], RateLimited),
        (["502"], RemoteError),
        (["overloaded_error"], RemoteError),
        (["server_error"], RemoteError),
        (["504", "timeout"], RemoteError),
        (["401"], Terminal),
        (["authentication_error"], Terminal),
        (["insufficient_quota", "429"], Terminal),
        (["429", "insufficient_quota"], Terminal),
        (["invalid_request_error"], CallRefused),
        (["400"], CallRefused),
        (["not_found_error"], Terminal),
        (["content_filter"], Refused),
        (["400", "context_length_exceeded"], Refused),
        (["1113"], Unclear),
        (["200"], Unclear),
        ([], Unclear),
    ],
)
def test_a_failure_in_a_success_is_what_its_code_says(codes: list[str], kind: type) -> None:
    assert type(failure_by_code(codes, {}, "text")) is kind


def test_what_does_not_say_what_it_is_may_pass() -> None:
    assert may_pass(Unclear("x"))
