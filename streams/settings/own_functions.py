"""Functions of the user's own that the settings name: each is looked for before anything is made of one.

To find one is to import its module, which runs what stands in there. None is called: no model is loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ...agents.importing import own_callable
from ...schemas.errors import ConfigurationError
from .keys.values import MODULE_CALLABLE
from .tables import Settings

_ALL = ("local", "remote", "remote_supervisor")


def named_functions(settings: Settings, agents: Collection[str] = _ALL) -> dict[str, str]:
    """What a worker of these agents needs, by the setting that names it."""
    return {
        setting: name for setting, name in _settings(settings, frozenset(agents)) if MODULE_CALLABLE.fullmatch(name)
    }


def look_for_own(settings: Settings, agents: Collection[str] = _ALL) -> None:
    """Look for all of them. Raises `ConfigurationError` with each that is not found.

    What a module itself raises while it is imported passes through, with its own traceback.
    """
    faults: list[str] = []
    for setting, name in named_functions(settings, agents).items():
        try:
            own_callable(name, setting)
        except ConfigurationError as error:
            faults += error.faults
    if faults:
        raise ConfigurationError(faults)


def _settings(settings: Settings, agents: frozenset[str]) -> Iterator[tuple[str, str]]:
    if "local" in agents:
        yield "[local] protocol", settings.local.protocol
        yield "[local] model", "" if settings.local.protocol else settings.local.model
    if "remote" in agents:
        yield "[remote] protocol", settings.remote.protocol
        yield "[remote] credentials", settings.remote.credentials
    if not agents.isdisjoint(("local", "remote")):
        yield "[request] format", settings.request.format
    if settings.audit.share:
        yield "[audit] matches", settings.audit.matches
