"""The files of the page."""

from __future__ import annotations

from importlib.resources import files

_STATIC = {
    "/": ("index.html", "text/html"),
    "/base.css": ("base.css", "text/css"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/audit.js": ("audit.js", "text/javascript"),
    "/draw.js": ("draw.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def read_static() -> dict[str, tuple[bytes, str]]:
    """Body and media type by path. Reads from disk, so call it where no event loop runs."""
    folder = files(__package__) / "static"
    return {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _STATIC.items()}
