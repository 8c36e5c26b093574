"""The W3C trace context of a record, by which a request is followed through other systems.

Its two headers travel verbatim from the request to the result or the fallback, whatever is in them. What is read here
is only what may be handed to others: a context that is malformed is none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .records import Headers

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
#: characters of a tracestate that is handed on
TRACESTATE_CHARS = 512

_VERSION_0 = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
#: of a later version only the beginning is known
_LATER = re.compile(rb"(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]*)?")
_STATE = re.compile(rb"[ -~]{1,%d}" % TRACESTATE_CHARS)


class TraceContext(NamedTuple):
    """A well-formed trace context."""

    traceparent: str
    tracestate: str = ""  #: '' for none

    @property
    def headers(self) -> dict[str, str]:
        """As HTTP headers."""
        state = {TRACESTATE: self.tracestate} if self.tracestate else {}
        return {TRACEPARENT: self.traceparent, **state}


def trace_of(headers: Headers) -> TraceContext | None:
    """The trace context in these headers; None where there is none or it is malformed."""
    found = {name: value for name, value in headers if name in (TRACEPARENT, TRACESTATE)}
    parent, state = found.get(TRACEPARENT) or b"", found.get(TRACESTATE) or b""
    if not (_VERSION_0.fullmatch(parent) or _LATER.fullmatch(parent)):
        return None
    return TraceContext(parent.decode(), state.decode() if _STATE.fullmatch(state) else "")
