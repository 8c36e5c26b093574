"""What is tried again, and when. Pure functions.

A response without success is classified once, by `failure`, and from then on by class:

    retry      RateLimited 429 · Timeout 408 · RemoteError 409, 5xx, connections lost
    reject     CallRefused: every other status; the same call would be refused again
    terminal   Terminal: 401, 402, 403, 404, 405, `insufficient_quota`; every call would be refused, until a person acts
               (404 and 405 among answers to others: the gate holds them against the input, as it would a reject)

`x-should-retry` of the server moves a response between the first two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ...schemas.errors import RateLimited, RecordError, RemoteError, RemoteFailure, Timeout

#: statuses that blame what was sent, so that fewer inputs may fare better
_INPUT_AT_FAULT = (400, 413, 422)
#: the key is wrong, the money is spent, or there is no such path or model: nothing of it is the record's fault, and
#: held against it, it would send the whole backlog to fallback
_TERMINAL_STATUSES = (401, 402, 403, 404, 405)
#: with these, and with redirects, the call was turned away at the door: no model ran, and nobody is billed
_FREE_STATUSES = (*_TERMINAL_STATUSES, 413, 429)
#: those of them that may be about one input alone
_OF_ONE_INPUT = (404, 405)
#: the codes of an error's body by which a server says that the key is wrong, or that money, not time, is missing.
#: The last is LiteLLM's, with status 400, for a key that it does not know and has no database to look up in.
TERMINAL_CODES = ("insufficient_quota", "billing_hard_limit_reached", "invalid_api_key", "no_db_connection")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a call is tried, and how long between tries."""

    tries: int = 6  #: all in all, the first included
    backoff_first_s: float = 0.5  #: seconds before the second try
    backoff_most_s: float = 8.0  #: seconds, bound of the exponential growth
    deadline_s: float = 120.0  #: seconds for all tries and waits, from the first call; not while the circuit is open


class CallRefused(RemoteError):
    """The remote refuses the call itself (4xx, a redirect): the same call would be refused again.

    Not retried. `input_at_fault` tells a refusal of what was sent (400, 413, 422) from another
    (a redirect): only for the former can fewer inputs fare better.
    """

    def __init__(self, message: str, *, input_at_fault: bool) -> None:
        super().__init__(message)
        self.input_at_fault = input_at_fault


class Terminal(RemoteError):
    """No call can succeed until a person acts: the key is wrong (401, 403), the money is spent (402), or the URL or
    the model is wrong (404, 405).

    Not retried, and not held against the record: the calls stop, loudly. Unless it `may_be_input`: a server may say
    404 or 405 of one input, and answers others meanwhile.
    """

    def __init__(self, message: str, *, may_be_input: bool = False) -> None:
        super().__init__(message)
        self.may_be_input = may_be_input


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
    if status in _TERMINAL_STATUSES or code in TERMINAL_CODES:
        return Terminal(text, may_be_input=status in _OF_ONE_INPUT)
    wish, retry = retry_after_s(headers), headers.get("x-should-retry", "").strip().lower()
    if retry == "false":
        return CallRefused(text, input_at_fault=status in _INPUT_AT_FAULT)
    if status == 429:
        return RateLimited(text, retry_after_s=wish)
    if status == 408:
        return Timeout(text, retry_after_s=wish)
    if status == 409 or status >= 500 or retry == "true":
        return RemoteError(text, retry_after_s=wish)
    return CallRefused(text, input_at_fault=status in _INPUT_AT_FAULT)


def may_pass(error: RecordError) -> bool:
    """Whether trying the same call again may help: connection errors, timeouts, 408, 409, 429, 5xx."""
    return isinstance(error, RemoteFailure) and not isinstance(error, (CallRefused, Terminal, CircuitOpen, OutOfTime))


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
