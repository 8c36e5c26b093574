"""Secrets come from the environment, or from a file of their own; never from the configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import SecretStr


def secret(given: SecretStr | None, file: str) -> str | None:
    """The secret, without the white space around it; None for none. The environment's wins over the file.

    Raises `ValueError` without a word of the secret.
    """
    if given is not None:
        return _checked(given.get_secret_value())
    if not file:
        return None
    try:
        text = Path(file).read_bytes().decode()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("must hold text") from None
    return _checked(text)


#: secrets by table, each with the key that names a file instead
WRITTEN_ELSEWHERE = {
    ("remote", "api_key"): "api_key_file",
    ("kafka", "sasl_password"): "sasl_password_file",
    ("kafka", "ssl_key_password"): "ssl_key_password_file",
}


def take_written(document: dict[str, Any]) -> list[str]:
    """Remove secrets from the configuration file's document, and tell that they must not be there."""
    faults = []
    for (table, key), file in WRITTEN_ELSEWHERE.items():
        written = document.get(table)
        if isinstance(written, dict) and written.pop(key, None) is not None:
            variable = f"BISUPERVISED_{table}__{key}".upper()
            faults.append(f"[{table}] {key}: must not stand in the file; set {variable}, or {file}")
    return faults


def _checked(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text.strip()
