"""Keys about certificates and proxies, which several tables have: everything is reached alike, and trusted alike."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from .table import Table
from .values import optional_url


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


class Reached(Certificates):
    """How a server is reached over HTTP."""

    proxy: Annotated[str, AfterValidator(optional_url)] = Field(
        default="", description="proxy that calls go through, such as http://proxy.example:3128; '' for none"
    )
    proxy_of_environment: bool = Field(
        default=False, description="true takes the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name"
    )


#: the names of these keys
CERTIFICATES, REACHED = tuple(Certificates.model_fields), tuple(Reached.model_fields)
