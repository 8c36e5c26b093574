"""From the settings and the thresholds file to the terms: both supervisors and the limits, which a reload can change.

Who wants them has them from `Configuration`: the thresholds file is read once, with the settings that it fills.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ...agents.remote.limiting.limits import LimitsPolicy
from ...agents.supervision.supervisor import Supervisor
from ...agents.terms import Ladder, Terms
from .keys.certificates import CERTIFICATES
from .keys.remote import RemoteSettings
from .keys.server import OF_SERVERS

if TYPE_CHECKING:
    from ...agents.supervision.thresholds import Target, Thresholds
    from .place import Place
    from .tables import Settings

#: what judges the scores
THRESHOLDS = frozenset(
    {
        ("local", "threshold"),
        ("remote", "threshold"),
        ("remote", "supervisor"),
        ("remote", "joint_of"),
        ("remote", "arbitration"),
        ("thresholds", "file"),
        ("thresholds", "version"),
        ("thresholds", "pin"),
    }
)
#: keys of [remote] that say how calls are made and paid; every other one makes the scores or judges them
_CALLS = frozenset(
    {"api_key", "api_key_file", "api_key_header", "api_key_scheme", "headers", "max_response_bytes"}
    | {"batch_size", "batch_wait_ms", "batch_bytes", "in_flight", "requests_per_minute", "tokens_per_minute"}
    | {"limit_window_s", "breaker_failures", "breaker_cool_down_s", "terminal_cool_down_s", "while_open"}
    | {"timeout_s", "deadline_s", "tries", "backoff_first_s", "backoff_most_s", "most_answer_tokens"}
    | {"price_per_call", "price_per_million_prompt_tokens", "price_per_million_completion_tokens"}
    | {"price_per_million_cached_tokens", "price_per_million_cache_write_tokens"}
    | {"credentials", "proxy", "proxy_of_environment", *CERTIFICATES}
    | {"cache_records", "cache_bytes", "cache_hours"}
)
#: what makes the scores. Thresholds belong to it, and wait for the restart where it changes, too
SCORES = (
    frozenset(
        {("local", key) for key in ("model", "labels", "output", "features", "temperature")}
        | {("local", key) for key in ("samples", "supervisor", "version")}
        | {("local", key) for key in OF_SERVERS if key not in _CALLS}
        | {("remote", key) for key in RemoteSettings.model_fields if key not in _CALLS}
    )
    - THRESHOLDS
)
#: these make scores, too, and may differ between workers that make the same ones
_WHERE = frozenset(
    {("local", "model"), ("local", "url"), ("local", "features"), ("remote", "url"), ("remote", "probe")}
)
_DIGEST_CHARS = 16


def terms_of(settings: Settings, thresholds: Thresholds | None) -> Terms:
    """The terms. `thresholds`: what the settings were made with, for what they have no place for; None for no file."""
    local, remote = settings.local, settings.remote
    return Terms(
        version=_version(settings),
        local=Supervisor(local.supervisor, local.threshold),
        remote=Supervisor(remote.supervisor, remote.threshold),
        joint=thresholds.joint if thresholds else None,
        arbitration=remote.arbitration,
        local_model=thresholds.local.model if thresholds else "",
        limits=_limits(remote),
        learned=thresholds.learned if thresholds else None,
        ladder=ladder_of(settings, thresholds) if thresholds else None,
        pinned=settings.thresholds.pin,
    )


def start_of(thresholds: Thresholds) -> int:
    """The rung of its own pair, counted from 1; 0 where that is none."""
    pair = (thresholds.local.threshold, thresholds.remote.threshold)
    return next((at for at, rung in enumerate(thresholds.rungs, 1) if (rung.local, rung.remote) == pair), 0)


def error_promised(thresholds: Thresholds) -> Target | None:
    """The promised error among trusted answers, which a ladder can be climbed for; None where there is none."""
    targets = [one for one in (thresholds.target, thresholds.also) if one is not None and one.kind == "error"]
    return next((one for one in targets if 0.0 < one.value < 1.0), None)


def ladder_of(settings: Settings, thresholds: Thresholds) -> Ladder | None:
    """The rungs of the file, where its own pair is one of them."""
    start = start_of(thresholds)
    if not start:
        return None
    score = score_digest(settings)
    return Ladder(thresholds.digest, thresholds.version, start, thresholds.rungs, thresholds.local.model, score)


def score_digest(settings: Settings) -> str:
    """16 hex digits: equal where the scores are made alike, so that the same thresholds judge them."""
    judged = SCORES - _WHERE | {("remote", "own_score")}
    said = [(table, key, _plain(getattr(getattr(settings, table), key))) for table, key in sorted(judged)]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:_DIGEST_CHARS]


def _plain(value: Any) -> Any:  # noqa: ANN401  # whatever a key holds
    return value.model_dump() if isinstance(value, BaseModel) else value


def scored_alike(old: Settings, new: Settings, different: frozenset[Place]) -> bool:
    """Whether both make the same scores; `different`: the keys that differ."""
    return not different & SCORES and old.remote.own_score == new.remote.own_score


def _version(settings: Settings) -> str:
    """The name under which records say which thresholds judged them. Without one, a digest of what judges."""
    local, remote = settings.local, settings.remote
    judges = (local.supervisor, local.threshold, remote.supervisor, remote.threshold, remote.arbitration)
    return settings.thresholds.version or f"digest-{hashlib.sha256(repr(judges).encode()).hexdigest()[:8]}"


def _limits(remote: RemoteSettings) -> LimitsPolicy:
    return LimitsPolicy(remote.requests_per_minute, remote.tokens_per_minute, remote.in_flight, remote.limit_window_s)
