"""Whether the remote's host and port can be reached, and whether they speak what `[remote] url` says they do."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

#: seconds that one step may take
PATIENCE_S = 10.0


class Host(NamedTuple):
    """Who is to be reached."""

    name: str
    port: int
    secure: bool  #: over TLS

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


def host_of(url: str) -> Host:
    """The host of a `[remote] url`."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    return Host(parts.hostname or "", parts.port or (443 if secure else 80), secure)


async def why_unreachable(host: Host, patience_s: float) -> str | None:
    """Why calls cannot get there, and what to do; None where they can."""
    try:
        await _open(host, patience_s)
    except (socket.gaierror, UnicodeError):  # UnicodeError: no name of a host can be like this
        return f"no address is known for {host.name}: is [remote] url right?"
    except TimeoutError:
        return f"{host} does not answer: is a firewall between?"
    except OSError as error:
        return f"nothing listens at {host} ({_why(error)}): is the server up?"
    return await _why_no_tls(host, patience_s) if host.secure else None


async def speaks_tls(host: Host, patience_s: float) -> bool:
    """Whether the other side takes a TLS handshake, whoever it is."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE  # nothing is sent: only whether it is TLS
    try:
        await _open(host, patience_s, anybody)
    except (OSError, TimeoutError):
        return False
    return True


async def _why_no_tls(host: Host, patience_s: float) -> str | None:
    plain = "if it speaks plain HTTP, [remote] url must begin with http://"
    try:
        await _open(host, patience_s, ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        why = f"no TLS with {host}: its certificate is not trusted ({error.verify_message})"
        return f"{why}; the variable SSL_CERT_FILE can name a file with the authority that signed it"
    except ssl.SSLError as error:
        return f"no TLS with {host}: {error.reason or error}; {plain}"
    except TimeoutError:
        return f"no TLS with {host}: the handshake gets no answer; {plain}"
    except OSError as error:
        return f"no TLS with {host}: {_why(error)}; {plain}"
    return None


async def _open(host: Host, patience_s: float, context: ssl.SSLContext | None = None) -> None:
    async with asyncio.timeout(patience_s):
        _, writer = await asyncio.open_connection(host.name, host.port, ssl=context)
    writer.close()


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)  # its own text repeats the address
