"""Keys about certificates, which several tables have: everything that is reached over TLS is trusted alike."""

from __future__ import annotations

from pydantic import Field, SecretStr

from .table import Table


class Certificates(Table):
    """Whom we trust on a TLS connection, and what we show."""

    ssl_ca_file: str = Field(
        default="", description="certificates (PEM) that the server's is checked against; '' takes the system's"
    )
    ssl_certificate_file: str = Field(
        default="", description="certificate (PEM) to show to the server, its key included or not; '' for none"
    )
    ssl_key_file: str = Field(default="", description="key (PEM) of that certificate, where it is a file of its own")
    ssl_key_password: SecretStr | None = Field(
        default=None, description="password of that key, from the environment only"
    )
    ssl_key_password_file: str = Field(default="", description="file that holds the password of that key")


#: the names of these keys
CERTIFICATES = tuple(Certificates.model_fields)
