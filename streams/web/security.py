"""Who may ask: a server on loopback is reached by every web page that the user has open.

- A `Host` that is not ours is refused: a foreign name may point here (DNS rebinding). An address cannot be rebound.
- An `Origin` that is not ours, and what a browser says a foreign page wants, is refused.
- Only GET and HEAD exist; nothing here changes anything.
- With a token, what shows records needs it, as a bearer token or as the password of HTTP basic authentication.
  Beyond loopback there is no looking at records without one.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

#: asked for by probes and by Prometheus, which show no records
OPEN_PATHS = frozenset({"/live", "/ready", "/metrics"})
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
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
    """Where the server listens, under which names it is known, and what it asks for."""

    host: str  #: address that it listens on
    hosts: tuple[str, ...] = ()  #: further names that people reach it by
    token: str | None = field(default=None, repr=False)

    @property
    def loopback(self) -> bool:
        """Nobody outside this machine can reach it."""
        return is_loopback(self.host)

    def knows(self, authority: str) -> bool:
        """Whether this `host` or `host:port` is ours."""
        name = host_of(authority)
        if name is None:
            return False
        if name == "localhost" or name in self.hosts or name == self.host:
            return True
        return is_loopback(name) if self.loopback else is_address(name)

    def shows_records_to(self, authorization: str) -> bool:
        """Whether the bearer of this header may see what came in."""
        if self.token is None:
            return self.loopback
        return hmac.compare_digest(_credential(authorization).encode(errors="surrogateescape"), self.token.encode())


def host_of(authority: str) -> str | None:
    """The name or address in `host` or `host:port`, in small letters; None where it is neither."""
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == authority and "@" not in authority else None


def is_address(name: str) -> bool:
    """True of an IP address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """True of an address, or of the one name, that stays on this machine."""
    return name == "localhost" or (is_address(name) and ip_address(name).is_loopback)


def _credential(authorization: str) -> str:
    """The token in it; '' for none. Of basic authentication it is the password, whoever the user is."""
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
    """What every request passes."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = _refusal(request, policy) or await _answer(request, handler)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return guarded


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:  # 404, 405: answers too, and under the same rules
        return web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")


def _refusal(request: web.Request, policy: AccessPolicy) -> web.Response | None:
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return web.Response(status=405, text="405: only GET and HEAD\n", headers={"Allow": "GET, HEAD"})
    authority = request.headers.get(hdrs.HOST, "")
    if not policy.knows(authority):
        return web.Response(status=421, text="421: this host name is not served; see [web] hosts\n")
    if _is_foreign(request, authority):
        return web.Response(status=403, text="403: not for other sites\n")
    if request.path in OPEN_PATHS or policy.shows_records_to(request.headers.get(hdrs.AUTHORIZATION, "")):
        return None
    if policy.token is None:
        return web.Response(status=403, text="403: beyond loopback this needs a token; see [web] token_file\n")
    challenge = {"WWW-Authenticate": 'Basic realm="bisupervised", charset="UTF-8"'}
    return web.Response(status=401, text="401: the token is the password\n", headers=challenge)


def _is_foreign(request: web.Request, authority: str) -> bool:
    """Another site's page asks. A link from there to the page is no harm: it hands nothing back."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and urlsplit(origin).netloc != authority:
        return True
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return False
    return request.headers.get("Sec-Fetch-Dest") != "document"
