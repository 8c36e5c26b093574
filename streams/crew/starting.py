"""From the command line to the parent."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..settings.tables import Settings
from ..web.site import access_to, ports_of_remote
from .plan import PagePlan, Plan, cores, encode

#: processes for each core, at most: beyond it they only wait for each other
MOST_A_CORE = 4


def unfit(processes: int) -> list[str]:
    """What is wrong with this number."""
    most = MOST_A_CORE * cores()
    if 1 <= processes <= most:
        return []
    return [f"--processes: must be 1 to {most}, {MOST_A_CORE} for each core of this machine (got {processes})"]


def plan_of(settings: Settings, processes: int, words: Sequence[str]) -> Plan:
    """What the parent must know of the settings. Raises `ValueError` where the token cannot be read."""
    web = settings.web
    page = None
    if web.enabled:
        access = access_to(settings)
        page = PagePlan(access.host, web.port, access.hosts, access.token, ports_of_remote(settings))
    return Plan(processes, tuple(words), settings.topics.partitions, settings.log.level, settings.log.as_json, page)


def become_parent(plan: Plan) -> NoReturn:
    """Go on as the parent, under the same process id. The plan goes through a pipe: it may hold the token."""
    read, write = os.pipe()
    os.set_inheritable(read, True)
    with os.fdopen(write, "wb") as pipe:
        pipe.write(encode(plan))
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", f"{__package__}.parent", str(read)])  # noqa: S606  # ourselves
