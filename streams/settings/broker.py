"""From the settings to a connection and a way of sending, and what is wrong with `[kafka]`."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...agents.importing import own_callable
from ...schemas.errors import ConfigurationError
from ..kafka.connection import Connection, Credentials, Mechanism, Renewal
from ..kafka.sender import OutboxPolicy
from .keys.certificates import CERTIFICATES
from .keys.kafka import KafkaSettings, TokenEndpointSettings
from .reaching import connected, encryption_of, reaching_faults, unreadable
from .secret import secret
from .tables import Settings

if TYPE_CHECKING:
    from ..logins.tokens import Tokens

#: how the keys begin that `read_connection` judges together; where one is faulty alone, that is all that is told
SECURITY = ("security_", "sasl_", "ssl_")
#: what OAUTHBEARER alone reads
_OAUTH = (
    "sasl_oauth_url",
    "sasl_oauth_client_id",
    "sasl_oauth_client_secret",
    "sasl_oauth_client_secret_file",
    "sasl_oauth_scope",
    "sasl_oauth_token_file",
    "sasl_oauth_provider",
    "sasl_oauth_extensions",
    "sasl_oauth_endpoint",
)
#: the setting, for messages
_PROVIDER = "[kafka] sasl_oauth_provider"
_ENDPOINT = "kafka.sasl_oauth_endpoint"
#: what a running worker reads again for each connection
_FILES = ("sasl_password_file", *(key for key in CERTIFICATES if key.endswith("_file")))


def connection(kafka: KafkaSettings) -> Connection:
    """The connection that the settings describe. Files are read now. Raises `ConfigurationError`."""
    made, faults = read_connection(kafka)
    if faults:
        raise ConfigurationError(faults)
    return made


def read_connection(kafka: KafkaSettings) -> tuple[Connection, list[str]]:
    """The connection that the settings describe, and what is wrong with them, a line each. Files are read now.

    With a fault the connection is not to be used: it lacks what could not be read.
    """
    mechanism, username, password, unknown = _identity(kafka)
    context, unread = _encryption(kafka)
    made = Connection(
        kafka.bootstrap_servers,
        kafka.security_protocol,
        mechanism,
        username,
        password,
        context,
        _tokens(kafka) if mechanism == "OAUTHBEARER" and not unknown else None,
        _renewal(kafka, Credentials(password, context)),
    )
    return made, _unused(kafka) + unknown + unread


def _renewal(kafka: KafkaSettings, credentials: Credentials) -> Renewal | None:
    """What reads them again; None where none of them stands in a file."""
    files = [getattr(kafka, key) for key in _FILES]
    if not any(files) and not _by_token(kafka):
        return None
    seen = _contents(files)

    def read(last: Credentials) -> Credentials:
        """The last ones where no file has changed: a context costs more to make than files to read."""
        nonlocal seen
        now = _contents(files)
        if now == seen:
            return last
        _, _, password, unknown = _identity(kafka)
        context, unread = _encryption(kafka)
        if faults := unknown + unread:
            raise ValueError("; ".join(faults))
        seen = now
        return Credentials(password, context)

    return Renewal(credentials, read)


def _contents(files: list[str]) -> list[bytes | None]:
    return [_content(Path(name)) if name else None for name in files]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:  # in the middle of being replaced; what cannot be read is told where it is used
        return None


def outbox_policy(settings: Settings, made: Connection, group: str) -> OutboxPolicy:
    """How the settings want records sent over the connection that was made of them, and this group's offsets kept."""
    return OutboxPolicy(
        connection=made,
        group=group,
        transaction_timeout_s=settings.stream.transaction_timeout_s,
        request_timeout_s=settings.kafka.request_timeout_s,
        watchdog_s=settings.stream.watchdog_s,
    )


def _encrypted(kafka: KafkaSettings) -> bool:
    return kafka.security_protocol in ("SSL", "SASL_SSL")


def _authenticates(kafka: KafkaSettings) -> bool:
    return kafka.security_protocol.startswith("SASL_")


def _unused(kafka: KafkaSettings) -> list[str]:
    """Set, and without effect: whoever wrote it believes in a protection that is not there."""
    password = ("sasl_username", "sasl_password", "sasl_password_file")
    idle_oauth = () if _by_token(kafka) else _OAUTH
    idle_password = password if not _authenticates(kafka) else ()
    idle: tuple[str, ...] = idle_password + (() if _encrypted(kafka) else CERTIFICATES)
    found = [
        f"[kafka] {key}: has no effect with security_protocol = {kafka.security_protocol!r}"
        for key in idle
        if getattr(kafka, key)
    ]
    by = f"sasl_mechanism = {kafka.sasl_mechanism!r}" if _authenticates(kafka) else "security_protocol without SASL"
    found += [f"[kafka] {key}: has no effect with {by}" for key in idle_oauth if getattr(kafka, key)]
    named = password if _by_token(kafka) else ()
    return found + [
        f"[kafka] {key}: has no effect with {by}: a token says who we are" for key in named if getattr(kafka, key)
    ]


