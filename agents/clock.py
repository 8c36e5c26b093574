"""The clock of the wall, for what is compared with timestamps. Everything else gets its time passed in."""

from __future__ import annotations

import time


def wall_ms() -> float:
    """Milliseconds since epoch."""
    return time.time() * 1000.0
