"""From the settings and the thresholds file to the terms: both supervisors and the limits, which a reload can change.

Who wants them has them from `Configuration`: the thresholds file is read once, with the settings that it fills.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ...agents.remote.limiting.limits import LimitsPolicy
from ...agents.supervision.supervisor import Supervisor
from ...agents.terms import Terms

if TYPE_CHECKING:
    from ...agents.supervision.thresholds import Thresholds
    from .tables import RemoteSettings, Settings


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
    )


def _version(settings: Settings) -> str:
    """The name under which records say which thresholds judged them. Without one, a digest of what judges."""
    local, remote = settings.local, settings.remote
    judges = (local.supervisor, local.threshold, remote.supervisor, remote.threshold, remote.arbitration)
    return settings.thresholds.version or f"digest-{hashlib.sha256(repr(judges).encode()).hexdigest()[:8]}"


def _limits(remote: RemoteSettings) -> LimitsPolicy:
    return LimitsPolicy(remote.requests_per_minute, remote.tokens_per_minute, remote.in_flight, remote.limit_window_s)
