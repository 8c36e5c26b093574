"""How to reach the broker: addresses, encryption, and who we are. Every client of the product is made from it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_WRONG_PASSWORD = (AuthenticationFailedError, SaslAuthenticationFailed)
_WRONG_MECHANISM = (AuthenticationMethodNotSupported, IllegalSaslStateError, UnsupportedSaslMechanismError)


@dataclass(frozen=True, slots=True)
class Connection:
    """What a client must know to be let in."""

    servers: str  #: host:port, comma separated
    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: Mechanism | None = None  #: of SASL; None without
    username: str = ""
    password: str = field(default="", repr=False)
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)

    def options(self) -> dict[str, Any]:
        """Arguments for any client of aiokafka."""
        options: dict[str, Any] = {"bootstrap_servers": self.servers, "security_protocol": self.protocol}
        if self.ssl_context is not None:
            options["ssl_context"] = self.ssl_context
        if self.mechanism is not None:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options


async def why_not(connection: Connection, patience_s: float) -> str:
    """Why a broker that is there does not let us in, in words that say what to mend; '' where none is there.

    The clients keep this to themselves: they log it, and raise that they could not bootstrap.
    """
    for server in connection.servers.split(","):
        host, _, port = server.strip().rpartition(":")
        reason = await _refusal(connection.options(), host, int(port), patience_s)
        if reason:
            return reason
    return ""


async def _refusal(options: Mapping[str, Any], host: str, port: int, patience_s: float) -> str:
    arguments = {key: value for key, value in options.items() if key != "bootstrap_servers"}
    try:
        async with asyncio.timeout(patience_s):
            opened = await create_conn(host, port, request_timeout_ms=round(patience_s * 1000), **arguments)
    except _WRONG_PASSWORD:
        return f"it refuses the user {options['sasl_plain_username']!r}: is the password right?"
    except _WRONG_MECHANISM:
        return f"it does not take [kafka] sasl_mechanism = {options['sasl_mechanism']!r}"
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted: {error.verify_message}; see [kafka] ssl_ca_file"
    except (KafkaConnectionError, ConnectionResetError, ssl.SSLError):
        return (
            "it hangs up: does that port speak another [kafka] security_protocol, or want a certificate "
            "([kafka] ssl_certificate_file)?"
        )
    except (KafkaError, OSError, TimeoutError):
        return ""
    opened.close()
    return ""