def _identity(kafka: KafkaSettings) -> tuple[Mechanism | None, str, str, list[str]]:
    """Mechanism, user and password of SASL, and what is wrong with them."""
    if not _authenticates(kafka):
        return None, "", "", []
    if _by_token(kafka):
        return kafka.sasl_mechanism, "", "", _token_faults(kafka)
    faults = [] if kafka.sasl_username else ["[kafka] sasl_username: is missing: the user to log in as"]
    password = None
    try:
        password = secret(kafka, "sasl_password")
        if password is None:
            faults.append(
                "[kafka] sasl_password_file: is missing: a file with the password; or set "
                "BISUPERVISED_KAFKA__SASL_PASSWORD"
            )
    except ValueError as error:
        faults.append(f"[kafka] sasl_password_file: {error}")
    return kafka.sasl_mechanism, kafka.sasl_username, password or "", faults


def _by_token(kafka: KafkaSettings) -> bool:
    return _authenticates(kafka) and kafka.sasl_mechanism == "OAUTHBEARER"


def _token_faults(kafka: KafkaSettings) -> list[str]:
    """What is wrong with where tokens come from."""
    sources = ("sasl_oauth_url", "sasl_oauth_token_file", "sasl_oauth_provider")
    given = [key for key in sources if getattr(kafka, key)]
    if len(given) != 1:
        got = f" (got {', '.join(given)})" if given else ""
        return [f"[kafka] sasl_mechanism: OAUTHBEARER needs one of {', '.join(sources)}{got}"]
    if kafka.sasl_oauth_endpoint is not None and not kafka.sasl_oauth_url:
        return [f"[{_ENDPOINT}]: has no use without [kafka] sasl_oauth_url"]
    if kafka.sasl_oauth_token_file:
        unread = unreadable(kafka.sasl_oauth_token_file)
        return [f"[kafka] sasl_oauth_token_file: cannot be read: {unread}"] if unread else []
    if kafka.sasl_oauth_provider:
        return _provider_faults(kafka.sasl_oauth_provider)
    faults = (
        [] if kafka.sasl_oauth_client_id else ["[kafka] sasl_oauth_client_id: is missing: who we are to the endpoint"]
    )
    try:
        if secret(kafka, "sasl_oauth_client_secret") is None:
            faults.append(
                "[kafka] sasl_oauth_client_secret_file: is missing: a file with the secret; or set "
                "BISUPERVISED_KAFKA__SASL_OAUTH_CLIENT_SECRET"
            )
    except ValueError as error:
        faults.append(f"[kafka] sasl_oauth_client_secret_file: {error}")
    endpoint = kafka.sasl_oauth_endpoint
    return faults + (reaching_faults(endpoint, _ENDPOINT, kafka.sasl_oauth_url) if endpoint else [])


def _provider_faults(name: str) -> list[str]:
    try:
        own_callable(name, _PROVIDER)
    except ConfigurationError as error:
        return list(error.faults)
    return []


def _tokens(kafka: KafkaSettings) -> Tokens:
    """What gives connections a token."""
    # here: who logs in otherwise, or not at all, starts without it
    from ..logins.sources import client_credentials, own_provider, token_file
    from ..logins.tokens import Tokens

    if kafka.sasl_oauth_token_file:
        return Tokens(token_file(Path(kafka.sasl_oauth_token_file)), kafka.sasl_oauth_extensions, keep=False)
    if kafka.sasl_oauth_provider:
        call = own_callable(kafka.sasl_oauth_provider, _PROVIDER)
        return Tokens(own_provider(call, kafka.sasl_oauth_provider), kafka.sasl_oauth_extensions)
    endpoint = kafka.sasl_oauth_endpoint or TokenEndpointSettings()
    fetch = client_credentials(
        kafka.sasl_oauth_url,
        kafka.sasl_oauth_client_id,
        lambda: secret(kafka, "sasl_oauth_client_secret") or "",
        kafka.sasl_oauth_scope,
        partial(connected, endpoint, kafka.sasl_oauth_url, _ENDPOINT),
        timeout_s=kafka.request_timeout_s,
    )
    return Tokens(fetch, kafka.sasl_oauth_extensions)


def _encryption(kafka: KafkaSettings) -> tuple[ssl.SSLContext | None, list[str]]:
    """How to encrypt, and what is wrong with it; None where it is not wanted, or not possible."""
    return encryption_of(kafka, "kafka") if _encrypted(kafka) else (None, [])
