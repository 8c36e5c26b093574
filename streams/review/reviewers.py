"""Who may label: a file of names, each with a digest of a token. A token is shown once, and is stored nowhere.

A token has 256 random bits, so a plain digest is enough: nobody can try them all.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...schemas.encodings import NotText, text_of
from ...schemas.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_LINE = re.compile(r"(\S+)\s+sha256:([0-9a-f]{64})")
_HEAD = """\
# Who may label, made by `bisupervised reviewers add NAME`: a name, and a digest of its token.
# Delete a line to shut one out.
"""


def new_token() -> str:
    """A token that nobody has."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Reviewers:
    """Names, and digests of tokens."""

    digests: Mapping[str, bytes] = field(repr=False)

    def who(self, token: str) -> str | None:
        """Whose token it is; None for nobody's. All are compared, in constant time each."""
        digest = _digest(token)
        found = [name for name, known in self.digests.items() if hmac.compare_digest(known, digest)]
        return found[0] if found else None

    @property
    def names(self) -> list[str]:
        """All of them."""
        return list(self.digests)


def read_reviewers(path: Path) -> Reviewers:
    """Raises `ConfigurationError` with every fault of the file, and no word of what it holds but names."""
    digests = _digests(path)
    if not digests:
        raise ConfigurationError([f"{path}: names nobody. {_make(path)}"])
    return Reviewers(digests)


def _digests(path: Path) -> dict[str, bytes]:
    """Likewise; it may name nobody."""
    try:
        text = text_of(path.read_bytes())
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}. {_make(path)}"]) from None
    except NotText as error:
        raise ConfigurationError([f"{path}: {error}"]) from None
    digests: dict[str, bytes] = {}
    faults = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or not _NAME.fullmatch(found[1]):
            faults.append(f"{path}, line {number}: must be a name and sha256:DIGEST. {_make(path)}")
        elif found[1] in digests:
            faults.append(f"{path}, line {number}: {found[1]} stands there twice: delete the line that is old")
        else:
            digests[found[1]] = bytes.fromhex(found[2])
    if faults:
        raise ConfigurationError(faults)
    return digests


def add_reviewer(path: Path, name: str) -> str:
    """Write one more into the file, which is made where there is none, and return the token.

    Raises `ConfigurationError` for a name that cannot be one, or is there, and for a faulty or unwritable file.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            [f"{name!r}: a name is 1 to 64 letters, digits and . _ @ + -, a letter or digit first"]
        )
    if path.exists() and name in _digests(path):
        raise ConfigurationError([f"{path}: {name} is there: delete the line first to give a new token"])
    token = new_token()
    try:
        _append(path, f"{name} sha256:{_digest(token).hex()}\n")
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be written: {error.strerror}"]) from None
    return token


def _append(path: Path, line: str) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        before = _HEAD if size == 0 else "" if file.read() == b"\n" else "\n"  # editors may leave the last line open
        file.write((before + line).encode())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _make(path: Path) -> str:
    return f"`bisupervised reviewers add NAME --reviewers {path}` writes such a line"
