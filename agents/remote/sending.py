"""What may leave for the remote: the model's input, or the fields that the settings name, and nothing else."""

from __future__ import annotations

from typing import Any

from ...schemas.codec import Request
from ...schemas.errors import InvalidRequest


def outbound(request: Request, send: tuple[str, ...]) -> Any:  # noqa: ANN401  # any JSON value
    """The model's input of a request, or where `send` names fields, an object with these.

    Raises `InvalidRequest` where the request lacks one of them.
    """
    if not send:
        return request.input
    document = request.document
    missing = [name for name in send if not isinstance(document, dict) or name not in document]
    if missing:
        raise InvalidRequest(f"the request has no field {', '.join(map(repr, missing))}, which is to be sent")
    return {name: document[name] for name in send}
