"""How to reach the broker: addresses, encryption, and who we are. Every client of the product is made from it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from aiokafka.abc import AbstractTokenProvider
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

from ..logins.tokens import NoToken
from .client import notice_broken_connections

if TYPE_CHECKING:
    from collections.abc import Mapping


SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

log = logging.getLogger(__name__)

WRONG_PASSWORD = (AuthenticationFailedError, SaslAuthenticationFailed)
WRONG_MECHANISM = (AuthenticationMethodNotSupported, IllegalSaslStateError, UnsupportedSaslMechanismError)


class Credentials(NamedTuple):
    """What a connection comes in with."""

    password: str = ""
    ssl_context: ssl.SSLContext | None = None


class Renewal:
    """The credentials as they are now, and whether the broker took the last ones.

    A client keeps what it was made with for as long as it lives, and makes connections until then. So this rides along
    on the password and the TLS context, and our own connections (`client.py`) ask it for what to come in with. Any
    other takes the password and the context as they were.
    """

    def __init__(self, credentials: Credentials, read: Callable[[Credentials], Credentials]) -> None:
        """`read` gives those of now, given the last ones. It may block; `ValueError` says that there are none."""
        self.credentials = credentials
        self.refusal = ""  #: why the broker refused the last connection; '' where it did not
        self.refusals = 0  #: connections that it refused
        self._read = read
        self._welcome = False  # it has let us in before: who has never come in is told by what was to be done there

    def __repr__(self) -> str:
        return f"<Renewal refusals={self.refusals}>"

    def carried(self, options: dict[str, Any]) -> dict[str, Any]:
        """These arguments of a client, with this riding along."""
        if "sasl_plain_password" in options:
            options["sasl_plain_password"] = password = _Password(options["sasl_plain_password"])
            password.renewal = self
        if "sasl_oauth_token_provider" in options:
            options["sasl_oauth_token_provider"].renewal = self
        if "ssl_context" in options:
            options["ssl_context"].renewal = self
        return options

    async def renew(self) -> Credentials:
        """The credentials of now; the last ones where they cannot be read, as in the middle of being replaced."""
        try:
            self.credentials = await asyncio.to_thread(self._read, self.credentials)
        except ValueError as error:
            text = "the credentials for the broker cannot be read again, the last ones stay: %s"
            log.warning(text, error, extra={"action": "credentials_unread"})
        return self.credentials

    def refused(self, error: BaseException, username: str) -> None:
        """The broker did not let a connection in."""
        why = refusal_of(error, username)
        if not why:
            return
        self.refusals += 1
        if self._welcome and not self.refusal:
            text = "the broker does not let us in any more: %s. It is tried again, with what the files hold then"
            log.error(text, why, extra={"action": "broker_refuses"})
        self.refusal = why

    def accepted(self) -> None:
        """The broker let a connection in."""
        if self._welcome and self.refusal:
            log.info("the broker lets us in again", extra={"action": "broker_accepts", "refusals": self.refusals})
        self._welcome, self.refusal = True, ""


class _Password(str):
    """A password with its renewal."""

    renewal: Renewal


def refusal_of(error: BaseException, username: str) -> str:
    """What a broker that refuses a connection holds against our credentials; '' where it is about something else."""
    if isinstance(error, WRONG_PASSWORD):
        if not username:
            return "it refuses our token: does it believe who issued it, and for whom?"
        return f"it refuses the user {username!r}: is the password right?"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; see [kafka] ssl_ca_file"
    if isinstance(error, ssl.SSLError):
        return f"it does not take our certificate, or speaks no TLS ({error.reason}); see [kafka] ssl_certificate_file"
    return ""


@dataclass(frozen=True, slots=True)
class Connection:
    """What a client must know to be let in."""

    servers: str  #: host:port, comma separated
    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: Mechanism | None = None  #: of SASL; None without
    username: str = ""
    password: str = field(default="", repr=False)
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    tokens: AbstractTokenProvider | None = field(default=None, repr=False, compare=False)  #: in place of a password
    renewal: Renewal | None = field(default=None, repr=False, compare=False)  #: None where nothing can be replaced

    def options(self) -> dict[str, Any]:
        """Arguments for any client of aiokafka."""
        options: dict[str, Any] = {"bootstrap_servers": self.servers, "security_protocol": self.protocol}
        if self.ssl_context is not None:
            options["ssl_context"] = self.ssl_context
        if self.tokens is not None:
            options |= {"sasl_mechanism": self.mechanism, "sasl_oauth_token_provider": self.tokens}
        elif self.mechanism is not None:
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        if self.renewal is None:
            return options
        notice_broken_connections()  # only these read credentials again
        return self.renewal.carried(options)


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
    except (*WRONG_PASSWORD, ssl.SSLCertVerificationError) as error:
        return refusal_of(error, options.get("sasl_plain_username", ""))
    except NoToken as error:
        return f"there is no token to come in with: {error}"
    except WRONG_MECHANISM:
        return f"it does not take [kafka] sasl_mechanism = {options['sasl_mechanism']!r}"
    except (KafkaConnectionError, ConnectionResetError, ssl.SSLError):
        return (
            "it hangs up: does that port speak another [kafka] security_protocol, or want a certificate "
            "([kafka] ssl_certificate_file)?"
        )
    except (KafkaError, OSError, TimeoutError):
        return ""
    opened.close()
    return ""
