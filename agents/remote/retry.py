"""What is tried again, and when. Pure functions.

A response without success is classified once, by `failure`, and from then on by class:

    retry      RateLimited 429, and a 4xx whose code or `retry-after` says the same · Timeout 408 ·
               RemoteError 409, 423 to 425, 5xx, connections lost
    reject     Refused: a success that is withheld, or has such a code; no other input would change that
    refusal    CallRefused: every other status · NotAnAnswer: a success that is none (a page, JSON of something else)
               ContentRefused: by its code, for a content (a policy, too long)
               Final: by `x-should-retry`, never to be asked again
               Terminal: 401, 402, 403, 404, 405, `insufficient_quota`; by its own word, of every call

`x-should-retry` of the server moves a response between the first and the last. A failure in the body of a success is
classified by its own code, as if that were the status.

Of a refusal nobody knows whether the input or the remote is to blame, until others are answered, or nobody is: it waits
at the gate for a verdict. `Terminal` says only that one is enough to ask for it. What is the input's own goes by
`own_of`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ...schemas.errors import (
    InvalidAnswer,
    RateLimited,
    RecordError,
    Refused,
    Rejected,
    RemoteError,
    RemoteFailure,
    Timeout,
)

#: the key is wrong, the money is spent, or there is no such path or model: nothing of it is the record's fault, and
#: held against it, it would send the whole backlog to fallback
_TERMINAL_STATUSES = (401, 402, 403, 404, 405)
#: a conflict, a lock, another server that failed, too early: what is in the way is not the call's
_PASSING_STATUSES = (409, 423, 424, 425)
#: with these, and with redirects, the call was turned away at the door: no model ran, and nobody is billed
_FREE_STATUSES = (*_TERMINAL_STATUSES, 413, 429)
#: the codes of an error's body by which a server says that the key is wrong, or that money, not time, is missing.
#: The last is LiteLLM's, with status 400, for a key that it does not know and has no database to look up in.
TERMINAL_CODES = ("insufficient_quota", "invalid_api_key", "no_db_connection")
#: the codes by which a server refuses the content of what was sent: a policy, or too much of it
REFUSAL_CODES = (
    *("content_filter", "content_policy_violation", "content_policy", "moderation_blocked", "safety"),
    *("context_length_exceeded", "string_above_max_length", "request_too_large", "array_above_max_length"),
)
#: the words by which an answer ends that the remote did not bring to an end
FAILED = ("error", "abort", "insufficient_system_resource", "network_error", "unknown")
#: the words by which an answer ends that was withheld for its content or the input's
WITHHELD = (
    *("content_filter", "content-filter", "content_filtered", "safety", "refusal", "prohibited_content", "blocklist"),
    *("recitation", "spii", "sensitive", "guardrail_intervened"),
)
#: what words in the code of a failure in a success mean, as a status; the first that is in it counts
_WORDS = (
    *(("rate_limit", 429), ("too_many", 429), ("throttl", 429), ("exhausted", 429), ("budget_exceeded", 429)),
    *(("overload", 503), ("unavailable", 503), ("capacity", 503), ("timeout", 504), ("timed_out", 504)),
    *(("authent", 401), ("unauthor", 401), ("billing", 402), ("payment", 402), ("credit", 402), ("permission", 403)),
    *(("forbidden", 403), ("not_found", 404), ("invalid", 400), ("unsupported", 400), ("bad_request", 400)),
    *(("server_error", 500), ("internal", 500), ("api_error", 500), ("upstream", 502), ("gateway", 502)),
)
#: what says in a code that the remote has too much to do, whatever the status, in small letters without a stroke
_LIMITS = ("ratelimit", "toomanyrequests", "throttl", "exhausted", "overload", "capacity", "serviceunavailable")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a call is tried, and how long between tries."""

    tries: int = 6  #: all in all, the first included
    backoff_first_s: float = 0.5  #: seconds before the second try
    backoff_most_s: float = 8.0  #: seconds, bound of the exponential growth
    deadline_s: float = 120.0  #: seconds for all tries and waits, from the first call; not while the circuit is open


class CallRefused(RemoteError):
    """The remote refuses the call itself (4xx, a redirect): the same call would be refused again, unless the remote is
    to blame and is mended.

    `may_be_input` tells what a server may say of one input (4xx) from what it can hardly mean so (a redirect, a 500
    that is not to be tried again).
    """

    def __init__(self, message: str, *, may_be_input: bool) -> None:
        super().__init__(message)
        self.may_be_input = may_be_input


class Final(CallRefused):
    """By the server's own word (`x-should-retry: false`) the call is not to be made again."""


class Terminal(CallRefused):
    """By the server's own word no call can succeed until a person acts: the key is wrong (401, 403), the money is spent
    (402), or the URL or the model is wrong (404, 405).

    Some say so of one input: a firewall 403, a shop 404. So it is asked about, as any refusal, but at once.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, may_be_input=True)


class ContentRefused(CallRefused):
    """By the code of a content that is forbidden or too long: the input's, or that of a template around every input."""

    def __init__(self, message: str) -> None:
        super().__init__(message, may_be_input=True)


