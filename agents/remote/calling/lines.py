"""What the log hears of calls."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ....schemas.errors import RecordError

log = logging.getLogger(__name__)


def worth_telling(count: int) -> bool:
    """The first time, the tenth, the hundredth: a remote that miscounts does so in every answer."""
    return str(count).rstrip("0") == "1"


def log_implausible(doubts: Sequence[str], count: int, key: str) -> None:
    facts = {"action": "usage_implausible", "told": list(doubts), "count": count, "key": key}
    text = "the remote's token counts cannot be: the most that the call can have used stands for them (%s; %d so far)"
    log.warning(text, ", ".join(doubts), count, extra=facts)


def log_retry(error: RecordError, attempt: int, wait_s: float, key: str) -> None:
    facts = {
        "action": "remote_retry",
        "reason": error.reason,
        "attempt": attempt,
        "wait_s": wait_s,
        "key": key,
    }
    log.info("the remote failed, trying again in %.3g s: %s", wait_s, error, extra=facts)
