"""The option `--since`: a time ago, such as `2h`, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from ...schemas.errors import ConfigurationError

_AGO = re.compile(r"(\d{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def since_ms(text: str, now_s: float) -> int:
    """Milliseconds since epoch of `30m`, `2h` or `7d` before now, or of a date such as `2026-01-31T12:00`.

    A date without a zone is UTC. The empty text gives 0. Raises `ConfigurationError`.
    """
    if not text:
        return 0
    if ago := _AGO.fullmatch(text):
        return max(0, round((now_s - int(ago[1]) * _SECONDS[ago[2]]) * 1000))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError([f"--since: must be like 30m, 2h, 7d or 2026-01-31T12:00 (got {text!r})"]) from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
