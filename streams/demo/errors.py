"""The one error of the demos."""

from __future__ import annotations

from ...schemas.errors import BiSupervisedError


class DemoError(BiSupervisedError):
    """The demo cannot go on. The message says why, and where to look."""
