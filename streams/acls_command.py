"""`bisupervised topics acls`: what the broker has to allow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..schemas.errors import ConfigurationError
from .acls import command, creation_acls, worker_acls
from .cli import DONE, parse_agents
from .settings_file import load_settings
from .topology import AGENTS


def acls(
    *,
    config: Annotated[Path | None, Parameter(name=("--config", "-c"))] = None,
    agents: str = ",".join(AGENTS),
    principal: str = "User:bisupervised",
    creation: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Print what a worker must be allowed to do at a broker that asks, as arguments of `kafka-acls.sh`, a line each.

    Parameters
    ----------
    config
        TOML file with the settings.
    agents
        Which agents the worker runs, separated by commas.
    principal
        Who it is to the broker.
    creation
        What `topics create` needs instead.
    """
    chosen, faults = parse_agents(agents)
    if faults:
        raise ConfigurationError(faults)
    settings = load_settings(config)
    needed = creation_acls(settings) if creation else worker_acls(settings, chosen)
    sys.stdout.writelines(f"{command(acl, principal)}\n" for acl in needed)
    return DONE
