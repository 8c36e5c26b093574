"""A real broker with every door that a production cluster may have: TLS, passwords, both, and client certificates."""

from __future__ import annotations

import json
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from bisupervised.streams.sandbox.broker import Broker, new_cluster_id
from bisupervised.streams.sandbox.ports import HOST, free_ports
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

USER = "alice"
PASSWORD = "canary-password-of-alice"
KEY_PASSWORD = "canary-password-of-the-key"
_DOORS = ("SSL", "SASL_PLAINTEXT", "SASL_SSL", "BADNAME")
_LOGIN = "org.apache.kafka.common.security"
_AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
    "allow.everyone.if.no.acl.found": "false",
}


@dataclass(frozen=True)
class Secured:
    """The broker, where each door is, and the files to come in with."""

    broker: Broker
    doors: dict[str, str]  #: listener -> host:port; BADNAME shows a certificate of another host
    folder: Path

    def file(self, name: str) -> str:
        """The path of ca.pem, other-ca.pem, client.pem, client.key, password or key-password."""
        return str(self.folder / name)


@contextmanager
def secured_broker(folder: Path, *, authorizing: bool = False) -> Iterator[Secured]:
    """Start it, with one user who may log in by any mechanism.

    `authorizing`: the user may do what an ACL allows (support/grants.py) and nothing else; who comes in by the plain
    door, which the broker itself uses, may do everything.
    """
    plain, controller, *others = free_ports(2 + len(_DOORS))
    ports = dict(zip(_DOORS, others, strict=True))
    _write_certificates(folder)
    broker = _WithUser(port=plain)
    broker._properties.update(_properties(plain, controller, ports, folder) | (_AUTHORIZER if authorizing else {}))
    with broker:
        yield Secured(broker, {door: f"{HOST}:{port}" for door, port in ports.items()}, folder)


def _write_certificates(folder: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other-ca.pem"))
    for name, host in (("server", HOST), ("elsewhere", "elsewhere.example")):
        made = ca.issue_cert(host)
        chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
        (folder / f"{name}.pem").write_bytes(_pkcs8(made.private_key_pem.bytes()) + chain)
    client = ca.issue_cert(f"{USER}@example.org")
    (folder / "client.pem").write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
    (folder / "client.key").write_bytes(_pkcs8(client.private_key_pem.bytes(), KEY_PASSWORD))
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "key-password").write_text(f"{KEY_PASSWORD}\n")


def unsigned_token(life_s: float, user: str = USER) -> str:
    """A JSON Web Token that nobody signed, which Kafka's validator for trials believes."""
    now = time.time()
    claims = {"sub": user, "iat": now, "exp": now + life_s}
    parts = ({"alg": "none"}, claims)
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def _pkcs8(pem: bytes, password: str = "") -> bytes:
    """The only form of a key that the broker reads."""
    lock = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return load_pem_private_key(pem, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def _properties(plain: int, controller: int, ports: dict[str, int], folder: Path) -> dict[str, str]:
    doors = [f"{door}://{HOST}:{port}" for door, port in {"PLAINTEXT": plain, **ports}.items()]
    properties = {
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": ",".join([*doors, f"CONTROLLER://{HOST}:{controller}"]),
        "advertised.listeners": ",".join(doors),
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,"
        "SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,BADNAME:SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "listener.name.ssl.ssl.client.auth": "required",
        "listener.name.badname.ssl.keystore.type": "PEM",
        "listener.name.badname.ssl.keystore.location": str(folder / "elsewhere.pem"),
        "listener.name.sasl_plaintext.sasl.enabled.mechanisms": "SCRAM-SHA-256,OAUTHBEARER",
        # who comes by a token must come again as soon as it ends
        "listener.name.sasl_plaintext.oauthbearer.connections.max.reauth.ms": "3600000",
        "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config": f"{_LOGIN}.oauthbearer.OAuthBearerLoginModule "
        "required;",
        "listener.name.sasl_plaintext.oauthbearer.sasl.server.callback.handler.class": f"{_LOGIN}.oauthbearer."
        "internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler",
        "listener.name.sasl_ssl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{_LOGIN}.plain.PlainLoginModule required "
        f'user_{USER}="{PASSWORD}";',
    }
    for door, mechanism in (("sasl_plaintext", "scram-sha-256"), ("sasl_ssl", "scram-sha-512")):
        module = f"{_LOGIN}.scram.ScramLoginModule required;"
        properties[f"listener.name.{door}.{mechanism}.sasl.jaas.config"] = module
    return properties


class _WithUser(Broker):
    """Its users stand in its first records."""

    def _format(self, java: tuple[str, ...], properties: Path) -> None:
        users = [f"SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)]
        command = [*java, "kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", properties.name]
        command += [part for user in users for part in ("--add-scram", user)]
        done = subprocess.run(command, cwd=self.data_dir, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