class Unclear(CallRefused):
    """A failure in a success that does not say what it is. Where others are answered, it is tried again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, may_be_input=False)


class NotAnAnswer(InvalidAnswer):
    """A success that is not of the protocol's form: a login page, JSON of something else. Whoever answers so to every
    call is not the remote that is meant.
    """


class BrokenOff(InvalidAnswer):
    """An answer that the remote has broken off, by its own word, for a failure of its own: it may pass."""


class CircuitOpen(RemoteError):
    """The remote is down, and the settings say not to wait for it. No call was made."""


class NotConnected(RemoteError):
    """No connection came about, so the remote knows nothing of the call."""


class OutOfTime(Timeout):
    """The next try would come too late. `wait_s` is how many seconds off it was."""

    def __init__(self, message: str, *, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def failure(status: int, headers: Mapping[str, str], text: str, code: str | None = None) -> RecordError:
    """The error that a response without success stands for. `code` is that of the error in its body."""
    if code in REFUSAL_CODES and status < 500:
        return ContentRefused(text)
    wish, retry = retry_after_s(headers), headers.get("x-should-retry", "").strip().lower()
    if is_terminal(code) or (status in _TERMINAL_STATUSES and not (status == 403 and (wish or is_limit(code)))):
        return Terminal(text)
    if retry == "false":
        return Final(text, may_be_input=400 <= status < 500)
    if status == 429:
        return RateLimited(text, retry_after_s=wish)
    if status == 408:
        return Timeout(text, retry_after_s=wish)
    if status in _PASSING_STATUSES or status >= 500 or retry == "true":
        return RemoteError(text, retry_after_s=wish)
    if 400 <= status < 500 and (wish or is_limit(code)):
        return RateLimited(text, retry_after_s=wish)
    return CallRefused(text, may_be_input=400 <= status < 500)


def is_terminal(code: str | None) -> bool:
    """Whether a code says that the key is wrong, or the account: bills are nothing that passes."""
    return code in TERMINAL_CODES or "billing" in (code or "").lower()


def is_limit(code: str | None) -> bool:
    """Whether a code says that the remote has too much to do for now."""
    word = (code or "").lower().replace("_", "").replace("-", "")
    return any(part in word for part in _LIMITS)


def failure_by_code(codes: Sequence[str], headers: Mapping[str, str], text: str) -> RecordError:
    """The error that a failure in the body of a success stands for, by its codes, the most telling first."""
    named = next((code for code in codes if is_terminal(code) or code in REFUSAL_CODES), None)
    status = next((status for status in map(_status_of, codes) if status), None)
    if named is None and status is None:
        return Unclear(text)
    if named in REFUSAL_CODES and (status or 400) < 500:
        return Refused(text)
    return failure(status or 400, headers, text, named)


def _status_of(code: str) -> int:
    """A number that is a status, or the one that a word stands for; 0 for neither."""
    if code.isdecimal():
        return int(code) if len(code) == 3 and code[0] in "45" else 0
    word = code.lower()
    return next((status for part, status in _WORDS if part in word), 0)


def is_refusal(error: BaseException | None) -> bool:
    """Whether the input or the remote is to blame, and nobody knows which."""
    return isinstance(error, CallRefused | NotAnAnswer)


def tells_of_remote(error: BaseException | None) -> bool:
    """Whether the input is to blame, or the remote: a refusal, or an answer of no use. Where all calls end so, it is
    the remote.
    """
    return is_refusal(error) or isinstance(error, Rejected)


def deserves_retrial(refusal: RecordError) -> bool:
    """Whether a refused input is asked once more though others are answered: not where the server says that it is the
    content, or that nobody shall, and not where it is tried again in any case.
    """
    return is_refusal(refusal) and not isinstance(refusal, ContentRefused | Final | Unclear)


def own_of(error: RecordError) -> RecordError:
    """What a refusal is called once it is known to be the input's own."""
    return Refused(str(error)) if isinstance(error, CallRefused) and error.may_be_input else error


def may_pass(error: RecordError) -> bool:
    """Whether trying the same call again may help: connection errors, timeouts, 408, 409, 429, 5xx."""
    if isinstance(error, Unclear):
        return True
    return isinstance(error, RemoteFailure) and not isinstance(error, (CallRefused, CircuitOpen, OutOfTime))


def surely_free(error: BaseException | None, status: int | None) -> bool:
    """Whether a call that ended so, with the status that came, if any, was surely not billed.

    Nothing else is: of a 5xx, a lost connection, a time-out, a cancelled call or a body that cannot be read, nobody
    knows whether the model ran.
    """
    if status is None:
        return isinstance(error, NotConnected)
    return status in _FREE_STATUSES or 300 <= status < 400


def backoff_s(policy: RetryPolicy, attempt: int, random: float, retry_after_s: float | None = None) -> float:
    """Seconds to wait after the failed try number `attempt`, counted from 0.

        min(backoff_first_s · 2^attempt, backoff_most_s) × (1 − 0.25·random)

    `random` is uniform in [0, 1). The server's own wish, `retry_after_s`, wins over the formula.
    """
    if retry_after_s is not None:
        return retry_after_s
    grown = math.ldexp(policy.backoff_first_s, min(attempt, 64))  # 64: beyond any bound, short of overflow
    return min(grown, policy.backoff_most_s) * (1.0 - 0.25 * random)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The server's wish in seconds: `retry-after-ms`, then `retry-after` in seconds or as a date.

    `headers` has names in lower case. A date counts from the response's own `date`, so that no clock of ours
    comes in. What is negative or cannot be read is no wish.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000.0
    named = headers.get("retry-after")
    seconds = _number(named)
    return seconds if seconds is not None else _seconds_between(headers.get("date"), named)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _seconds_between(start: str | None, end: str | None) -> float | None:
    try:
        wait = parsedate_to_datetime(end or "") - parsedate_to_datetime(start or "")
    except (ValueError, TypeError, OverflowError):  # TypeError: one names no time zone; OverflowError: none on earth
        return None
    return max(0.0, wait.total_seconds())
