"""What `check` says of the settings alone: how long a partition may stand still, and what leaves for the remote."""

from __future__ import annotations

from collections.abc import Iterator
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


def look_at_shadows(settings: Settings) -> Iterator[Finding]:
    """That trusted inputs leave for the remote, too, where they do."""
    audit, send = settings.audit, settings.remote.send
    if not audit.shadow_share:
        return
    parts = f"of each the fields that [remote] send names ({', '.join(send)})" if send else "of each the model's input"
    text = (
        f"{audit.shadow_share:.3g} of all inputs leave for the remote, also those that the local model answers and is "
    )
    yield note("remote", f"{text}trusted on: [audit] shadow_share says so; {parts}")
    if settings.remote.mode == "batch":
        text = "these are asked at once and at the full price, not in batches: [remote] model must take such calls, too"
        yield note("remote", f"[audit] shadow_share: {text}")
    if audit.alarm_share:
        shares = f"{audit.alarm_share:.3g} of the requests in place of {audit.share:.3g}"
        most = f"{audit.alarm_hours:g} hours or {audit.alarm_labels:,} more labels at most"
        yield note(
            "audit", f"after an alarm {shares} are labelled, and as many inputs leave for the remote: for {most}"
        )


def look_at_retention(settings: Settings) -> Finding:
    """For how long what waits is assumed to be kept, where the broker is not asked."""
    kept = f"{settings.topics.doubtful} keeps records for {settings.topics.retention_hours:g} hours"
    outage = " while the remote is down: an outage longer than that loses them" * (settings.remote.while_open == "wait")
    return ok("topics", f"assumed, as [topics] retention_hours says: {kept}{outage}; --connect asks the broker")
