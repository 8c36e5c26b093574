"""The files of our pages, and of the worker's."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

_SHARED = {"/base.css": ("base.css", "text/css"), "/icon.svg": ("icon.svg", "image/svg+xml")}
_HERE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/audit.js": ("audit.js", "text/javascript"),
    "/draw.js": ("draw.js", "text/javascript"),
}


def read_static() -> dict[str, tuple[bytes, str]]:
    """Those of the worker's page: body and media type by path. Reads from disk, so call it where no event loop runs."""
    return read_page(__package__, _HERE)


def read_page(package: str, own: Mapping[str, tuple[str, str]]) -> dict[str, tuple[bytes, str]]:
    """Those of this package's page, and what all pages share. `own`: name in `static/` and media type by path."""
    return _read(package, own) | _read(__package__, _SHARED)


def _read(package: str, places: Mapping[str, tuple[str, str]]) -> dict[str, tuple[bytes, str]]:
    folder = files(package) / "static"
    return {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in places.items()}
