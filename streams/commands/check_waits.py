"""What `check` says of the settings alone: how long a partition may stand still."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..worker.waits import waits
from .findings import Finding, note, ok

if TYPE_CHECKING:
    from ..settings.tables import Settings

#: what happened, in words, and the keys of which the wait is made
_CASES = {
    "leave": ("a worker is replaced", "[stream] drain_s or transaction_timeout_s"),
    "kill": ("a worker dies", "[kafka] session_timeout_s, [stream] drain_s or transaction_timeout_s"),
    "freeze": ("a worker stands still", "[kafka] session_timeout_s, [stream] drain_s or transaction_timeout_s"),
    "broker": ("a broker hangs", "[kafka] request_timeout_s, [stream] drain_s or transaction_timeout_s"),
    "transaction": ("a transaction is lost", "[stream] transaction_timeout_s"),
}


def look_at_waits(settings: Settings) -> Finding:
    """Whether the longest pause is within its aim."""
    case, seconds = waits(settings).longest
    happened, keys = _CASES[case]
    aim = settings.stream.pause_aim_s
    text = f"a partition stands still for at most {seconds:g} s when {happened}"
    if seconds <= aim:
        return ok("stream", text)
    return note("stream", f"{text}, more than pause_aim_s = {aim:g}: lower {keys}, or raise the aim")


def look_at_retention(settings: Settings) -> Finding:
    """For how long what waits is assumed to be kept, where the broker is not asked."""
    kept = f"{settings.topics.doubtful} keeps records for {settings.topics.retention_hours:g} hours"
    outage = " while the remote is down: an outage longer than that loses them" * (settings.remote.while_open == "wait")
    return ok("topics", f"assumed, as [topics] retention_hours says: {kept}{outage}; --connect asks the broker")
