"""Which release this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """The version of the installed package."""
    try:
        return version("bisupervised")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
