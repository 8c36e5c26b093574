"""Modules of the user's own, named in the configuration: the local model, a protocol, what compares answers."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from ..schemas.errors import ConfigurationError


def own_module(name: str) -> ModuleType:
    """Import a module from the current folder, PYTHONPATH or what is installed.

    Raises `ImportError`, which says where it was looked for.
    """
    _make_current_folder_importable()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and a module that it imports is not
        raise ImportError(f"{error}. {_where(error.name)}") from error


def own_object(spec: str) -> Any:  # noqa: ANN401  # whatever the user's module holds
    """What `module:name` names; the name may have dots. Raises `ImportError` and `AttributeError`."""
    module, _, name = spec.partition(":")
    return reduce(getattr, name.split("."), own_module(module))


def own_callable(spec: str, named: str) -> Callable[..., Any]:
    """What `module:name` names, to be called. `named`: the setting that says so. Raises `ConfigurationError`."""
    try:
        made = own_object(spec)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError([f"{named}: {spec!r} cannot be imported: {error}"]) from error
    if not callable(made):
        raise ConfigurationError([f"{named}: {spec!r} cannot be called"])
    call: Callable[..., Any] = made
    return call


def _make_current_folder_importable() -> None:
    # as `python -m` does: a console script has its own folder first on the path, not the user's
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _where(name: str) -> str:
    listed = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    places = [f"the current folder ({Path.cwd()})", *(f"{folder} (PYTHONPATH)" for folder in listed)]
    advice = f"Start the command in the folder that holds {name}, or name that folder: PYTHONPATH=FOLDER"
    return f"Looked in {', '.join(places)} and among the installed packages. {advice}"
