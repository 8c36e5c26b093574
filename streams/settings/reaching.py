"""How a server is reached over HTTP: certificates and proxies, for every table that has these keys.

Certificates and host names are always checked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks the latter

from ...agents.remote.transport import MAX_RESPONSE_BYTES, AiohttpTransport, Transport
from ...schemas.errors import ConfigurationError
from .keys.certificates import CERTIFICATES, Certificates, Reached
from .secret import secret


def reaching_faults(table: Reached, name: str, url: str) -> list[str]:
    """What is wrong with how calls to this address are to be encrypted, and with their proxy."""
    given = [key for key in CERTIFICATES if getattr(table, key)]
    faults = []
    if table.proxy and table.proxy_of_environment:
        faults.append(f"[{name}] proxy_of_environment: has no use beside proxy, which says where calls go")
    if url.startswith("http:"):
        return faults + [f"[{name}] {key}: has no effect with an http:// url" for key in given]
    return faults + (encryption_of(table, name)[1] if given else [])


def transport_to(
    table: Reached, url: str, name: str, *, connections: int, max_response_bytes: int = MAX_RESPONSE_BYTES
) -> AiohttpTransport:
    """What carries calls to this address. Reads the certificates, now. Raises `ConfigurationError`."""
    context = None  # the usual way
    if any(getattr(table, key) for key in CERTIFICATES):
        context, faults = encryption_of(table, name)
        if faults:
            raise ConfigurationError(faults)
    proxy = table.proxy or (_proxy_of_environment(url) if table.proxy_of_environment else "")
    return AiohttpTransport(connections=connections, max_response_bytes=max_response_bytes, tls=context, proxy=proxy)


@asynccontextmanager
async def connected(table: Reached, url: str, name: str) -> AsyncIterator[Transport]:
    """For a few questions: who asks so seldom keeps no connection, and reads the certificates each time.

    Raises `ValueError` where one cannot be read any more.
    """
    try:
        transport = await asyncio.to_thread(transport_to, table, url, name, connections=1)
    except ConfigurationError as error:
        raise ValueError("; ".join(error.faults)) from error
    try:
        yield transport
    finally:
        await transport.close()


def _proxy_of_environment(url: str) -> str:
    """What HTTPS_PROXY or HTTP_PROXY names for this address; '' for none, and where NO_PROXY names it."""
    parts = urlsplit(url)
    if proxy_bypass_environment(parts.hostname or ""):
        return ""
    return getproxies_environment().get(parts.scheme, "")


def encryption_of(table: Certificates, name: str) -> tuple[ssl.SSLContext | None, list[str]]:
    """How to encrypt as the table of this name says, and what is wrong with it; None where that is not possible."""
    faults = [
        f"[{name}] {key}: cannot be read: {fault}"
        for key in ("ssl_ca_file", "ssl_certificate_file", "ssl_key_file")
        if (fault := unreadable(getattr(table, key)))
    ]
    if table.ssl_key_file and not table.ssl_certificate_file:
        faults.append(f"[{name}] ssl_certificate_file: is missing: the certificate that belongs to ssl_key_file")
    if faults:
        return None, faults
    try:
        return _ssl_context(table), []
    except ValueError as error:
        return None, [f"[{name}] {error}"]


def unreadable(path: str) -> str:
    """Why a file cannot be read; '' where it can, or is none."""
    try:
        if path:
            Path(path).read_bytes()
    except OSError as error:
        return error.strerror or "no such file"
    return ""


def _ssl_context(table: Certificates) -> ssl.SSLContext:
    """Certificates and host names are always checked. Raises `ValueError` that names the key, and no secret."""
    try:
        context = ssl.create_default_context(cafile=table.ssl_ca_file or None)
    except (ssl.SSLError, OSError):
        raise ValueError("ssl_ca_file: holds no certificate in PEM form") from None
    if not table.ssl_certificate_file:
        return context
    try:
        password = secret(table, "ssl_key_password")
    except ValueError as error:
        raise ValueError(f"ssl_key_password_file: {error}") from None
    try:
        # a callable, for without one OpenSSL would ask for the password at the terminal
        context.load_cert_chain(table.ssl_certificate_file, table.ssl_key_file or None, lambda: password or "")
    except (ssl.SSLError, OSError):
        raise ValueError(
            "ssl_key_file: does not open with that password, or does not belong to ssl_certificate_file"
        ) from None
    return context
