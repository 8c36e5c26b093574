"""How long hypothesis may search: short on every run, long when a person asks (HYPOTHESIS_PROFILE=thorough)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = settings(
    deadline=None,  # a shared machine pauses; the run as a whole has its bound
    suppress_health_check=[HealthCheck.too_slow],  # the same
)
settings.register_profile("quick", _COMMON, max_examples=60, stateful_step_count=40)
settings.register_profile("ci", _COMMON, max_examples=60, stateful_step_count=40, derandomize=True)
settings.register_profile("thorough", _COMMON, max_examples=2000, stateful_step_count=80)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "quick"))
