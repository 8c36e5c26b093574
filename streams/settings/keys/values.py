"""What single values of the tables must look like: numbers, names, addresses, shapes, headers.

A function here takes a value and gives it back, at most tidied up. It raises `ValueError` with what the value must be,
which `../faults.py` tells together with the key.
"""

from __future__ import annotations

import math
import re
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidatorFunctionWrapHandler

from ....agents.local.formats.devices import DEVICE
from ....agents.local.model import SUFFIXES, is_folder
from ....schemas.field_paths import steps_of

_SUFFIXES = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
MODULE_CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
#: the environment variable that gives the key of the remote
_KEY_VARIABLE = "BISUPERVISED_REMOTE__API_KEY"
_KAFKA_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: headers that carry keys: they are set as one, so that they are kept secret
_CARRIERS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "cookie")


# numbers


def no_boolean(value: Any) -> Any:  # noqa: ANN401  # whatever the file held
    """Refuse true and false as numbers: pydantic would read `threshold = true` as 1.0."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


Number = Annotated[float, BeforeValidator(no_boolean), Field(allow_inf_nan=False)]
Integer = Annotated[int, BeforeValidator(no_boolean)]
Count = Annotated[int, BeforeValidator(no_boolean), Field(ge=1)]
WholeNumber = Annotated[int, BeforeValidator(no_boolean), Field(ge=0)]
Milliseconds = WholeNumber
Positive = Annotated[Number, Field(gt=0)]
Seconds = Positive
NotNegative = Annotated[Number, Field(ge=0)]


def parsed_threshold(value: Any, parse: ValidatorFunctionWrapHandler, *, free: bool) -> float:  # noqa: ANN401  # whatever the file held
    """A probability unless `free`, where the user's own score sets the scale."""
    try:
        threshold: float = parse(no_boolean(value))
    except ValueError:
        threshold = math.nan
    if math.isfinite(threshold) and (free or 0 <= threshold <= 1):
        return threshold
    raise ValueError("must be a finite number" if free else "must be between 0 and 1")


#: seconds of each unit of a span of time
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhd])")


def optional_duration(text: str) -> str:
    """A span of time such as 6h or 90m, or nothing."""
    if text and _DURATION.fullmatch(text.strip()) is None:
        raise ValueError("must be a number and s, m, h or d, such as 6h")
    return text.strip()


def seconds_of(text: str) -> float:
    """Seconds of a span of time; 0 of none."""
    found = _DURATION.fullmatch(text)
    return 0.0 if found is None else float(found[1]) * _UNITS[found[2]]


# names, addresses, shapes


def kafka_name(value: str) -> str:
    """A name that Kafka takes for a topic, and for a group."""
    if not _KAFKA_NAME.fullmatch(value) or value in (".", ".."):
        raise ValueError("must be 1 to 249 letters, digits, dots, hyphens and underscores")
    return value


def servers(value: str) -> str:
    """Addresses of brokers."""
    for server in value.split(","):
        host, colon, port = server.strip().rpartition(":")
        if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("must be host:port, several separated by commas")
    return value


def http_url(value: str) -> str:
    """An address to which a path can be added: without a slash at its end."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = None, None
    if parts is None or parts.scheme not in ("http", "https") or not host:
        raise ValueError("must be a URL such as http://127.0.0.1:8080")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a user or a password: it is written to logs")
    if _BLANK.search(value):
        raise ValueError("must not hold white space")
    if "?" in value or "#" in value:
        raise ValueError("must end before the query (?) or fragment (#): a path is added to it, and may have a query")
    return value.rstrip("/")


def optional_callable(value: str) -> str:
    """Something of the user's own, or nothing."""
    if value and not MODULE_CALLABLE.fullmatch(value):
        raise ValueError("must be module:callable")
    return value


def optional_url(value: str) -> str:
    """The same, or nothing."""
    return http_url(value) if value else value


def model_name(value: str) -> str:
    """What `load_model` can load."""
    if value.endswith(SUFFIXES) or MODULE_CALLABLE.fullmatch(value) or is_folder(value):
        return value
    raise ValueError(f"must be module:callable, a folder such as ./{value}, or a file ending in {_SUFFIXES}")


def device_name(value: str) -> str:
    """A device as torch calls it."""
    if not DEVICE.fullmatch(value):
        raise ValueError('must be auto, cpu, cuda, mps, or a GPU by its number, as in "cuda:1"')
    return value


def field_path(value: str) -> str:
    """A field of a request, or the way to it."""
    steps_of(value)
    return value


def upper(value: Any) -> Any:  # noqa: ANN401  # whatever the file held
    """In capitals, as the alternatives are written."""
    return value.upper() if isinstance(value, str) else value


def address(value: str) -> str:
    """An IP address, or localhost."""
    if value == "localhost":
        return value
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError("must be an IP address, or localhost") from None


def picture_shape(value: tuple[int, ...]) -> tuple[int, ...]:
    """Height and width, and 3 where there are colours; or nothing."""
    if value and not (len(value) == 2 or (len(value) == 3 and value[2] == 3)):
        raise ValueError("must be [height, width] or [height, width, 3]")
    return value


Name = Annotated[str, Field(min_length=1)]
Topic = Annotated[str, AfterValidator(kafka_name)]
FieldPath = Annotated[str, AfterValidator(field_path)]


# headers


def plain_headers(headers: dict[str, str]) -> dict[str, str]:
    """The same. Raises `ValueError` for what is no header, and for one that carries a key."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not value.isprintable():
            raise ValueError("must be names and values of HTTP headers")
        if name.lower() in _CARRIERS:
            raise ValueError(f"must not hold {name.lower()}: set {_KEY_VARIABLE}, api_key_header and api_key_scheme")
    return headers


def header_name(name: str) -> str:
    """The same. Raises `ValueError` for what is no name of a header."""
    if not _HEADER.fullmatch(name):
        raise ValueError("must be the name of an HTTP header")
    return name
