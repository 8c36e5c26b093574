"""Records with a trace context, and a remote that is asked about them."""

from __future__ import annotations

from collections.abc import Iterator

from bisupervised.agents.remote.agent import Remote
from bisupervised.agents.remote.transport import Response, ScriptedTransport, Sent
from bisupervised.agents.tracing import Tracing
from bisupervised.schemas.codec import RequestFormat, encode_facts
from bisupervised.schemas.records import FACTS_HEADER, Facts, Headers, Source
from support.records import Record, request
from support.remote import Clock, client, echo

#: the example of the specification
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STATE = b"rojo=00f067aa0ba902b7"
TRACE = [("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01".encode()), ("tracestate", STATE)]


def doubtful(trace: Headers = (), offset: int = 0) -> Record:
    """A record of `doubtful` with these headers."""
    facts = Facts(Source("requests", 0, offset), agent="local")
    return request([0.25, 0.75], offset, headers=[*trace, (FACTS_HEADER, encode_facts(facts))])


def remote_with(tracing: Tracing, *failures: Response) -> tuple[Remote, ScriptedTransport]:
    """A remote that fails so often, then echoes."""
    left: Iterator[Response] = iter(failures)

    def answer(sent: Sent) -> Response:
        return next(left, None) or echo(sent)

    asks, transport = client(answer, Clock())
    return Remote(asks, RequestFormat(), tracing=tracing), transport
