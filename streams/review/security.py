"""Which requests are answered. The rules of the worker's page hold (`web/security.py`), and:

- Only POST changes anything. Its body is JSON, and its `Origin` is this page; a form of another site can send neither.
- Whatever shows or takes anything of the pipeline needs the token of a reviewer: in a cookie that no script reads and
  that other sites' requests do not carry, or in the header `Authorization: Bearer`. The latter needs no `Origin`: no
  other site's page can make a browser send it.
- The token comes in once, in the body of the login. It is in no address: what follows # is never sent.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from ..web.security import HEADERS, AccessPolicy, answered, is_foreign
from .reviewers import Reviewers

#: who asks, in a request that passed
WHO = web.RequestKey("who", str)
COOKIE = "bisupervised-review"
#: seconds that a browser keeps the cookie
_COOKIE_S = 30 * 24 * 3600
_OPEN = frozenset({"/api/login", "/api/logout", "/live"})
_CLOSED = ("/api/", "/pictures/")


def guard(policy: AccessPolicy, reviewers: Callable[[], Reviewers]) -> Middleware:
    """The middleware that checks every request. `reviewers`: those of now."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = _refusal(request, policy, reviewers()) or await answered(request, handler)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return guarded


def let_in(request: web.Request, response: web.Response, token: str) -> None:
    """Give the browser the cookie."""
    response.set_cookie(
        COOKIE, token, max_age=_COOKIE_S, path="/", httponly=True, samesite="Strict", secure=_is_encrypted(request)
    )


def let_out(response: web.Response) -> None:
    """Take it back."""
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")


def _is_encrypted(request: web.Request) -> bool:
    """Whether the browser sees https, behind a proxy as well."""
    return urlsplit(request.headers.get(hdrs.ORIGIN, "")).scheme == "https"


def _refusal(request: web.Request, policy: AccessPolicy, reviewers: Reviewers) -> web.Response | None:
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_POST):
        return web.Response(status=405, text="405: only GET, HEAD and POST\n", headers={"Allow": "GET, HEAD, POST"})
    authority = request.headers.get(hdrs.HOST, "")
    if not policy.knows(authority):
        return web.Response(status=421, text="421: this host name is not served; see [review] hosts\n")
    if is_foreign(request, authority):
        return web.Response(status=403, text="403: requests of other sites are refused\n")
    bearer = _bearer(request)
    if request.method == hdrs.METH_POST:
        if bearer is None and hdrs.ORIGIN not in request.headers:
            return web.Response(status=403, text="403: a write needs the header Origin\n")
        if request.content_type != "application/json":
            return web.Response(status=415, text="415: the body must be application/json\n")
    if request.path in _OPEN or not request.path.startswith(_CLOSED):
        return None
    who = reviewers.who(request.cookies.get(COOKIE, "") if bearer is None else bearer)
    if who is None:
        return web.json_response({"error": "this needs the token of a reviewer"}, status=401)
    request[WHO] = who
    return None


def _bearer(request: web.Request) -> str | None:
    scheme, _, rest = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else None
