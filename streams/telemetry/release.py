"""Which release this is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache  # each reading of the metrics asks, and it is looked up in files
def release() -> str:
    """The version of the installed package."""
    try:
        return version("bisupervised")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
