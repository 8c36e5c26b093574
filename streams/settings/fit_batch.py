"""Keys that are right alone and do not fit batches: what they cannot promise, and what they cannot ask."""

from __future__ import annotations

from .keys.protocols import AGREEMENT, PROTOCOLS, asks_singly
from .keys.values import seconds_of
from .place import Place
from .tables import Settings

#: hours within which a provider answers a batch
_WINDOW_HOURS = 24
#: for which an input and the log of its batch must be kept, at least: what has expired may go into another one
KEPT_HOURS = 2 * _WINDOW_HOURS


def unfit_for_batches(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """What does not fit `[remote] mode`. Whatever is in `faulty` is reported already."""
    remote, beyond = settings.remote, ("remote", "batch_if_deadline_beyond")
    if ("remote", "mode") in faulty:
        return []
    if remote.mode != "both" and remote.batch_if_deadline_beyond:
        return [f'[remote] batch_if_deadline_beyond: has no use with mode = "{remote.mode}": it belongs to "both"']
    if not remote.batches:
        return []
    faults = []
    if remote.mode == "both" and beyond not in faulty:
        faults += _beyond(settings)
    return faults + _unpromised(settings, faulty) + _unasked(settings, faulty)


def _beyond(settings: Settings) -> list[str]:
    """Which inputs can wait is told by their deadlines."""
    remote, request = settings.remote, settings.request
    key = "[remote] batch_if_deadline_beyond"
    if not seconds_of(remote.batch_if_deadline_beyond):
        return [f'{key}: must be given with mode = "both", such as "6h"']
    if not request.deadline_ms and not request.deadline_header:
        return [f"{key}: needs deadlines: name in [request] deadline_ms or deadline_header where they stand"]
    return []


def _unpromised(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """What holds for direct calls and not for batches."""
    stream, topics, mode = settings.stream, settings.topics, f'[remote] mode = "{settings.remote.mode}"'
    faults = []
    if stream.ordering == "key" and ("stream", "ordering") not in faulty:
        text = "the answers of a batch come hours after those of other inputs of their key"
        faults.append(f'[stream] ordering: must be "none" with {mode}: {text}')
    if stream.delivery != "exactly_once" and ("stream", "delivery") not in faulty:
        text = "what is in a batch, and paid, is told in the transaction of its inputs"
        faults.append(f'[stream] delivery: must be "exactly_once" with {mode}: {text}')
    if topics.retention_hours <= KEPT_HOURS and ("topics", "retention_hours") not in faulty:
        text = f"a batch takes up to {_WINDOW_HOURS}, and its inputs are read again when it ends"
        got = f"(got {topics.retention_hours:g})"
        faults.append(f"[topics] retention_hours: must be more than {KEPT_HOURS} with {mode}: {text} {got}")
    return faults


def _unasked(settings: Settings, faulty: frozenset[Place]) -> list[str]:
    """What no batch interface takes."""
    remote, batch = settings.remote, settings.batch
    faults = []
    if remote.protocol in PROTOCOLS and not asks_singly(remote.protocol, remote.generic_json):
        text = "a line of a batch is one call about one input, with a body of JSON"
        faults.append(f'[remote] mode: "{remote.mode}" cannot be had with protocol = "{remote.protocol}": {text}')
    if remote.own_score == AGREEMENT:
        text = "an answer takes several calls, and a batch makes one"
        faults.append(f'[remote] mode: "{remote.mode}" cannot be had with supervisor = "{AGREEMENT}": {text}')
    if remote.credentials:
        text = "calls are signed one by one, and a batch interface is asked with a key"
        faults.append(f'[remote] mode: "{remote.mode}" cannot be had with credentials: {text}')
    if remote.mode == "batch" and remote.cache_records:
        faults.append('[remote] cache_records: has no use with mode = "batch": nothing is asked as it comes')
    if batch.poll_first_s > batch.poll_most_s and not {("batch", "poll_first_s"), ("batch", "poll_most_s")} & faulty:
        faults.append(
            f"[batch] poll_first_s: must be at most poll_most_s (got {batch.poll_first_s:g} and {batch.poll_most_s:g})"
        )
    if batch.endpoint and batch.interface != "openai_batch":
        faults.append(f'[batch] endpoint: has no use with interface = "{batch.interface}"')
    return faults
