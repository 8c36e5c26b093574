"""What may leave for the remote: the model's input, or the fields that the settings name, and nothing else."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from ...schemas.codec import Request
from ...schemas.errors import InvalidRequest
from ...schemas.field_paths import find, steps_of


def outbound(request: Request, send: tuple[str, ...]) -> Any:  # noqa: ANN401  # any JSON value
    """The model's input of a request (bytes as Base64), or where `send` names fields, an object with these under the
    names given there.

    Raises `InvalidRequest` where the request lacks one of them.
    """
    if not send:
        return b64encode(request.input).decode() if isinstance(request.input, bytes) else request.input
    found, missing = {}, []
    for name in send:
        try:
            found[name] = find(request.document, steps_of(name))
        except LookupError:
            missing.append(repr(name))
    if missing:
        raise InvalidRequest(f"the request has no field {', '.join(missing)}, which is to be sent")
    return found
