"""Which requests are answered. Every web page that the user has open can reach a server on loopback, therefore:

- A foreign `Host` is refused: a foreign name may point here (DNS rebinding). An address cannot be rebound.
- A foreign `Origin` is refused, and so is a request that the browser marks as made by another site's page.
- Only GET and HEAD exist, and nothing changes anything.
- Where a token is set, whatever shows records needs it, as a bearer token or as the password of HTTP basic
  authentication. Beyond loopback, records are never shown without one.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

#: paths for probes and Prometheus: they show no records and need no token
OPEN_PATHS = frozenset({"/live", "/ready", "/metrics"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: on every answer
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Where the server listens, under which names it is known, and the token it requires."""

    host: str  #: address that it listens on
    hosts: tuple[str, ...] = ()  #: further names of it
    token: str | None = field(default=None, repr=False)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    def knows(self, authority: str) -> bool:
        """Whether this `host` or `host:port` is a name of the server."""
        name = host_of(authority)
        if name is None:
            return False
        if name == "localhost" or name in self.hosts or name == self.host:
            return True
        return is_loopback(name) if self.loopback else is_address(name)

    def shows_records_to(self, authorization: str) -> bool:
        """Whether a request with this `Authorization` header may see records."""
        if self.token is None:
            return self.loopback
        return hmac.compare_digest(_credential(authorization).encode(errors="surrogateescape"), self.token.encode())


def host_of(authority: str) -> str | None:
    """The lower-case name or address in `host` or `host:port`; None where the text is neither."""
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == authority and "@" not in authority else None


def is_address(name: str) -> bool:
    """Whether the name is an IP address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether the name is `localhost`, or an address of this machine only."""
    return name == "localhost" or (is_address(name) and ip_address(name).is_loopback)


def _credential(authorization: str) -> str:
    """The token in the header; empty where there is none. In basic authentication it is the password of any user."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[2]
    except ValueError:  # no base64, or no text in it
        return ""


def guard(policy: AccessPolicy) -> Middleware:
    """The middleware that checks every request."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = _refusal(request, policy) or await answered(request, handler)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return guarded


async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the handler answers, also where it raises that."""
    try:
        return await handler(request)
    except web.HTTPException as error:  # 404 and 405 are answers, too, and get the same headers
        return web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")


def _refusal(request: web.Request, policy: AccessPolicy) -> web.Response | None:
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return web.Response(status=405, text="405: only GET and HEAD\n", headers={"Allow": "GET, HEAD"})
    authority = request.headers.get(hdrs.HOST, "")
    if not policy.knows(authority):
        return web.Response(status=421, text="421: this host name is not served; see [web] hosts\n")
    if is_foreign(request, authority):
        return web.Response(status=403, text="403: requests of other sites are refused\n")
    if request.path in OPEN_PATHS or policy.shows_records_to(request.headers.get(hdrs.AUTHORIZATION, "")):
        return None
    if policy.token is None:
        return web.Response(status=403, text="403: beyond loopback this needs a token; see [web] token_file\n")
    challenge = {"WWW-Authenticate": 'Basic realm="bisupervised", charset="UTF-8"'}
    return web.Response(status=401, text="401: the token of the settings is the password\n", headers=challenge)


def is_foreign(request: web.Request, authority: str) -> bool:
    """Whether another site's page makes the request. A link from there is harmless: that page gets no data."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and urlsplit(origin).netloc != authority:
        return True
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return False
    return request.headers.get("Sec-Fetch-Dest") != "document"
