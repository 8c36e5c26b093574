"""Lines such as `17;late;arrived broken`: a number, what it is about, and a text that may hold semicolons."""

from __future__ import annotations


def read(value: bytes) -> dict[str, object]:
    """The document. What it raises is about this event, which falls back as `invalid_request` with the reason."""
    number, about, text = value.decode().split(";", 2)
    return {"number": int(number), "about": about, "text": text}
